"""The command of studies, and what raters hand in."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path

from skingpt4.commands import study as command
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
