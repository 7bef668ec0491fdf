"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const place = `skingpt4-study/${data.study}/${data.rater}`;
let ratings = {};
let current = 0;
let keeps = true;

function made(tag, words, values = {}) {
  const element = Object.assign(document.createElement(tag), values);
  element.append(...words);
  return element;
}

function keep() {
  try {
    localStorage.setItem(place, JSON.stringify({ ratings, current }));
  } catch {
    keeps = false;
    at("not-kept").hidden = false;
  }
}

function isLevel(value) {
  return Number.isInteger(value) && value >= 1 && value <= data.levels.length;
}

// What a file or the browser's memory holds, without anything that is not of this form.
function cleaned(given) {
  const clean = {};
  for (const entry of data.entries) {
    const values = given?.[entry.code];
    if (typeof values !== "object" || values === null) continue;
    const own = {};
    for (const item of data.items) if (isLevel(values[item.key])) own[item.key] = values[item.key];
    if (typeof values.comment === "string" && values.comment) own.comment = values.comment;
    if (Object.keys(own).length) clean[entry.code] = own;
  }
  return clean;
}

function remember() {
  try {
    const kept = JSON.parse(localStorage.getItem(place));
    ratings = cleaned(kept?.ratings);
    current = Math.min(Math.max(0, kept?.current | 0), data.entries.length - 1);
  } catch {
    ratings = {};
  }
}

function state(code) {
  const own = ratings[code] ?? {};
  const answered = data.items.filter((item) => own[item.key]).length;
  return answered === data.items.length ? "done" : answered || own.comment ? "begun" : "open";
}

function set(key, value) {
  const code = data.entries[current].code;
  ratings[code] = { ...ratings[code], [key]: value };
  if (!value) delete ratings[code][key];
  keep();
  showProgress();
}

function showProgress() {
  const words = { done: "judged", begun: "begun", open: "not judged yet" };
  const done = data.entries.filter((entry) => state(entry.code) === "done").length;
  at("done").textContent = `${done} of ${data.entries.length} texts judged`;
  at("progress").value = done;
  at("finished").hidden = done < data.entries.length;
  [...at("grid").children].forEach((button, index) => {
    const its = state(data.entries[index].code);
    button.dataset.state = its;
    button.setAttribute("aria-label", `Text ${index + 1}, ${words[its]}`);
    button.setAttribute("aria-current", index === current ? "true" : "false");
  });
}

function statement(item, number) {
  const chosen = ratings[data.entries[current].code]?.[item.key];
  const choices = data.levels.map((level, index) => {
    const input = made("input", [], { type: "radio", name: item.key, value: index + 1, checked: chosen === index + 1 });
    input.addEventListener("change", () => set(item.key, index + 1));
    const name = made("span", [level], { className: "name" });
    return made("label", [input, made("span", [made("b", [`${index + 1}`]), " ", name])]);
  });
  const legend = made("legend", [`${number + 1}. ${item.statement}`]);
  const ends = made("div", [data.levels[0], data.levels.at(-1)].map((level) => made("span", [level])), { className: "ends" });
  ends.setAttribute("aria-hidden", "true");
  const field = made("fieldset", [legend, made("div", choices, { className: "scale" }), ends]);
  field.addEventListener("keydown", (event) => {
    const level = Number(event.key);
    if (!isLevel(level) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    field.querySelectorAll("input")[level - 1].click();
    const following = field.nextElementSibling;
    (following?.tagName === "FIELDSET" ? following.querySelector("input") : at("next")).focus();
  });
  return field;
}

function show(index, focus = true) {
  current = index;
  const entry = data.entries[current];
  at("place").textContent = `Text ${current + 1} of ${data.entries.length}`;
  at("picture").src = data.pictures[entry.picture];
  at("photo").setAttribute("aria-pressed", "false");
  at("text").replaceChildren(
    ...entry.sections.flatMap(([title, words]) => [...(title ? [made("h3", [title])] : []), made("p", [words])]),
  );
  const comment = made("textarea", [], { id: "comment", value: ratings[entry.code]?.comment ?? "", maxLength: 4000 });
  comment.addEventListener("input", () => set("comment", comment.value.trim()));
  const label = made("label", ["Comment (may stay empty)"], { htmlFor: "comment", className: "soft" });
  at("items").replaceChildren(...data.items.map(statement), label, comment);
  at("previous").disabled = current === 0;
  at("next").disabled = current === data.entries.length - 1;
  keep();
  showProgress();
  if (focus) {
    at("place").focus({ preventScroll: true });
    at("place").scrollIntoView({ block: "start" });
  }
}

function save() {
  const file = { format: data.format, study: data.study, rater: data.rater, saved_at: new Date().toISOString(), ratings };
  const link = made("a", [], { download: `ratings-${data.study}-${data.rater}.json` });
  link.href = URL.createObjectURL(new Blob([JSON.stringify(file, null, 1)], { type: "application/json" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  const left = data.entries.filter((entry) => state(entry.code) !== "done").length;
  at("said").textContent = left
    ? `Saved as ${link.download}. ${left} of ${data.entries.length} texts are not fully judged yet.`
    : `Saved as ${link.download}. Send this file to the study's leader.`;
}

async function load(input) {
  const file = input.files[0];
  input.value = "";
  if (!file) return;
  let given = null;
  try {
    given = JSON.parse(await file.text());
  } catch {
    given = null;
  }
  if (given?.format !== data.format || given.study !== data.study || given.rater !== data.rater) {
    at("said").textContent = `${file.name} is not a file of ratings of this form; nothing was changed.`;
    return;
  }
  const loaded = cleaned(given.ratings);
  const differing = Object.keys(ratings).filter((code) => JSON.stringify(ratings[code]) !== JSON.stringify(loaded[code]));
  const question = `${differing.length} texts are judged otherwise here than in ${file.name}. Replace what is here?`;
  if (differing.length && !confirm(question)) return;
  ratings = loaded;
  show(current, false);
  at("said").textContent = `Loaded ${file.name}.`;
}

data.entries.forEach((entry, index) => {
  const button = made("button", [`${index + 1}`], { type: "button" });
  button.addEventListener("click", () => show(index));
  at("grid").append(button);
});
at("items").addEventListener("submit", (event) => event.preventDefault());
at("previous").addEventListener("click", () => show(current - 1));
at("next").addEventListener("click", () => show(current + 1));
at("save").addEventListener("click", save);
at("load").addEventListener("change", (event) => load(event.target));
at("photo").addEventListener("click", () => {
  const larger = at("photo").getAttribute("aria-pressed") !== "true";
  at("photo").setAttribute("aria-pressed", `${larger}`);
});
window.addEventListener("beforeunload", (event) => {
  if (!keeps && Object.keys(ratings).length) event.preventDefault();
});
remember();
at("help").open = Object.keys(ratings).length === 0;
show(current, false);
