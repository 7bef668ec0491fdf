"""Tables of every kind give the same rows."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skingpt4.data.rows import Rows, plain_text, read_rows, scalar_of, text_of
from skingpt4.errors import DataError


def write_excel(path: Path, *sheets: list[list[Any]]) -> Path:
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    for number, rows in enumerate(sheets, start=1):
        sheet = workbook.create_sheet(f"S{number}")
        for row in rows:
            sheet.append(row)
    workbook.save(path)
    return path


def error_of(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_rows(path)
    return str(caught.value)


def test_a_workbooks_cells_are_read_as_they_look(tmp_path: Path) -> None:
    day, moment = datetime.datetime(2024, 3, 1), datetime.datetime(2024, 3, 1, 14, 30)
    path = write_excel(
        tmp_path / "t.xlsx",
        [
            [None, None, None],
            [" image ", "id", "seen", None, "more"],
            ["a.jpg", 12.0, day, "no column", True],
            [None, "  ", None, None, None],
            ["b.jpg", 0.1 + 0.2, moment, None, 1234567890123456],
        ],
    )
    rows = read_rows(path)
    assert rows.columns == ("image", "id", "seen", "more")
    assert rows.rows == [
        (3, {"image": "a.jpg", "id": "12", "seen": "2024-03-01", "more": "true"}),
        (5, {"image": "b.jpg", "id": "0.3", "seen": "2024-03-01T14:30:00", "more": "1234567890123456"}),
    ]


def test_the_first_sheet_is_read_and_an_empty_one_is_an_error(tmp_path: Path) -> None:
    table = [["image"], ["a.jpg"]]
    assert len(read_rows(write_excel(tmp_path / "a.xlsx", table, [["other"], [1]])).rows) == 1
    message = error_of(write_excel(tmp_path / "b.xlsx", [], table, table))
    assert "its first sheet, 'S1', is empty. Move the sheet that is meant (S2, S3) to the front." in message
    assert error_of(write_excel(tmp_path / "c.xlsx", [])).endswith("its first sheet, 'S1', is empty.")
    assert "holds no rows" in error_of(write_excel(tmp_path / "d.xlsx", [["image"]]))
    assert "more than one column `image`" in error_of(write_excel(tmp_path / "e.xlsx", [["image", "image"], [1, 2]]))


def test_merged_cells_are_an_error_of_their_rows(tmp_path: Path) -> None:
    path = write_excel(tmp_path / "t.xlsx", [["image", "patient"], ["a.jpg", 1], ["b.jpg", None]])
    workbook = openpyxl.load_workbook(path)
    workbook.active.merge_cells("B2:B3")
    workbook.save(path)
    with pytest.raises(DataError, match=r"row 2: merged cells \(B2:B3\); unmerge them"):
        read_rows(path).raise_errors()


def test_an_excel_error_is_reported_when_its_cell_is_wanted(tmp_path: Path) -> None:
    workbook = openpyxl.Workbook()
    workbook.active.append(["image", "disease"])
    workbook.active.append(["a.jpg", None])
    workbook.active["B2"].value = "#REF!"
    workbook.active["B2"].data_type = "e"
    workbook.save(tmp_path / "t.xlsx")
    ((_, values),) = read_rows(tmp_path / "t.xlsx").rows
    assert text_of(values, "image") == "a.jpg"
    with pytest.raises(ValueError, match=r"`disease` is Excel's error #REF! in cell B2; mend the formula"):
        text_of(values, "disease")


def test_parquet_keeps_lists_and_does_not_read_bytes(tmp_path: Path) -> None:
    table = pa.table(
        {
            "image": ["a.jpg", "b.jpg"],
            "age": [45.0, None],
            "concepts": [["Plaque"], []],
            "pixels": [b"\xff", b""],
            "packed": [{"bytes": b"", "path": "x"}] * 2,
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    rows = read_rows(tmp_path / "t.parquet")
    assert rows.columns == ("image", "age", "concepts", "pixels", "packed")
    assert [number for number, _ in rows.rows] == [1, 2]
    first, second = (values for _, values in rows.rows)
    assert (first["age"], first["concepts"], text_of(second, "age")) == ("45", ["Plaque"], "")
    for column in ("pixels", "packed"):
        with pytest.raises(ValueError, match=f"`{column}` holds bytes or nested values; a text was expected"):
            text_of(first, column)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.xlsx", b"PK", "is no Excel workbook that can be read"),
        ("t.xlsx", b"\xd0\xcf\x11\xe0 an encrypted or old workbook", "has a password or is an old .xls file"),
        ("t.parquet", b"PAR1", "is no Parquet file that can be read"),
        ("t.xls", b"", "suffix must be one of .csv, .tsv, .jsonl, .ndjson, .parquet, .xlsx, .xlsm; save it as .xlsx"),
        ("t.csv", "image,disease\na,b\nc,Sjögren\n".encode("cp1252"), "in line 3). Excel's plain 'CSV'"),
        ("t.csv", "Sjögren".encode("cp1252"), "iconv -f CP1252 -t UTF-8"),
        ("t.csv", "image\na\n".encode("utf-16"), "is UTF-16 (Excel's 'Unicode Text')"),
    ],
)
def test_files_that_cannot_be_read_say_what_to_do(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert message in error_of(tmp_path / name)


CELLS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=9)


@settings(deadline=None, max_examples=25)  # each writes and reads four files
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_csv_jsonl_parquet_and_xlsx_hold_the_same(tmp_path_factory: Any, cells: list[tuple[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("same")
    lines = [{"image": image, "disease": disease} for image, disease in cells]
    (folder / "t.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(lines), folder / "t.parquet")
    workbook = openpyxl.Workbook()
    for number, row in enumerate([("image", "disease"), *cells], start=1):
        for column, value in enumerate(row, start=1):
            cell = workbook.active.cell(number, column)
            cell.value, cell.data_type = value, "s"  # `=x` and `#REF!` are texts here
    workbook.save(folder / "t.xlsx")
    quoted = [",".join('"' + value.replace('"', '""') + '"' for value in row) for row in cells]
    (folder / "t.csv").write_text("\n".join(["image,disease", *quoted]), encoding="utf-8")
    for name in ("t.jsonl", "t.parquet", "t.xlsx", "t.csv"):
        assert [values for _, values in read_rows(folder / name).rows] == lines, name


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12, "12"),
        (12.0, "12"),
        (-0.5, "-0.5"),
        (1e22, "10000000000000000000000"),
        (float("nan"), ""),
        (float("inf"), "inf"),
        (decimal.Decimal("1.50"), "1.5"),
        (decimal.Decimal("100"), "100"),
        (decimal.Decimal("NaN"), ""),
        (False, "false"),
        (datetime.date(1957, 3, 12), "1957-03-12"),
        (datetime.time(9, 5), "09:05:00"),
        (datetime.timedelta(hours=1), "1:00:00"),
        (None, None),
        (["x"], ["x"]),
    ],
)
def test_numbers_and_dates_become_what_people_write(value: Any, text: Any) -> None:
    assert plain_text(value) == text


@given(st.integers(-(10**15), 10**15))
def test_a_whole_number_has_no_point(number: int) -> None:
    assert plain_text(float(number)) == plain_text(number) == str(number)


def test_a_number_is_a_text_only_where_one_is_welcome() -> None:
    assert scalar_of({"age": 45}, "age") == "45"
    with pytest.raises(ValueError, match=r"`age` is 45; a text was expected"):
        text_of({"age": 45}, "age")
    with pytest.raises(ValueError, match=r"`age` is \[45\]; a text was expected"):
        scalar_of({"age": [45]}, "age")


def test_missing_columns_name_the_nearest() -> None:
    rows = Rows(Path("t.csv"), ("Foto", "Diagnose"))
    with pytest.raises(DataError, match=r"did you mean `Diagnose` by `diagnosis`\?"):
        rows.require(("diagnosis",), "the source `notes`")
