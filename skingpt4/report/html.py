"""A report as one HTML page that needs nothing else: no script, no font, no address is loaded."""

from __future__ import annotations

from pathlib import Path

from skingpt4.report.content import Report
from skingpt4.report.layout import lay_out

_TEMPLATE = Path(__file__).with_name("page.html")


def to_html(report: Report) -> str:
    """The page, in light and dark and for print. The pictures are inside it, and every text is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals["kind_of"] = lambda block: type(block).__name__.lower()
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(layout=lay_out(report), language=report.language)
