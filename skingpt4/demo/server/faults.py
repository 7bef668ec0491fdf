"""Faults in the page's handlers, told in words of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skingpt4.web.logs import LOGGER, places

if TYPE_CHECKING:
    from gradio import Blocks


def hide_faults(page: Blocks, told: str) -> None:
    """Gradio prints the whole message of a fault in a handler, or in a value's way to it. Here only its place is
    logged, and the visitor is told these plain words.
    """
    import gradio as gr

    process = page.process_api

    async def process_api(*values: Any, **named: Any) -> Any:
        try:
            return await process(*values, **named)
        except gr.Error as meant:
            meant.print_exception = False
            raise
        except Exception as error:
            LOGGER.error(places(error))
            raise gr.Error(told, print_exception=False) from None

    page.process_api = process_api  # type: ignore[method-assign]  # this page alone; Gradio has no hook here
