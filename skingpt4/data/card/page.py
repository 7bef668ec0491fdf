"""A card as one HTML page that needs nothing else, or as Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skingpt4.data.card.parts import Block, Card, Note, Pictures, Table
from skingpt4.data.card.plots import plot_svg

_TEMPLATE = Path(__file__).with_name("page.html")
_MARKS = {"good": "✓", "plain": "•", "warning": "⚠"}


def to_html(card: Card, plot: Callable[[Any], str] = plot_svg, style: str = "") -> str:
    """The page: styles, plots and photographs are inside it, nothing is fetched, every text is escaped.

    plot: makes a block that is a plot into HTML. style: CSS beside the page's own.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(
        kind_of=lambda block: type(block).__name__.lower(), plot=lambda block: Markup(plot(block)), marks=_MARKS
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(card=card, style=Markup(style))


def to_markdown(card: Card) -> str:
    """The same without pictures: plots become tables of their numbers."""
    lines = [f"# {_plain(card.title)}", "", _plain(card.subtitle), ""]
    lines += [f"- **{_plain(figure)}** {_plain(what)}" for figure, what in card.tiles]
    for section in card.sections:
        lines += ["", f"## {_plain(section.title)}", "", _plain(section.sentence), ""]
        for block in section.blocks:
            lines += _markdown_of(block)
    return "\n".join([*lines, "", "---", "", _plain(card.footer), ""])


def _markdown_of(block: Block) -> list[str]:
    if isinstance(block, Note):
        return [f"- {_MARKS[block.kind]} {_plain(block.text)}"]
    if isinstance(block, Pictures):
        return []
    table = block if isinstance(block, Table) else block.table()
    note = "" if isinstance(block, Table) else block.note
    lines = ["", f"### {_plain(block.title)}"] if block.title else []
    lines += ["", _plain(note)] if note else []
    rows = [table.header, *table.rows]
    cells = [f"| {' | '.join(_plain(cell) for cell in row)} |" for row in rows]
    return [*lines, "", cells[0], "|---" * len(table.header) + "|", *cells[1:], ""]


def _plain(text: str) -> str:
    """Text in which Markdown and HTML see no marks of theirs, on one line."""
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", html.escape(" ".join(text.split()), quote=False))
