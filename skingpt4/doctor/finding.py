"""What an examination finds: one line of the doctor's table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from skingpt4.errors import SkinGPTError

GOOD, WARNING, FAULT = "good", "warning", "fault"
UNFORESEEN = "No reader foresaw this: get the file anew; if it stays, please report it with this line."


@dataclass(frozen=True)
class Finding:
    """One check. status: GOOD, WARNING (it works, but read this) or FAULT (it will not work). found: what there is.
    advice: what to do about it, "" where nothing is to do.
    """

    check: str
    status: str
    found: str
    advice: str = ""


def attempt(check: str, look: Callable[[], str]) -> Finding:
    """GOOD with what `look` returns; a FAULT with the message of the error that it raises, which says what to do."""
    try:
        return Finding(check, GOOD, look())
    except SkinGPTError as error:
        return Finding(check, FAULT, str(error))
    except Exception as error:  # a file can be broken in ways that no reader foresaw, and the examination goes on
        return Finding(check, FAULT, f"{type(error).__name__}: {error}", UNFORESEEN)
