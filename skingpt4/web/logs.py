"""What is logged while others are served: where a fault happened, never what a visitor or a client gave.

Messages of exceptions hold file names, questions and values; a place in the code does not.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import warnings
from time import monotonic

LOGGER = logging.getLogger(__name__)
REPEATED_AFTER_SECONDS = 60  # a line that is equal to one that was logged


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
        left_out = getattr(record, "left_out", 0)
        more = f"\n  (and {left_out} times since it was last told)" if left_out else ""
        return f"{self.formatTime(record)} {_told(record)}{more}"


class EqualLinesSeldom(logging.Filter):
    """Whoever can cause a fault can cause it a thousand times a second, and would fill the disk with its log. A line is
    told once in a minute, the next time with how many were left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._told: dict[str, tuple[float, int]] = {}  # when, and how many left out since; as many as the code's places

    def filter(self, record: logging.LogRecord) -> bool:
        line, now = _told(record), monotonic()
        with self._lock:
            before, left_out = self._told.get(line, (float("-inf"), 0))
            if now - before < REPEATED_AFTER_SECONDS:
                self._told[line] = before, left_out + 1
                return False
            self._told[line] = now, 0
        record.left_out = left_out
        return True


def _told(record: logging.LogRecord) -> str:
    line = f"{record.levelname} {record.name}"
    if record.name == LOGGER.name:
        return f"{line}: {record.getMessage()}"
    return f"{line}: {places(record.exc_info[1])}" if record.exc_info else line


def keep_out_of_logs() -> None:
    """From here on this process logs places only: its loggers, warnings of libraries, faults in threads."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlacesOnly())
    handler.addFilter(EqualLinesSeldom())
    logging.basicConfig(handlers=[handler], level=logging.ERROR, force=True)
    warnings.simplefilter("ignore")  # those of pydicom quote what stands in the file
    threading.excepthook = lambda fault: LOGGER.error(places(fault.exc_value))
    sys.unraisablehook = lambda fault: LOGGER.error(places(fault.exc_value))
