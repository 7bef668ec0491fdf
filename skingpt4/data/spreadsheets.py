"""Parquet files and Excel workbooks as `rows.Rows`; cells become the text that a person would read in them."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import ParseError

from skingpt4.data.records import few
from skingpt4.data.rows import NoText, Rows, check_columns, plain_text
from skingpt4.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    from openpyxl.workbook import Workbook
    from openpyxl.worksheet.worksheet import Worksheet

_BATCH_ROWS = 8192
_BYTES = NoText("holds bytes or nested values; a text was expected")


def read_parquet(path: Path) -> Rows:
    """The rows of a Parquet file, numbered from 1; lists (of concepts, say) stay lists.

    Columns that hold bytes, as tables with packed images do, are not read; asking for their text is an error of the
    row. Raises `DataError` for a file that is no Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = Rows(path)
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            table.columns = tuple(schema.names)
            check_columns(path, table.columns)
            packed = {name: _BYTES for name in schema.names if _packed(schema, name)}
            wanted = [name for name in schema.names if name not in packed]
            if not wanted and schema.names:
                raise DataError(f"{path} holds nothing but bytes; columns of text were expected.")
            for batch in file.iter_batches(_BATCH_ROWS, columns=wanted):
                for values in batch.to_pylist():
                    row = {name: plain_text(value) for name, value in values.items()} | packed
                    table.rows.append((len(table.rows) + 1, row))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is no Parquet file that can be read: {error}.") from error
    return table


def _packed(schema: pa.Schema, name: str) -> bool:
    import pyarrow.types as kinds

    kind = schema.field(name).type
    return bool(
        kinds.is_binary(kind)
        or kinds.is_large_binary(kind)
        or kinds.is_fixed_size_binary(kind)
        or kinds.is_struct(kind)  # `datasets` keeps an image as {bytes, path}
    )


def read_excel(path: Path) -> Rows:
    """The rows of a workbook's first sheet, with the sheet's own row numbers; its first filled row names the columns.

    Empty rows and columns without a name are passed over; formulas give the values that were saved with them. Merged
    cells are errors of their rows: only the first of them has a value, and which rows the others belong to is a guess.
    Raises `DataError` for a file that is no workbook and for a first sheet that is empty.
    """
    workbook = _open_workbook(path)
    sheets = [sheet.title for sheet in workbook.worksheets]
    if not sheets:
        raise DataError(f"{path} has no sheet of cells.")
    sheet = workbook.worksheets[0]
    rows = [(number, cells) for number, cells in enumerate(sheet.iter_rows(), start=1) if any(map(_filled, cells))]
    if not rows:
        others = f" Move the sheet that is meant ({', '.join(sheets[1:])}) to the front." if sheets[1:] else ""
        raise DataError(f"{path}: its first sheet, {sheets[0]!r}, is empty.{others}")
    header_number, header = rows[0]
    names = [_name(cell.value) for cell in header]
    check_columns(path, names)
    table = Rows(path, tuple(name for name in names if name))
    _note_merged(table, sheet, header_number)
    for number, cells in rows[1:]:
        values = {name: _value(cell) for name, cell in zip(names, cells, strict=False) if name}
        if any(value not in (None, "") for value in values.values()):
            table.rows.append((number, values))
    return table


def _open_workbook(path: Path) -> Workbook:
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of looks and checks that openpyxl does not keep
            return openpyxl.load_workbook(path, data_only=True)
    except (InvalidFileException, zipfile.BadZipFile, ParseError, KeyError, ValueError, TypeError, OSError) as error:
        raise DataError(
            f"{path} is no Excel workbook that can be read ({error}). If it has a password or is an old .xls file, "
            "save it again as .xlsx without one, or as CSV UTF-8."
        ) from error


def _filled(cell: Any) -> bool:
    return cell.value is not None and str(cell.value).strip() != ""


def _name(value: Any) -> str:
    return "" if value is None else str(plain_text(value)).strip()


def _value(cell: Any) -> Any:
    if cell.data_type == "e":
        return NoText(f"is Excel's error {cell.value} in cell {cell.coordinate}; mend the formula or empty the cell")
    return plain_text(cell.value)


def _note_merged(table: Rows, sheet: Worksheet, header_number: int) -> None:
    merged: Sequence[Any] = sorted(sheet.merged_cells.ranges, key=lambda area: area.min_row)
    several = [area for area in merged if area.max_row > area.min_row and area.max_row > header_number]
    if several:
        names = few([area.coord for area in several], 5)
        table.fail(several[0].min_row, f"merged cells ({names}); unmerge them and write the value into each row")
