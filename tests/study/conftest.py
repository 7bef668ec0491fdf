"""A small real study: drawn photographs, the embedded default's answers, a written second arm."""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from skingpt4.commands import study as command
from skingpt4.data.manifest import row_of, write_manifest
from skingpt4.data.records import Record, diagnosis_record
from skingpt4.study.folder import Folder, Study
from skingpt4.study.items import items_of

DISEASES = {"psoriasis": "Psoriasis and Lichen Planus", "melanoma": "Malignant Lesions"}
WRITTEN = "Seen by a colleague: compare with the other arm, number {number}."
Level = Callable[[str, str, str], int]


def study(*words: str | Path) -> int:
    """`skingpt4 study …`."""
    parser = argparse.ArgumentParser()
    command.add(parser)
    arguments = parser.parse_args([str(word) for word in words])
    return int(arguments.run(arguments))


def new(data: Path, out: Path, *more: str | Path) -> int:
    """Two cases of each class, two arms, three dermatologists and a lay user."""
    texts = data.parent / "texts.csv"
    design = ("--each", "2", "--raters", "3", "--lay-raters", "1", "--max-new-tokens", "10")
    return study("new", "--data", data, "--out", out, "--arm", f"written={texts}", *design, *more)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photographs of two diseases with a manifest, whose file names tell the disease; texts beside the folder."""
    import numpy
    from PIL import Image

    from skingpt4.tiny.renderer import disease_description, render

    folder = tmp_path_factory.mktemp("study") / "data"
    (folder / "images").mkdir(parents=True)
    numbers = numpy.random.default_rng(4)
    rows, texts = [], [["image", "text", "seconds"]]
    for number in range(6):
        disease = list(DISEASES)[number % 2]
        name = f"images/{disease}_{number}.png"
        Image.fromarray(render(disease_description(disease, numbers), numbers).image).save(folder / name)
        record = vars(diagnosis_record(folder / name, disease, "", "drawn"))
        more = {"disease_class": DISEASES[disease], "skin_type": number % 3 + 1, "group": f"patient {number}"}
        rows.append(row_of(Record(**{**record, **more}), name))
        texts.append([name, WRITTEN.format(number=number), str(30 + number)])
    write_manifest(folder / "manifest.parquet", rows)
    with (folder.parent / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(texts)
    return folder


@pytest.fixture(scope="session")
def made(data: Path) -> Path:
    """The folder that `study new` wrote; do not change it."""
    out = data.parent / "made"
    assert new(data, out) == 0
    return out


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Folder:
    """A copy of it, to change."""
    shutil.copytree(made, tmp_path / "own")
    return Folder(tmp_path / "own")


def ratings_of(key: Study, rater: str, level: Level) -> dict[str, dict[str, int]]:
    """What a rater's form would hold. level: (rater, code, item) -> 1-5."""
    found = key.rater(rater)
    assert found is not None
    return {code: {item.key: level(rater, code, item.key) for item in items_of(found.group)} for code in found.order}


def json_file(place: Path, key: Study, rater: str, level: Level = lambda *_: 4) -> Path:
    """A rater's file as a form saves it."""
    ratings = ratings_of(key, rater, level)
    values = {"format": "skingpt4-ratings-1", "study": key.id, "rater": rater, "ratings": ratings}
    place.write_text(json.dumps(values), encoding="utf-8")
    return place


def csv_file(place: Path, folder: Folder, rater: str, level: Level = lambda *_: 4) -> Path:
    """The rater's CSV form, filled in."""
    with (folder.forms / f"rater-{rater}.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row |= {
            key: str(level(rater, row["code"], key)) for key in ratings_of(folder.read(), rater, level)[row["code"]]
        }
    with place.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return place


def xlsx_file(place: Path, folder: Folder, rater: str, level: Level = lambda *_: 4) -> Path:
    """The rater's workbook, filled in."""
    import openpyxl

    book = openpyxl.load_workbook(folder.forms / f"rater-{rater}.xlsx")
    sheet = book.worksheets[0]
    columns = {cell.value: cell.column for cell in sheet[1]}
    for row in range(2, sheet.max_row + 1):
        code = sheet.cell(row, columns["code"]).value
        for key in ratings_of(folder.read(), rater, level)[code]:
            sheet.cell(row, columns[key]).value = level(rater, code, key)
    book.save(place)
    return place
