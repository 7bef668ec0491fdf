"""The parts of the page that are words, pictures and links.

They are HTML inside of `gr.Markdown`: `gr.HTML` needs `unsafe-eval`, which the page's policy forbids. What visitors and
models wrote is escaped, and each part is one line, since Markdown looks into HTML again after an empty one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup

from skingpt4.demo.page import words
from skingpt4.demo.page.visit import Shown
from skingpt4.report.content import Identity
from skingpt4.report.heatmap import HEATMAP_LEGEND
from skingpt4.report.red_flags import URGENCIES, RedFlag


def line(text: str) -> str:
    """A line of state, which a screen reader says when it changes."""
    return _one_line(Markup('<div class="line" role="status">{}</div>').format(text)) if text else ""


def head() -> str:
    """The page's name."""
    return _one_line(Markup('<h1>{}</h1><p class="quiet">{}</p>').format(words.TITLE, words.SUBTITLE))


def banner(identity: Identity, notices: Iterable[str]) -> str:
    """Which model answers, and what is said beside every answer."""
    told = _paragraphs(notices)
    return _one_line(Markup('<div class="banner"><p><b>{}</b></p>{}</div>').format(identity.name, told))


def welcome(notices: Iterable[str]) -> str:
    """What is accepted first."""
    points = Markup("").join(Markup("<li>{}</li>").format(text) for text in words.BEFORE_YOU_START)
    told = Markup("").join(Markup("<p><b>{}</b></p>").format(text) for text in notices)
    return _one_line(Markup("<h2>{}</h2>{}<ul>{}</ul>").format(words.WELCOME_TITLE, told, points))


def photograph(shown: Shown) -> str:
    """A picture; "" for none."""
    return _one_line(Markup('<img class="photo" src="{}" alt="{}">').format(shown.url, shown.alt)) if shown.url else ""


def photo_advice(lines: Sequence[str]) -> str:
    """Why a better photograph is needed; "" for a good one."""
    if not lines:
        return ""
    told = _paragraphs(lines)
    return _one_line(
        Markup('<section class="advice" role="status"><h2>{}</h2>{}</section>').format(words.BETTER_PICTURE, told)
    )


def steps() -> str:
    """How to use the page."""
    items = Markup("").join(Markup("<li>{}</li>").format(text.format(start=words.START)) for text in words.STEPS)
    return _one_line(Markup('<section class="steps"><h2>{}</h2><ol>{}</ol></section>').format(words.HOW, items))


def example(uri: str, name: str) -> str:
    """A picture of the project's own."""
    return photograph(Shown(uri, words.drawn(name)))


def flags(found: Sequence[RedFlag]) -> str:
    """The red flags with what to do; "" for none."""
    if not found:
        return ""
    items = Markup("").join(
        Markup('<li class="{}"><b>{}: {}</b> {}{}{}</li>').format(
            flag.urgency, URGENCIES[flag.urgency], flag.sign, flag.advice, _evidence(flag), _sources(flag)
        )
        for flag in found
    )
    return _one_line(
        Markup('<section class="flags" role="alert"><h2>{}</h2><ul>{}</ul></section>').format(words.FLAGS_TITLE, items)
    )


def _evidence(flag: RedFlag) -> Markup:
    said = {"user": words.YOU_WROTE, "answer": words.MODEL_SAID}
    told = Markup("; ").join(Markup("{} “{}”").format(said[each.said_by], each.words) for each in flag.evidence)
    return Markup('<span class="quiet">{}</span>').format(told)


def _sources(flag: RedFlag) -> Markup:
    # Titles only: nothing on this page leads to another computer. The report has the addresses.
    titles = ", ".join(source.title for source in flag.sources)
    return Markup('<span class="quiet">{}</span>').format(words.SOURCE.format(titles)) if titles else Markup("")


def downloads(links: Mapping[str, str]) -> str:
    """links: what a format is called -> URL; "" for none."""
    if not links:
        return ""
    items = Markup("").join(
        Markup('<li><a class="download" href="{}" download>{}</a></li>').format(url, name)
        for name, url in links.items()
    )
    return _one_line(
        Markup('<section class="report"><h2>{}</h2><p>{}</p><ul>{}</ul></section>').format(
            words.REPORT_TITLE, words.REPORT_ADVICE, items
        )
    )


def heatmap(shown: Shown) -> str:
    """The heat-map with what it means; "" for none."""
    if not shown.url:
        return ""
    picture = Markup(photograph(shown))
    return _one_line(Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(picture, HEATMAP_LEGEND))


def checkpoint(identity: Identity) -> str:
    """Which weights answer, for experts."""
    facts = {
        "Model": f"{identity.name}; package {identity.version}",
        "Checkpoint": f"projection SHA-256 {identity.projection}",
        "Decoder": identity.decoder,
        "Photograph encoder": f"{identity.vision}, {identity.image_size} px",
        "Chat template": identity.chat_template,
    }
    rows = Markup("").join(Markup("<dt>{}</dt><dd>{}</dd>").format(name, value) for name, value in facts.items())
    return _one_line(Markup('<dl class="facts">{}</dl>').format(rows))


def quiet(text: str) -> str:
    """Words beside what matters; "" for none."""
    return _one_line(Markup('<p class="quiet">{}</p>').format(text)) if text else ""


def _paragraphs(texts: Iterable[str]) -> Markup:
    return Markup("").join(Markup("<p>{}</p>").format(text) for text in texts)


def _one_line(html: Markup) -> str:
    return " ".join(str(html).split())
