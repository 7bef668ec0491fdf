"""Tables as rows with numbers, and the errors of their rows, collected and reported together."""

from __future__ import annotations

import csv
import datetime
import decimal
import difflib
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skingpt4.errors import DataError

CSV_SUFFIXES, JSONL_SUFFIXES = (".csv", ".tsv"), (".jsonl", ".ndjson")
PARQUET_SUFFIXES, EXCEL_SUFFIXES = (".parquet",), (".xlsx", ".xlsm")
TABLE_SUFFIXES = (*CSV_SUFFIXES, *JSONL_SUFFIXES, *PARQUET_SUFFIXES, *EXCEL_SUFFIXES)
SHOWN_ERRORS = 20


@dataclass(frozen=True)
class NoText:
    """Stands for a cell that nobody can read as text, until someone asks for it. why: follows the column's name."""

    why: str


@dataclass
class Rows:
    """A table. rows: (number, values by column).

    Numbers are a spreadsheet's (header = 1), a JSONL file's lines, or those of a Parquet file's rows (the first = 1).
    """

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
    """The rows of a CSV (comma, semicolon or tab) or JSONL file in UTF-8, of a Parquet file, or of an Excel workbook's
    first sheet, by the suffix.

    A row that is malformed is left out and noted in `errors`. In Parquet files and workbooks, numbers and dates become
    text as people write them (see `plain_text`). Raises `DataError` for another suffix, another encoding, a broken
    file and a file without rows.
    """
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        known = ", ".join(TABLE_SUFFIXES)
        raise DataError(f"{path}: a table's suffix must be one of {known}; save it as .xlsx or export it as CSV UTF-8.")
    if suffix in EXCEL_SUFFIXES or suffix in PARQUET_SUFFIXES:
        from skingpt4.data.spreadsheets import read_excel, read_parquet

        rows = read_excel(path) if suffix in EXCEL_SUFFIXES else read_parquet(path)
    else:
        text = _decoded(path, path.read_bytes())
        rows = _read_csv(path, text) if suffix in CSV_SUFFIXES else _read_jsonl(path, text)
    if not rows.rows:
        rows.raise_errors()
        raise DataError(f"{path} holds no rows.")
    return rows


def check_columns(path: Path, columns: Sequence[str]) -> None:
    """Raise `DataError` if two columns have one name; nameless ones may be many."""
    repeated = sorted({name for name in columns if name and columns.count(name) > 1})
    if repeated:
        raise DataError(f"{path} has more than one column {', '.join(f'`{name}`' for name in repeated)}; keep one.")


def _decoded(path: Path, content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(
            f"{path} is UTF-16 (Excel's 'Unicode Text'); UTF-8 was expected. Save it as 'CSV UTF-8' or as .xlsx."
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} is not UTF-8 (byte {error.start:,}: {error.reason}; in line {line:,}). Excel's plain 'CSV' is in "
            "the encoding of its Windows, mostly cp1252: save it there as 'CSV UTF-8' or as .xlsx, or convert it with "
            "`iconv -f CP1252 -t UTF-8 OLD.csv > NEW.csv`."
        ) from error


def _read_csv(path: Path, text: str) -> Rows:
    header_line = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header_line.count)
    # strict: a forgotten closing quote would otherwise swallow the rest of the file into one cell
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    table = Rows(path)
    try:
        table.columns = tuple(name.strip() for name in next(reader, []))
        check_columns(path, table.columns)
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
    if isinstance(value, NoText):
        raise ValueError(f"`{column}` {value.why}")
    if not isinstance(value, str):
        raise ValueError(f"`{column}` is {json.dumps(value, default=str)[:60]}; a text was expected")
    return value.strip()


def scalar_of(values: dict[str, Any], column: str) -> str:
    """As `text_of`, but a number (as JSON has them) is written out. Raises `ValueError` for another type."""
    return text_of({column: plain_text(values.get(column))}, column)


def plain_text(value: Any) -> Any:
    """A number, date or time as a person writes it: 12.0 -> "12", NaN -> "", midnight of a day -> "2024-03-01".

    What is neither is given back as it is.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return "" if math.isnan(value) else str(value)
        return str(int(value)) if value.is_integer() else f"{value:.15g}"  # 15 digits, as Excel shows
    if isinstance(value, decimal.Decimal):
        if not value.is_finite():
            return plain_text(float(value))
        return str(int(value)) if value == int(value) else f"{value.normalize():f}"
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    return str(value) if isinstance(value, datetime.timedelta) else value
