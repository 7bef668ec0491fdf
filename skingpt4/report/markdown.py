"""A report as Markdown: easy to read as it is, with its pictures in links at its end, which many viewers show."""

from __future__ import annotations

import html
import re

from skingpt4.report.content import Report
from skingpt4.report.layout import Alarm, Block, Figures, Rows, Said, Words, lay_out

# What opens a mark of Markdown's anywhere, and what makes viewers turn an address into a link.
_MARKS = re.compile(r"([\\`*_\[\]{}|#~$!@]|(?<=:)/(?=/)|(?<=www)\.)", re.IGNORECASE)
# What does at the beginning of a line: lists, rules and underlines of headings.
_OPENERS = re.compile(r"^(\d*)([-+=.)])")


def to_markdown(report: Report) -> str:
    """CommonMark in which every text is escaped."""
    layout = lay_out(report)
    notices = "\\\n".join(f"**{_line(line)}**" for line in layout.notices)
    paragraphs = [f"# {_line(layout.title)}", _line(layout.subtitle), notices]
    pictures: list[str] = []
    for part in layout.parts:
        paragraphs.append(f"## {_line(part.title)}")
        for block in part.blocks:
            paragraphs += _paragraphs(block, pictures)
    links = [f"[picture-{number}]: {uri}" for number, uri in enumerate(pictures, 1)]
    return "\n\n".join([*paragraphs, "---", notices, *links]) + "\n"


def _paragraphs(block: Block, pictures: list[str]) -> list[str]:
    """A block's paragraphs; the addresses of its pictures are added to `pictures`."""
    if isinstance(block, Words):
        return [_text(block.text)]
    if isinstance(block, Alarm):
        evidence = [_line(line) for line in block.evidence]
        return [f"### {_line(block.urgency)}: {_line(block.title)}", _text(block.action), *evidence, *_sources(block)]
    if isinstance(block, Said):
        return [f"*{_line(block.question)}*", _text(block.answer)]
    if isinstance(block, Figures):
        paragraphs = []
        for figure in block.figures:
            pictures.append(figure.picture.uri)
            paragraphs += [f"![{_line(figure.alt)}][picture-{len(pictures)}]", _text(figure.caption)]
        return paragraphs
    rows = "\n".join(f"- **{_line(row.name)}**: {_line(row.text)}" for row in block.rows)
    return [rows, *_sources(block)]


def _sources(block: Alarm | Rows) -> list[str]:
    links = (f"[{_line(name)}](<{link}>)" if link else _line(name) for name, link in block.sources)
    return [f"Source: {', '.join(links)}"] if block.sources else []


def _text(text: str) -> str:
    """Paragraphs and line ends stay."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join("\\\n".join(_line(line) for line in each.split("\n") if line.strip()) for each in paragraphs)


def _line(text: str) -> str:
    """Text in which Markdown and HTML see no marks of theirs, on one line."""
    escaped = _MARKS.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))
    return _OPENERS.sub(r"\1\\\2", escaped)
