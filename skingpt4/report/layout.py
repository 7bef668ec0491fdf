"""What stands where in a report: the one order and wording that the HTML page, the PDF and the Markdown share."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import datetime

from skingpt4.report.content import Exchange, Picture, Report, Section
from skingpt4.report.glossary import concepts_in, glossary
from skingpt4.report.heatmap import HEATMAP_LEGEND
from skingpt4.report.red_flags import URGENCIES, RedFlag

TITLE = "Report on a photograph of skin"
MEDICATION = "Do not start, change or stop any medicine because of this text; ask a doctor or a pharmacist."


@dataclass(frozen=True)
class Words:
    """A paragraph, or several with line ends between them. quiet: said beside what matters."""

    text: str
    quiet: bool = False


@dataclass(frozen=True)
class Alarm:
    """A red flag: the sign, how soon to act, what to do, who said it, and links to where this is from."""

    title: str
    urgency: str
    action: str
    evidence: tuple[str, ...]
    sources: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class Figure:
    """A picture with the words below it. alt: for those who do not see it."""

    picture: Picture
    caption: str
    alt: str


@dataclass(frozen=True)
class Figures:
    """Pictures side by side."""

    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Said:
    """A question with its answer, and the rows (label, anchor) that explain words of it."""

    question: str
    answer: str
    explained: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Row:
    """A name and what belongs to it. anchor: to get here from the text."""

    name: str
    text: str
    anchor: str | None = None


@dataclass(frozen=True)
class Rows:
    """A list of names, with links to where it is from."""

    rows: tuple[Row, ...]
    sources: tuple[tuple[str, str | None], ...] = ()


Block = Words | Alarm | Figures | Said | Rows


@dataclass(frozen=True)
class Part:
    """A heading with what stands below it."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Layout:
    """A whole report. notices: what is said first and last."""

    title: str
    subtitle: str
    notices: tuple[str, ...]
    parts: tuple[Part, ...]


def lay_out(report: Report) -> Layout:
    """The parts of a report in reading order: red flags before everything else; what is empty is left out."""
    parts = [
        Part("red-flags", "Signs that need a doctor", tuple(_alarm(flag) for flag in report.red_flags)),
        Part("photograph", "The photograph", (*map(Words, report.photo_advice), _figures(report))),
        *(Part(section.name, section.title, (_said(section), *_caution(section.name))) for section in report.sections),
        Part("conversation", "Your own questions", tuple(_said(each) for each in report.conversation)),
        Part("words", "Medical words in the answers", _words(report)),
        Part("model", "How this report was made", (_facts(report), *(Words(text, True) for text in report.remarks))),
    ]
    subtitle = f"{_date(report.made_at)} · {report.model.name}"
    return Layout(TITLE, subtitle, report.notices, tuple(part for part in parts if part.blocks))


def _date(made_at: datetime) -> str:
    return f"{made_at.day} {made_at:%B %Y, %H:%M} (UTC{made_at.isoformat()[-6:]})"


def _alarm(flag: RedFlag) -> Alarm:
    said_by = {"user": "You wrote", "answer": "The model wrote"}
    return Alarm(
        flag.sign,
        URGENCIES[flag.urgency],
        flag.advice,
        tuple(f"{said_by[each.said_by]}: “{each.words}”" for each in flag.evidence),
        tuple((source.title, _safe(source.url)) for source in flag.sources),
    )


def _safe(link: str) -> str | None:
    """A list of red flags is anyone's to edit: only addresses of the web become links."""
    return link if re.fullmatch(r"https://[^\s<>\"]+", link) else None


def _figures(report: Report) -> Figures:
    shown = [Figure(report.picture, "As it was given, scaled down where it was large.", "The photograph")]
    if report.heatmap:
        shown.append(Figure(report.heatmap, HEATMAP_LEGEND, "The photograph under a heat-map"))
    return Figures(tuple(shown))


def _caution(section: str) -> tuple[Words, ...]:
    return (Words(MEDICATION, quiet=True),) if section == "treatment" else ()


def _said(each: Section | Exchange) -> Said:
    explained = tuple((glossary()[name].label, glossary()[name].anchor) for name in concepts_in(each.answer))
    pictures = each.pictures if isinstance(each, Exchange) else 1
    shown = f" [{pictures} pictures were shown]" if pictures > 1 else ""
    return Said(each.question + shown, each.answer, explained)


def _words(report: Report) -> tuple[Block, ...]:
    if not report.concepts:
        return ()
    lead = Words("These words occur in the answers above; an answer may also say that something is absent.", quiet=True)
    rows = tuple(Row(each.label, f"{each.words} {each.note}".strip(), each.anchor) for each in report.concepts)
    sources = dict.fromkeys((each.source_title, _safe(each.source_url)) for each in report.concepts)
    return lead, Rows(rows, tuple(sources))


def _facts(report: Report) -> Rows:
    model, sampling = report.model, asdict(report.sampling)
    facts = {
        "Model": f"{model.name}; package skingpt4 {model.version}",
        "Checkpoint": f"projection {_short(model.projection)}",
        "Decoder": f"{model.decoder}, embedding {_short(model.decoder_fingerprint)}",
        "Photograph encoder": f"{model.vision}, sees {model.image_size} x {model.image_size} pixels",
        "Prompts": f"the four of the paper, in the template {model.chat_template}",
        "Decoding": ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in sampling.items()),
        "Report": report.id,
    }
    return Rows(tuple(Row(name, value) for name, value in facts.items()))


def _short(fingerprint: str | None) -> str:
    """Enough to tell two apart; the JSON has the whole."""
    return f"SHA-256 {fingerprint[:16]}…" if fingerprint else "not known"
