"""CSV and JSONL files as rows with numbers, and the errors of their rows, collected and reported together."""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skingpt4.errors import DataError

CSV_SUFFIXES, JSONL_SUFFIXES = (".csv", ".tsv"), (".jsonl", ".ndjson")
SHOWN_ERRORS = 20


@dataclass
class Rows:
    """A table. rows: (number, values by column); numbers are a spreadsheet's (header = 1) or a JSONL file's lines."""

    path: Path
    columns: tuple[str, ...] = ()
    rows: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def fail(self, number: int, message: str) -> None:
        """Note what is wrong with one row."""
        self.errors.append(f"row {number}: {message}")

    def raise_errors(self) -> None:
        """Raise `DataError` with every error noted so far (the first `SHOWN_ERRORS` written out)."""
        if self.errors:
            lines = self.errors[:SHOWN_ERRORS]
            if len(self.errors) > SHOWN_ERRORS:
                lines.append(f"… and {len(self.errors) - SHOWN_ERRORS:,} more")
            count = len(self.errors)
            raise DataError("\n  ".join([f"{self.path}: {count:,} error{'s' * (count > 1)} in its rows:", *lines]))

    def require(self, names: Sequence[str], purpose: str) -> None:
        """Raise `DataError` if a column is missing, naming those found and the nearest match."""
        missing = [name for name in names if name not in self.columns]
        if not missing:
            return
        lower = {column.lower(): column for column in reversed(self.columns)}
        hints = []
        for name in missing:
            near = difflib.get_close_matches(name.lower(), lower, n=1)
            hints += [f"did you mean `{lower[near[0]]}` by `{name}`?"] if near else []
        found = ", ".join(f"`{column}`" for column in self.columns) or "none"
        raise DataError(
            f"{self.path} has no column {', '.join(f'`{name}`' for name in missing)}, which {purpose} needs. "
            f"Its columns: {found}.{' Rename it: ' + ' '.join(hints) if hints else ''}"
        )


def read_rows(path: Path) -> Rows:
    """The rows of a CSV (comma, semicolon or tab) or JSONL file in UTF-8, by its suffix.

    A row that is malformed is left out and noted in `errors`. Raises `DataError` for another suffix, another encoding,
    a broken CSV file and a file without rows.
    """
    suffix = path.suffix.lower()
    if suffix not in (*CSV_SUFFIXES, *JSONL_SUFFIXES):
        known = ", ".join((*CSV_SUFFIXES, *JSONL_SUFFIXES))
        raise DataError(f"{path}: a table's suffix must be one of {known}; export it as CSV (UTF-8).")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 (byte {error.start:,}: {error.reason}); save it as CSV UTF-8.") from error
    rows = _read_csv(path, text) if suffix in CSV_SUFFIXES else _read_jsonl(path, text)
    if not rows.rows:
        rows.raise_errors()
        raise DataError(f"{path} holds no rows.")
    return rows


def _read_csv(path: Path, text: str) -> Rows:
    header_line = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header_line.count)
    # strict: a forgotten closing quote would otherwise swallow the rest of the file into one cell
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    table = Rows(path)
    try:
        table.columns = tuple(name.strip() for name in next(reader, []))
        repeated = sorted({name for name in table.columns if name and table.columns.count(name) > 1})
        if repeated:
            raise DataError(f"{path} has more than one column {', '.join(f'`{name}`' for name in repeated)}; keep one.")
        width = len(table.columns)
        for number, cells in enumerate(reader, start=2):
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) < width or any(cells[width:]):
                found = f"{len(cells)} cells, but the header has {width}"
                table.fail(number, f"{found}; put quotes around texts that hold {delimiter!r}")
                continue
            table.rows.append((number, dict(zip(table.columns, cells, strict=False))))
    except csv.Error as error:
        where = f"line {reader.line_num}: {error}"
        raise DataError(f"{path} is not a sound CSV file: {where}; look for an unpaired quote.") from error
    return table


def _read_jsonl(path: Path, text: str) -> Rows:
    table = Rows(path)
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            table.fail(number, f"no JSON: {error.msg} at character {error.pos + 1}")
            continue
        if isinstance(values, dict):
            table.rows.append((number, values))
        else:
            table.fail(number, f"a JSON object was expected on each line, not a {type(values).__name__}")
    table.columns = tuple(dict.fromkeys(column for _, values in table.rows for column in values))
    return table


def text_of(values: dict[str, Any], column: str) -> str:
    """A column's text without spaces around it; "" where it is absent or null. Raises `ValueError` for another type."""
    value = values.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"`{column}` is {json.dumps(value)[:60]}; a text was expected")
    return value.strip()
