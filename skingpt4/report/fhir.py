"""A report as FHIR R4 `DiagnosticReport`, for a patient's record.

`fhir.resources` has R4B, whose resources used here (DiagnosticReport, Observation, Media, Device) are R4's unchanged.
No patient is invented: whoever files the report sets `subject`. Nothing is coded that a clinical decision could hang
on; the model's words are text, and the status stays "preliminary".
"""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING, Any

from skingpt4.report.content import Report
from skingpt4.report.layout import TITLE
from skingpt4.report.pdf import to_pdf

if TYPE_CHECKING:
    from fhir.resources.R4B.diagnosticreport import DiagnosticReport

_OTHER = {"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "OTH", "display": "Other"}
_DEVICE, _PICTURE, _HEATMAP = "model", "photograph", "heatmap"


def to_fhir(report: Report) -> bytes:
    """JSON; checked by `fhir.resources` on the way out."""
    return diagnostic_report(report).model_dump_json(indent=1).encode() + b"\n"


def diagnostic_report(report: Report) -> DiagnosticReport:
    """The resource, with model, photograph, heat-map and the four answers contained, and the PDF attached."""
    from fhir.resources.R4B.diagnosticreport import DiagnosticReport

    pictures = {_PICTURE: report.picture} | ({_HEATMAP: report.heatmap} if report.heatmap else {})
    return DiagnosticReport.model_validate(
        {
            "resourceType": "DiagnosticReport",
            "id": report.id,
            "language": report.language,
            "text": {"status": "generated", "div": _narrative(report)},
            "contained": [
                _device(report),
                *(_media(name, picture.media_type, picture.data, report) for name, picture in pictures.items()),
                *(_observation(section.name, section.question, section.answer, report) for section in report.sections),
            ],
            "identifier": [{"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{report.id}"}],
            "status": "preliminary",
            "category": [{"coding": [_OTHER], "text": "Dermatology: answers of a research model"}],
            "code": {"text": TITLE},
            "effectiveDateTime": report.made_at.isoformat(),
            "issued": report.made_at.isoformat(),
            "result": [{"reference": f"#{section.name}", "display": section.title} for section in report.sections],
            "media": [{"comment": name, "link": {"reference": f"#{name}"}} for name in pictures],
            "conclusion": _conclusion(report),
            "conclusionCode": [{"text": f"Mentioned: {concept.label}"} for concept in report.concepts] or None,
            "presentedForm": [
                {
                    "contentType": "application/pdf",
                    "language": report.language,
                    "title": TITLE,
                    "creation": report.made_at.isoformat(),
                    "data": base64.b64encode(to_pdf(report)).decode("ascii"),
                }
            ],
        }
    )


def _device(report: Report) -> dict[str, Any]:
    model = report.model
    return {
        "resourceType": "Device",
        "id": _DEVICE,
        "status": "active",
        "deviceName": [{"name": model.name, "type": "user-friendly-name"}],
        "version": [{"value": f"skingpt4 {model.version}"}, {"value": f"projection SHA-256 {model.projection}"}],
        "type": {"text": "Software: visual language model for research"},
        "note": [{"text": notice} for notice in report.notices],
    }


def _media(name: str, media_type: str, data: bytes, report: Report) -> dict[str, Any]:
    return {
        "resourceType": "Media",
        "id": name,
        "status": "completed",
        "createdDateTime": report.made_at.isoformat(),
        "content": {"contentType": media_type, "data": base64.b64encode(data).decode("ascii"), "title": name},
    }


def _observation(name: str, question: str, answer: str, report: Report) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "preliminary",
        "code": {"text": question},
        "effectiveDateTime": report.made_at.isoformat(),
        "valueString": answer,
        "device": {"reference": f"#{_DEVICE}"},
    }


def _conclusion(report: Report) -> str:
    flags = [f"{flag.sign}: {flag.advice}" for flag in report.red_flags]
    return "\n\n".join([*report.notices, *flags, *report.photo_advice, report.sections[0].answer])


def _narrative(report: Report) -> str:
    """XHTML of what a reader must see where nothing else of the record is shown."""
    lines = [f"<h2>{TITLE}</h2>", *(f"<p><b>{html.escape(line)}</b></p>" for line in report.notices)]
    lines += [f"<p>{html.escape(flag.sign)}: {html.escape(flag.advice)}</p>" for flag in report.red_flags]
    lines += [f"<p>{html.escape(line)}</p>" for line in report.photo_advice]
    lines += [f"<h3>{html.escape(each.title)}</h3><p>{html.escape(each.answer)}</p>" for each in report.sections]
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{"".join(lines)}</div>'
