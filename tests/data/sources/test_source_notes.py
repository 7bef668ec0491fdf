from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skingpt4.data.sources.notes import NoteColumns, find_note_identifiers, read_notes
from skingpt4.errors import DataError
from skingpt4.vocabulary import DIAGNOSIS_PROMPTS

CLINIC = NoteColumns("Foto", "Diagnose", "Befund", "Patient", "Alter", "Geschlecht", "Ort", "Hauttyp", "Konzepte")
HEADER = ("Foto", "Diagnose", "Befund", "Patient", "Alter", "Geschlecht", "Ort", "Hauttyp", "Konzepte")
FILLED = ("1.png", "Eczema.", "Itchy,\n dry skin.", 12, 45, "F", "arm", "III", "Plaque; scale")
EMPTY = ("in/2.jpg", "vitiligo", None, None, None, None, None, None, None)


@pytest.fixture
def photos(tmp_path: Path, draw_picture: Callable[..., Path]) -> Path:
    for name in ("1.png", "in/2.jpg", "3.jpg"):
        draw_picture(tmp_path / "photos" / name)
    return tmp_path / "photos"


def write(path: Path, *rows: tuple[Any, ...], header: tuple[str, ...] = HEADER) -> Path:
    """A table in the format of the file's suffix."""
    lines = [dict(zip(header, row, strict=True)) for row in rows]
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(lines), path)
    elif path.suffix == ".xlsx":
        workbook = openpyxl.Workbook()
        for row in (header, *rows):
            workbook.active.append(row)
        workbook.save(path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([header, *rows])
    return path


def simple(folder: Path, *rows: tuple[Any, ...], header: tuple[str, ...] = ("image", "disease", "notes")) -> Path:
    return write(folder / "notes.csv", *rows, header=header)


def error_of(table: Path, photos: Path, columns: NoteColumns = CLINIC, template: Path | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read_notes(table, photos, columns, template)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".xlsx"])
def test_every_kind_of_table_gives_the_same_records(tmp_path: Path, photos: Path, suffix: str) -> None:
    report = read_notes(write(tmp_path / f"t{suffix}", FILLED, EMPTY), photos, CLINIC)
    first, second = report.records
    assert first.image == photos / "1.png"
    assert first.questions == DIAGNOSIS_PROMPTS
    assert first.answers == ("This could be a skin disease image of Eczema. Itchy, dry skin.",)
    assert (first.disease, first.group, first.age, first.sex, first.site) == ("Eczema", "12", 45, "female", "arm")
    assert (first.skin_type, first.concepts, first.source) == (3, ("Plaque", "Scale"), f"notes t{suffix}")
    assert second.answers == ("This could be a skin disease image of vitiligo.",)
    assert (second.group, second.age, second.sex, second.site, second.skin_type) == ("", -1, "", "", -1)
    assert report.remarks == ["rows without `Patient`, which a split may part: 1"]


def test_what_has_no_answer_or_no_image_is_counted(tmp_path: Path, photos: Path) -> None:
    table = simple(tmp_path, ("1.png", "eczema", ""), ("3.jpg", " ", "itchy"), ("9.jpg", "scabies", ""))
    report = read_notes(table, photos, NoteColumns())
    assert (report.rows, len(report.records), report.without_answer, report.missing_images) == (3, 1, 1, ["9.jpg"])
    assert "none of its 1 images is in" in error_of(simple(tmp_path, ("9.jpg", "x", "")), photos, NoteColumns())


def test_missing_columns_name_those_found_and_the_nearest(tmp_path: Path, photos: Path) -> None:
    table = simple(tmp_path, ("1.png", "eczema", ""), header=("img", "diseases", "note"))
    message = error_of(table, photos, NoteColumns(image="img", group="patient_id"))
    assert "has no column `disease`, `notes`, `patient_id`, which the source `notes` needs" in message
    assert "Its columns: `img`, `diseases`, `note`." in message
    assert "did you mean `diseases` by `disease`? did you mean `note` by `notes`?" in message
    assert len(read_notes(table, photos, NoteColumns("img", "diseases", "")).records) == 1
    assert "The disease's column must have a name" in error_of(table, photos, NoteColumns(disease=""))


def test_all_wrong_rows_are_reported_together(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "outside.jpg").write_bytes(b"")
    os.symlink(tmp_path / "outside.jpg", photos / "link.jpg")
    os.symlink(tmp_path, photos / "up")
    rest = ("", "", "", "", "")
    rows = [
        ("1.png", "eczema", "", "abc", *rest),
        ("../outside.jpg", "eczema", "", "45", *rest),
        (str(photos / "1.png"), "eczema", "", "45", *rest),
        ("link.jpg", "eczema", "", "45", *rest),
        ("up/outside.jpg", "eczema", "", "45", *rest),
        ("", "eczema", "", "45", *rest),
        ("3.jpg", "eczema", "", "45", "q", *rest[1:]),
        ("3.jpg", "eczema", "", "45", "", "", "VII", *rest[3:]),
        ("3.jpg", "eczema", "", "45", "", "", "", "Plaqe", *rest[4:]),
    ]
    header = ("image", "disease", "notes", "age", "sex", "site", "skin", "concepts", "more")
    columns = NoteColumns(age="age", sex="sex", site="site", skin_type="skin", concepts="concepts")
    message = error_of(simple(tmp_path, *rows, header=header), photos, columns)
    assert "9 errors in its rows" in message
    assert "row 2: the age is 'abc'; years (0-120) or an empty cell were expected" in message
    assert "row 3: image '../outside.jpg' leads out of the images folder" in message
    assert f"row 4: image {str(photos / '1.png')!r} leads out of the images folder" in message
    assert "row 5: image 'link.jpg' is a link that leads out of the images folder" in message
    assert "row 6: image 'up/outside.jpg' is a link that leads out" in message
    assert "row 7: the image's name is empty" in message
    assert "row 8: the sex is 'q'" in message
    assert "row 9: the skin type is 'VII'" in message
    assert "row 10: unknown concept 'Plaqe'; did you mean 'Plaque'?" in message


def test_links_within_the_folder_are_taken(tmp_path: Path, photos: Path) -> None:
    os.symlink(photos / "1.png", photos / "again.png")
    (tmp_path / "link").symlink_to(photos)
    table = simple(tmp_path, ("again.png", "eczema", ""))
    assert len(read_notes(table, photos, NoteColumns()).records) == 1
    assert len(read_notes(table, tmp_path / "link", NoteColumns()).records) == 1


def test_an_image_listed_again_with_other_labels_is_an_error_of_both_rows(tmp_path: Path, photos: Path) -> None:
    header = ("image", "disease", "notes", "age")
    rows = [
        ("1.png", "eczema", "", 45),
        ("./1.png", "scabies", "", 45),
        ("in\\2.jpg", "x", "", 1),
        ("in/2.jpg", "x", "", 2),
    ]
    message = error_of(simple(tmp_path, *rows, header=header), photos, NoteColumns(age="age"))
    assert "row 3: image './1.png' is in row 2 too, with other labels: disease 'eczema' and 'scabies'" in message
    assert "row 5: image 'in/2.jpg' is in row 4 too, with other labels: age 1 and 2" in message


def test_an_image_listed_again_with_the_same_labels_is_one_record(tmp_path: Path, photos: Path) -> None:
    rows = [
        ("1.png", "eczema", "Dry."),
        ("3.jpg", "scabies", ""),
        ("1.png", "Eczema", "Itchy."),
        ("3.jpg", "scabies", ""),
    ]
    report = read_notes(simple(tmp_path, *rows), photos, NoteColumns())
    assert [len(record.answers) for record in report.records] == [2, 1]
    assert report.records[0].answers[1].endswith("of Eczema. Itchy.")
    assert (report.rows, report.remarks) == (2, ["further rows that list an image again, labels alike: 2"])


def test_a_template_says_the_answer(tmp_path: Path, photos: Path) -> None:
    template = tmp_path / "answer.txt"
    template.write_text("{{Signs}}: {concepts}.\nDiagnosis: {disease}. {notes}\n", encoding="utf-8")
    report = read_notes(write(tmp_path / "t.csv", FILLED), photos, CLINIC, template)
    assert report.records[0].answers == ("{Signs}: Plaque, Scale.\nDiagnosis: Eczema. Itchy, dry skin.",)
    message = error_of(simple(tmp_path, ("1.png", "eczema", "")), photos, NoteColumns(), template)
    assert "answer.txt has {concepts}, but no such column was named" in message


@pytest.mark.parametrize(
    "text", ["{desease}", "{disease!r}", "{disease:>9}", "{disease.x}", "{}", "{disease", "no", ""]
)
def test_templates_that_cannot_be_filled_are_errors(tmp_path: Path, photos: Path, text: str) -> None:
    template = tmp_path / "answer.txt"
    template.write_text(text, encoding="utf-8")
    assert str(template) in error_of(write(tmp_path / "t.csv", FILLED), photos, CLINIC, template)


def test_braces_in_notes_are_text(tmp_path: Path, photos: Path) -> None:
    template = tmp_path / "answer.txt"
    template.write_text("{disease}: {notes}", encoding="utf-8")
    report = read_notes(simple(tmp_path, ("1.png", "eczema", "{disease} {0}")), photos, NoteColumns(), template)
    assert report.records[0].answers == ("eczema: {disease} {0}",)


def test_identifiers_are_found_without_images_and_by_row(tmp_path: Path) -> None:
    header = ("image", "disease", "notes", "patient", "where")
    rows = [
        ("a.jpg", "Lyme disease", "Grade 2, 5 mm.", "MRN 12345", "arm"),
        ("b.jpg", "eczema", "Mr. Smith, born 12/03/1957", "x", "call +44 20 7946 0958"),
    ]
    found = find_note_identifiers(simple(tmp_path, *rows, header=header), NoteColumns(group="patient", site="where"))
    assert [(finding.row, finding.kind) for finding in found] == [(3, "name"), (3, "date of birth"), (3, "phone")]
    assert not any(part in str(finding) for finding in found for part in ("Smith", "1957", "7946"))
