"""A user's template for the answers of step 2: a text file with `{disease}`, `{notes}` and `{concepts}`."""

from __future__ import annotations

import difflib
import string
from collections.abc import Sequence
from pathlib import Path

from skingpt4.data.records import existing_file
from skingpt4.errors import DataError
from skingpt4.vocabulary import DIAGNOSIS_ANSWER

PLACEHOLDERS = ("disease", "notes", "concepts")
DEFAULT_TEMPLATE = f"{DIAGNOSIS_ANSWER} {{notes}}"


def read_template(path: Path | None) -> str:
    """The template in a UTF-8 text file; None = `DEFAULT_TEMPLATE`. `{{` and `}}` stand for braces.

    Raises `DataError` for a file that is empty or not UTF-8, for an unknown placeholder (naming the nearest), and where
    there is no placeholder: every answer would be the same.
    """
    if path is None:
        return DEFAULT_TEMPLATE
    file = existing_file(str(path), "a template of answers")
    known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    try:
        text = file.read_text(encoding="utf-8-sig").strip()
        parts = list(string.Formatter().parse(text))
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 (byte {error.start:,}); save it as UTF-8 text.") from error
    except ValueError as error:
        raise DataError(f"{file} is no template: {error}. Write {{{{ and }}}} for braces that are text.") from error
    named = [name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
             for _, name, form, conversion in parts if name is not None]  # fmt: skip
    unknown = [name for name in dict.fromkeys(named) if name not in PLACEHOLDERS]
    if unknown:
        raise DataError(f"{file}: {'; '.join(_unknown(name) for name in unknown)}. Known are {known}.")
    if not named:
        raise DataError(f"{file} holds none of {known}: every answer would be the same.")
    return text


def fill(template: str, disease: str, notes: str = "", concepts: Sequence[str] = ()) -> str:
    """One answer. Line breaks of the template stay, those of the notes become spaces."""
    values = {
        "disease": disease.strip().rstrip("."),
        "notes": " ".join(notes.split()),
        "concepts": ", ".join(concepts),
    }
    return "\n".join(line.rstrip() for line in template.format(**values).splitlines()).strip()


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), PLACEHOLDERS, n=1)
    return f"unknown placeholder {{{name}}}" + (f", did you mean {{{near[0]}}}?" if near else "")
