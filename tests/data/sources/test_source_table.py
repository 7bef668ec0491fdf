from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skingpt4.data.records import image_path
from skingpt4.data.sources.table import parse_concepts, read_table
from skingpt4.errors import DataError
from skingpt4.settings import SourceSettings


@pytest.fixture
def folder(tmp_path: Path, draw_picture: Callable[..., Path]) -> Path:
    for name in ("images/1.png", "images/2.png", "3.jpg"):
        draw_picture(tmp_path / name)
    return tmp_path


def write(folder: Path, name: str, text: str, encoding: str = "utf-8") -> str:
    (folder / name).write_bytes(text.encode(encoding))
    return str(folder / name)


def write_lines(folder: Path, *lines: Any) -> str:
    return write(folder, "t.jsonl", "\n".join(json.dumps(line) for line in lines) + "\n")


def error_of(path: str, task: str = "diagnosis") -> str:
    with pytest.raises(DataError) as caught:
        read_table(SourceSettings("table", path, task=task))
    return str(caught.value)


def test_csv_with_notes(folder: Path) -> None:
    text = 'image,disease,notes,age\nimages/1.png,Eczema.,"Itchy,\r\n dry skin.",4\n3.jpg, vitiligo ,,\n'
    report = read_table(SourceSettings("table", write(folder, "t.csv", text)))
    assert [record.answers[0] for record in report.records] == [
        "This could be a skin disease image of Eczema. Itchy, dry skin.",
        "This could be a skin disease image of vitiligo.",
    ]
    assert [record.disease for record in report.records] == ["Eczema", "vitiligo"]
    assert report.records[0].image == folder / "images" / "1.png"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_spreadsheets_of_other_countries_with_byte_order_mark(folder: Path, delimiter: str) -> None:
    lines = [delimiter.join(cells) for cells in (("image", "disease"), ("3.jpg", "Ekzem"), ("", ""))]
    path = write(folder, "t.csv", "\r\n".join(lines) + "\r\n", "utf-8-sig")
    assert [record.disease for record in read_table(SourceSettings("table", path)).records] == ["Ekzem"]


def test_the_embedded_defaults_lines_serve_both_tasks(folder: Path) -> None:
    line = {
        "image": "images/1.png",
        "concepts": ["Scale", "Plaque"],
        "disease": "psoriasis",
        "disease_class": "Psoriasis and Lichen Planus",
        "notes": "The skin shows plaques.",
        "skin_tone": 3,
    }
    path = write_lines(folder, line)
    (diagnosis,) = read_table(SourceSettings("table", path)).records
    assert diagnosis.answers[0] == "This could be a skin disease image of psoriasis. The skin shows plaques."
    (concepts,) = read_table(SourceSettings("table", path, task="concepts")).records
    assert concepts.answers[0] == "This is a skin disease image with following clinical concepts: Plaque, Scale"
    assert (concepts.concepts, concepts.disease) == (("Plaque", "Scale"), "psoriasis")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Plaque; scale", ("Plaque", "Scale")),
        ("Plaque, Flat topped,", ("Plaque", "Flat topped")),
        ('["Plaque", "PURPURA/petechiae"]', ("Plaque", "Purpura/Petechiae")),
        (["Cyst"], ("Cyst",)),
        ("", ()),
        (None, ()),
    ],
)
def test_concepts_are_read_as_people_write_them(value: Any, expected: tuple[str, ...]) -> None:
    assert parse_concepts(value) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "Plaqe; Scal",
            "unknown concept 'Plaqe'; did you mean 'Plaque'?; unknown concept 'Scal'; did you mean 'Scale'?",
        ),
        ("xyzzy", "unknown concept 'xyzzy'; the 48 known ones are"),
        ("[Plaque]", "is no JSON list"),
        ([1, 2], "`concepts` is [1, 2]; a list of names was expected"),
        ({"Plaque": 1}, 'is {"Plaque": 1}; a list of names was expected'),
    ],
)
def test_other_concepts_are_errors(value: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_concepts(value)
    assert message in str(caught.value)


def test_rows_without_an_answer_and_without_an_image_are_counted(folder: Path) -> None:
    path = write(folder, "t.csv", "image,disease,concepts\n3.jpg,eczema,\nimages/1.png,,\nimages/9.png,scabies,Cyst\n")
    report = read_table(SourceSettings("table", path))
    assert (report.rows, len(report.records), report.without_answer, report.missing_images) == (
        3,
        1,
        1,
        ["images/9.png"],
    )


def test_images_may_lie_elsewhere(folder: Path) -> None:
    path = write(folder, "t.csv", "image,disease\n2.png,eczema\n")
    (record,) = read_table(SourceSettings("table", path, images=str(folder / "images"))).records
    assert record.image == folder / "images" / "2.png"
    assert "none of its 1 images is in" in error_of(path)
    with pytest.raises(DataError, match=r"photos does not exist \(looked in .*\); the images' folder was expected"):
        read_table(SourceSettings("table", path, images=str(folder / "photos")))


def test_missing_columns_name_those_found_and_the_nearest(folder: Path) -> None:
    message = error_of(write(folder, "t.csv", "Image,diseases,notes\n3.jpg,eczema,\n"))
    assert "has no column `image`, `disease`, which the task `diagnosis` needs" in message
    assert "Its columns: `Image`, `diseases`, `notes`." in message
    assert "did you mean `Image` by `image`? did you mean `diseases` by `disease`?" in message
    assert "has no column `concepts`, which the task `concepts` needs" in error_of(
        write_lines(folder, {"image": "3.jpg", "disease": "eczema"}), "concepts"
    )


def test_all_wrong_rows_of_a_csv_are_reported_together(folder: Path) -> None:
    text = (
        "image,disease,notes\n3.jpg,eczema,dry, itchy\n\n../3.jpg,eczema,\n/etc/3.jpg,eczema,\n,eczema,\n3.jpg,eczema\n"
    )
    message = error_of(write(folder, "t.csv", text))
    assert "5 errors" in message
    assert "row 2: 4 cells, but the header has 3; put quotes around texts that hold ','" in message
    assert "row 4: image '../3.jpg' leads out of the images folder" in message
    assert "row 5: image '/etc/3.jpg' leads out" in message
    assert "row 6: the image's name is empty" in message
    assert "row 7: 2 cells" in message


def test_all_wrong_lines_of_a_jsonl_are_reported_together(folder: Path) -> None:
    good = {"image": "3.jpg", "disease": "eczema"}
    path = write_lines(folder, good, ["3.jpg"], {"image": 3, "disease": "x"}, {"image": "3.jpg", "disease": ["x"]})
    with Path(path).open("a", encoding="utf-8") as file:
        file.write('{"image": "3.jpg", \n')
    message = error_of(path)
    assert "4 errors" in message
    assert "row 2: a JSON object was expected on each line, not a list" in message
    assert "row 3: `image` is 3; a text was expected" in message
    assert 'row 4: `disease` is ["x"]; a text was expected' in message
    assert "row 5: no JSON: " in message


def test_many_errors_are_counted_and_the_first_shown(folder: Path) -> None:
    message = error_of(write(folder, "t.csv", "image,disease\n" + "../a.jpg,x\n" * 25))
    assert "25 errors" in message
    assert message.count("leads out") == 20
    assert message.endswith("… and 5 more")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.xlsx", b"PK", "is no Excel workbook that can be read"),
        ("t.xls", b"", "suffix must be one of .csv, .tsv, .jsonl, .ndjson, .parquet, .xlsx, .xlsm"),
        ("t.csv", b"image,disease\n3.jpg,Sj\xf6gren\n", "is not UTF-8 (byte 22"),
        ("t.csv", b'image,disease\n3.jpg,"eczema\n3.jpg,x\n', "is not a sound CSV file: line 3"),
        ("t.csv", b"image,disease,disease\n3.jpg,x,y\n", "more than one column `disease`"),
        ("t.csv", b"image,disease\n", "holds no rows"),
        ("t.csv", b"", "holds no rows"),
        ("t.jsonl", b"\n", "holds no rows"),
    ],
)
def test_files_that_are_no_tables(folder: Path, name: str, content: bytes, message: str) -> None:
    (folder / name).write_bytes(content)
    assert message in error_of(str(folder / name))


@pytest.mark.parametrize("name", ["../a.jpg", "b/../../a.jpg", "/a.jpg", "C:\\a.jpg", "..\\a.jpg", "\\a.jpg", ""])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"leads out of the images folder|name is empty"):
        image_path(tmp_path, name)


def test_names_written_on_windows_are_read_anywhere(tmp_path: Path) -> None:
    assert (
        image_path(tmp_path, "images\\1.png") == tmp_path / "images" / "1.png" == image_path(tmp_path, "images/1.png")
    )
