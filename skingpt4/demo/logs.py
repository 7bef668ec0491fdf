"""What is logged while the page is open: where a fault happened, never what a visitor gave.

Messages of exceptions hold file names, questions and values; a place in the code does not.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradio import Blocks

LOGGER = logging.getLogger(__name__)


def places(error: BaseException | None) -> str:
    """Kinds of a fault and of those that led to it, with the lines of code on their way; no message, no value."""
    lines = []
    while error is not None:
        lines.append(f"{type(error).__module__}.{type(error).__qualname__}, raised by way of")
        frames = traceback.extract_tb(error.__traceback__)
        lines += [f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        error = error.__cause__ or error.__context__
    return "\n".join(lines)


class PlacesOnly(logging.Formatter):
    """Time, who speaks, and of a fault its places. Messages of other libraries are left out: they quote values."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{self.formatTime(record)} {record.levelname} {record.name}"
        if record.name == LOGGER.name:
            return f"{line}: {record.getMessage()}"
        return f"{line}: {places(record.exc_info[1])}" if record.exc_info else line


def keep_out_of_logs() -> None:
    """From here on this process logs places only: its loggers, warnings of libraries, faults in threads."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlacesOnly())
    logging.basicConfig(handlers=[handler], level=logging.ERROR, force=True)
    warnings.simplefilter("ignore")  # those of pydicom quote what stands in the file
    threading.excepthook = lambda fault: LOGGER.error(places(fault.exc_value))
    sys.unraisablehook = lambda fault: LOGGER.error(places(fault.exc_value))


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
