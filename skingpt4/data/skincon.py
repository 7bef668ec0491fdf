"""SKINCON's published annotations: 48 clinical concepts per photograph of Fitzpatrick17k and DDI."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skingpt4.config import SourceSettings, resolve_path
from skingpt4.data.records import SourceReport, concept_record, existing_file, existing_folder, image_path
from skingpt4.data.rows import read_rows, text_of
from skingpt4.vocabulary import CONCEPTS

IMAGE_COLUMN, FLAG_COLUMN = "ImageID", "Do not consider this image"
MARKS = {"0": False, "0.0": False, "1": True, "1.0": True}


@dataclass
class Annotations:
    """What an annotation file says. concepts: by image name, in the file's order, of the rows that training uses."""

    concepts: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    rows: int = 0
    flagged: int = 0
    without_concept: int = 0


def read_annotations(path: Path) -> Annotations:
    """One annotation file, whether or not its images are at hand.

    Flagged rows are dropped. A row without any concept has no honest answer ("none" is not what its doctors wrote) and
    is dropped too; the published files have none such among their unflagged rows. Raises `DataError`
    for a file of another form and for every wrong row (together, by number).
    """
    table = read_rows(path)
    table.require((IMAGE_COLUMN, *CONCEPTS, FLAG_COLUMN), "a SKINCON annotation file")
    found = Annotations(rows=len(table.rows))
    for number, values in table.rows:
        try:
            name, flagged, concepts = _read_row(values)
        except ValueError as error:
            table.fail(number, str(error))
            continue
        if flagged:
            found.flagged += 1
        elif not concepts:
            found.without_concept += 1
        else:
            found.concepts.append((name, concepts))
    table.raise_errors()
    return found


def read_skincon(source: SourceSettings) -> SourceReport:
    """The concept pairs of one annotation file; rows whose image is absent are listed in the report.

    Raises `DataError` as `read_annotations` does and where not one image is found.
    """
    path = existing_file(resolve_path(source.path), "SKINCON's annotation CSV")
    folder = existing_folder(resolve_path(source.images), "the images' folder") if source.images else path.parent
    found = read_annotations(path)
    report = SourceReport(f"skincon {path.name}", folder)
    report.rows, report.flagged, report.without_answer = found.rows, found.flagged, found.without_concept
    for name, concepts in found.concepts:
        image = image_path(folder, name)
        report.add(image, name, concept_record(image, concepts, report.name))
    report.check_images()
    return report


def _read_row(values: dict[str, Any]) -> tuple[str, bool, tuple[str, ...]]:
    """Image name, flag, concepts. Raises `ValueError` for a mark that is not 0 or 1 and an unsafe image name."""
    marks = {column: text_of(values, column) for column in (*CONCEPTS, FLAG_COLUMN)}
    for column, mark in marks.items():
        if mark not in MARKS:
            raise ValueError(f"`{column}` is {mark!r}; 0 or 1 was expected")
    name = text_of(values, IMAGE_COLUMN)
    image_path(Path(), name)
    return name, MARKS[marks[FLAG_COLUMN]], tuple(concept for concept in CONCEPTS if MARKS[marks[concept]])
