"""A report in every format that it can be had in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from skingpt4.errors import SettingsError
from skingpt4.report.content import Report
from skingpt4.report.fhir import to_fhir
from skingpt4.report.html import to_html
from skingpt4.report.markdown import to_markdown
from skingpt4.report.pdf import to_pdf


@dataclass(frozen=True)
class Format:
    """How a report is written. label: for people; suffix: ends its file's name."""

    label: str
    suffix: str
    media_type: str
    render: Callable[[Report], bytes]


def _html(report: Report) -> bytes:
    return to_html(report).encode()


def _markdown(report: Report) -> bytes:
    return to_markdown(report).encode()


# By the name that a user gives; the first is the one to offer.
FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "html": Format("Web page", ".html", "text/html; charset=utf-8", _html),
        "pdf": Format("PDF", ".pdf", "application/pdf", to_pdf),
        "md": Format("Text (Markdown)", ".md", "text/markdown; charset=utf-8", _markdown),
        "json": Format("Data (JSON)", ".json", "application/json", Report.to_json),
        "fhir": Format("Medical record (FHIR)", ".fhir.json", "application/fhir+json", to_fhir),
    }
)


def report_bytes(report: Report, format: str) -> bytes:
    """The content of the report's file. Raises `SettingsError` for a format that is not in `FORMATS`."""
    if format not in FORMATS:
        raise SettingsError(f"{format!r} is no format of reports; there are {', '.join(FORMATS)}.")
    return FORMATS[format].render(report)
