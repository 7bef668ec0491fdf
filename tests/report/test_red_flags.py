"""Signs that need a doctor: found where they are stated, and only there."""

from __future__ import annotations

import cProfile
import time
from pathlib import Path

import pytest
import yaml
from red_flag_sentences import OF_ANSWERS, OF_USERS, Sentences

from skingpt4.errors import SettingsError
from skingpt4.report import red_flags
from skingpt4.report.red_flags import RED_FLAGS_FILE, URGENCIES, Evidence, find_red_flags, load_red_flags
from skingpt4.report.statements import normal
from skingpt4.vocabulary import (
    CLASSES,
    CLINICAL_PROMPTS,
    CONCEPT_PROMPT,
    CONCEPTS,
    DIAGNOSIS_ANSWER,
    DIAGNOSIS_PROMPTS,
    EMBEDDED_NOTICE,
    NOT_A_DIAGNOSIS,
)


def ids(user: str = "", answer: str = "") -> set[str]:
    return {flag.id for flag in find_red_flags([user], [answer])}


@pytest.mark.parametrize(("text", "expected"), OF_USERS)
def test_what_users_write(text: str, expected: tuple[str, ...]) -> None:
    assert ids(user=text) == set(expected)


@pytest.mark.parametrize(("text", "expected"), OF_ANSWERS)
def test_what_models_answer(text: str, expected: tuple[str, ...]) -> None:
    assert ids(answer=text) == set(expected)


def test_the_sentences_are_many_for_and_against_and_raise_every_flag() -> None:
    def counts(rows: Sentences) -> tuple[int, int]:
        raising = sum(bool(expected) for _, expected in rows)
        return raising, len(rows) - raising

    assert (counts(OF_USERS), counts(OF_ANSWERS)) == ((165, 128), (27, 30))
    assert len({text for text, _ in (*OF_USERS, *OF_ANSWERS)}) == 350
    raised = {name for _, expected in (*OF_USERS, *OF_ANSWERS) for name in expected}
    assert raised == {rule.flag.id for rule in load_red_flags()}


def test_without_the_rules_on_denials_and_questions_most_of_the_harmless_sentences_raise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harmless = [text for text, expected in OF_USERS if not expected]
    assert not any(ids(user=text) for text in harmless)
    monkeypatch.setattr(red_flags, "is_stated", lambda *_: True)
    assert sum(bool(ids(user=text)) for text in harmless) >= 35


def test_a_flag_tells_the_words_that_raised_it_and_who_said_them() -> None:
    flags = find_red_flags(
        ["Hello. The redness is spreading.", "Since yesterday I have a Fever!"],
        ["This could be a skin disease image of melanoma."],
    )
    assert [(flag.id, flag.evidence) for flag in flags] == [
        ("spreading-redness-with-fever", (Evidence("user", "redness … spreading … fever"),)),
        ("cancer-named", (Evidence("answer", "melanoma"),)),
    ]


def test_signs_of_the_user_and_of_the_picture_come_together() -> None:
    assert ids(answer="There is purpura on the legs.") == set()
    assert ids(user="I have a fever.") == set()
    (flag,) = find_red_flags(["I have a fever."], ["There is purpura on the legs."])
    assert flag.id == "purple-rash-with-fever"
    assert flag.evidence == (Evidence("user", "fever"), Evidence("answer", "purpura"))


def test_what_only_the_user_can_know_does_not_count_in_an_answer() -> None:
    assert ids(user="I am on chemotherapy. The wound is infected.") == {"weak-immune-system"}
    assert ids(answer="The patient is on chemotherapy. The wound is infected.") == set()


def test_words_far_apart_are_not_taken_together() -> None:
    assert ids(user="I have a mole. I am forty years old. My shoe size has changed.") == set()
    assert ids(user="I have a mole. It has changed.") == {"changing-mole"}


def test_one_word_does_not_count_twice() -> None:
    assert ids(user="I have blisters in my mouth") == set()  # both a blister and a sore of the mouth


def test_the_most_urgent_comes_first() -> None:
    flags = find_red_flags(["My mole bleeds, a dog bit me, and my tongue is swollen."], [])
    assert [flag.urgency for flag in flags] == ["emergency", "today", "soon", "soon"]


def test_what_the_package_itself_says_raises_nothing() -> None:
    questions = (*CLINICAL_PROMPTS, *DIAGNOSIS_PROMPTS, CONCEPT_PROMPT)
    assert find_red_flags(questions, [NOT_A_DIAGNOSIS, EMBEDDED_NOTICE]) == []
    alarming = {name for name in CLASSES if ids(answer=DIAGNOSIS_ANSWER.format(disease=name))}
    assert alarming == {"Malignant Lesions", "Melanoma Skin Cancer, Nevi, Moles", "Bullous Disease"}
    assert {name for name in CONCEPTS if ids(answer=f"The picture shows: {name}.")} == {"Ulcer"}


def test_the_package_s_model_names_a_cancer_and_the_flag_is_raised() -> None:
    import numpy
    from PIL import Image

    from skingpt4 import load_model
    from skingpt4.chat.conversation import Chat
    from skingpt4.tiny.renderer import disease_description, render

    chat = Chat(*load_model())
    found = {}
    for disease in ("melanoma", "acne vulgaris"):
        rng = numpy.random.default_rng(0)
        drawn = Image.fromarray(render(disease_description(disease, rng), rng).image)
        answer = chat.start(drawn).ask(CLINICAL_PROMPTS[0])
        assert disease in answer
        found[disease] = ids(answer=answer)
    assert found["acne vulgaris"] == set()
    assert "cancer-named" in found["melanoma"]


def test_very_long_texts_take_seconds_not_hours() -> None:
    texts = ["redness fever blister mole nail " * 300, "no " * 3000 + "bleeding", "non-" * 10_000, "mouth " * 3000]
    texts += ["not big, " * 3000 + "bled or itched", "red skin is getting the leg temp of 38 lips " * 300]
    began = time.perf_counter()
    for text in texts:
        find_red_flags([text], [text])
    assert time.perf_counter() - began < 20


def crafted(characters: int = 4000) -> str:
    """Words of two lists that stand over each other or too far apart, again and again."""
    block = ("black skin " * 18)[:190] + " " + ("reek " * 38).strip() + ". "
    text = ""
    while len(text) < 2500:
        text += block + "x. x. "
    text += "x. x. x. "
    return text + "sore " * ((characters - len(text)) // 5)


@pytest.mark.parametrize("texts", [1, 4])
def test_crafted_texts_are_little_work(texts: int) -> None:
    load_red_flags()
    with cProfile.Profile() as profile:
        assert find_red_flags([crafted()] * texts, []) == []
    calls = sum(entry.callcount for entry in profile.getstats())
    assert 0 < calls < 100_000 * texts


def test_the_bounds_hide_nothing_that_stands_far_from_a_repeated_word() -> None:
    assert "changing-mole" in ids(user="mole " * 300 + ". It is warm today. My mole has changed.")


def test_the_shipped_list_is_whole() -> None:
    content = yaml.safe_load(RED_FLAGS_FILE.read_text(encoding="utf-8"))
    lists = content["words"] | content["words_of_the_user"]
    named = {
        name.strip()
        for flag in content["flags"]
        for way in flag["raised_by"]
        for part in way.split(",")
        for name in part.split("+")
    }
    assert named == set(lists)
    for name, phrases in lists.items():
        assert len(set(phrases)) == len(phrases), name
        pattern = red_flags.phrases_pattern(phrases)
        for phrase in phrases:
            words = str(phrase).replace("*", "").replace("...", "the").split()
            for index, word in enumerate(words):
                for one in word.split("|"):
                    said = [one if at == index else other.split("|")[0] for at, other in enumerate(words)]
                    assert pattern.search(normal(" ".join(said))), (name, phrase, said)
    rules = load_red_flags()
    assert len(rules) == 22
    assert {rule.flag.urgency for rule in rules} == set(URGENCIES)
    assert all(rule.flag.sources and not rule.flag.evidence for rule in rules)


OWN_LIST = """
words:
  clinic: [our trial cream, trial cream *]
flags:
  - id: trial
    kind: sign
    urgency: today
    sign: A reaction in the trial
    advice: Call 555-0100.
    raised_by: [clinic]
    sources:
      - title: Study protocol
        url: https://example.org/protocol
"""


def test_a_clinic_s_own_list_takes_the_place_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN_LIST)
    rules = load_red_flags(path)
    (flag,) = find_red_flags(["I used our trial cream and my mole bleeds"], [], rules)
    assert (flag.id, flag.advice, flag.sources[0].url) == ("trial", "Call 555-0100.", "https://example.org/protocol")


@pytest.mark.parametrize(
    ("before", "after", "line", "message"),
    [
        ("[our trial cream, trial cream *]", "[our trial cream", 4, "no YAML"),
        ("urgency: today", "urgency: tomorrow", 7, "'tomorrow' is none of emergency, today, soon"),
        ("kind: sign", "kind: symptom", 6, "'symptom' is none of sign, disease"),
        ("raised_by: [clinic]", "raised_by: [clinic + fever]", 10, "no list of words called 'fever'"),
        ("raised_by: [clinic]", "raised_by: clinic", 10, "a list was expected"),
        ("    advice: Call 555-0100.\n", "", 5, "advice is missing"),
        ("sign: A", "signs: A", 8, "there is no field 'signs'"),
        ("advice: Call 555-0100.", "advice:", 9, "a text was expected"),
        ("https://example.org", "http://example.org", 13, "begins with https://"),
        ("clinic: [our trial cream, trial cream *]", "clinic: cream", 3, "a list was expected"),
        ("words:\n", "words:\n  clinic: [a]\n", 4, "'clinic' is there twice"),
        ("flags:\n", "flags: 3\nothers:\n", 5, "there is no field 'others'"),
    ],
)
def test_what_is_wrong_in_a_list_is_told_with_its_line(
    tmp_path: Path, before: str, after: str, line: int, message: str
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN_LIST.replace(before, after, 1))
    assert before in OWN_LIST
    with pytest.raises(SettingsError) as error:
        load_red_flags(path)
    assert f"own.yaml, line {line}: " in str(error.value)
    assert message in str(error.value)


def test_two_flags_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN_LIST + OWN_LIST.split("flags:\n")[1])
    with pytest.raises(SettingsError, match="line 14: the id 'trial' is there twice"):
        load_red_flags(path)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"\xff\xfe\xfa", "cannot be read"), (b"- 1", "line 1")]
)
def test_a_file_that_is_no_list_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=message):
        load_red_flags(path)
    with pytest.raises(SettingsError, match="cannot be read"):
        load_red_flags(tmp_path / "absent.yaml")
