"""Pictures and reports on their way out: kept in memory for their page, each under an address of its own."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from skingpt4.demo.visitors.sessions import Sessions

if TYPE_CHECKING:
    import gradio as gr
    from PIL.Image import Image

    from skingpt4.report.content import Report

PREVIEW_PX = 1024


def photograph_url(sessions: Sessions, request: gr.Request, picture: Image) -> str:
    """The photograph as the page shows it, without anything but its pixels."""
    return sessions.keep(request, "photograph.jpg", "image/jpeg", _jpeg(picture))


def heatmap_url(sessions: Sessions, request: gr.Request, picture: Image) -> str:
    """Where the model looked."""
    return sessions.keep(request, "attention.jpg", "image/jpeg", _jpeg(picture))


def report_urls(sessions: Sessions, request: gr.Request, report: Report) -> dict[str, str]:
    """What each format is called -> where it can be had."""
    from skingpt4.report.files import FORMATS, report_bytes

    return {
        kind.label: sessions.keep(request, f"skin-report{kind.suffix}", kind.media_type, report_bytes(report, name))
        for name, kind in FORMATS.items()
    }


def _jpeg(picture: Image) -> bytes:
    from PIL import ImageOps

    buffer = io.BytesIO()
    small = max(picture.size) <= PREVIEW_PX
    (picture if small else ImageOps.contain(picture, (PREVIEW_PX, PREVIEW_PX))).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
