"""SKINCON's published annotations: 48 clinical concepts per photograph of Fitzpatrick17k and DDI.

The join with Fitzpatrick17k's own table adds disease, Fitzpatrick skin type and the atlas that a photograph is from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from skingpt4.config import resolve_path
from skingpt4.data.progress import progress
from skingpt4.data.records import (
    UNKNOWN_SKIN_TYPE,
    SourceReport,
    concept_record,
    existing_file,
    existing_folder,
    few,
    image_path,
)
from skingpt4.data.rows import Rows, read_rows, text_of
from skingpt4.data.sources.listing import ImageFolder
from skingpt4.settings import SourceSettings
from skingpt4.vocabulary import CONCEPTS

IMAGE_COLUMN, FLAG_COLUMN = "ImageID", "Do not consider this image"
MARKS = {"0": False, "0.0": False, "1": True, "1.0": True}
# The answer for a flagged row, where these are kept: its doctors named no concept and told others to look away, so
# "no concepts" would be a claim that nobody made.
UNJUDGED_ANSWER = "The clinical concepts of this skin disease image cannot be judged."

FITZPATRICK17K, DDI = "fitzpatrick17k", "ddi"  # the sources of the records
FITZPATRICK_COLUMNS = ("md5hash", "fitzpatrick_scale", "label")
SKIN_TYPES = (UNKNOWN_SKIN_TYPE, 1, 2, 3, 4, 5, 6)
WRONGLY_LABELLED = "3 Wrongly labelled"  # in Fitzpatrick17k's column `qc`: a dermatologist's verdict on the disease


@dataclass
class Annotations:
    """What an annotation file says.

    concepts: by image name, in the file's order, of the rows that training uses. flagged_images: of the flagged rows.
    numbers: the row of each image. rows == flagged + without_concept + repeated + len(concepts).
    """

    concepts: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    flagged_images: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    flagged: int = 0
    without_concept: int = 0
    repeated: int = 0


@dataclass(frozen=True)
class Label:
    """What Fitzpatrick17k says of a photograph. disease: empty where known to be wrong. site: e.g. dermaamin.com."""

    disease: str
    skin_type: int
    site: str


def read_annotations(path: Path) -> Annotations:
    """One annotation file, whether or not its images are at hand.

    Flagged rows are dropped. A row without any concept has no honest answer ("none" is not what its doctors wrote) and
    is dropped too; the published files have none such among their unflagged rows. A row that repeats another is counted
    once. Raises `DataError` for a file of another form and for every wrong row (together, by number): other marks than
    0 and 1, an unsafe image name, an image that is listed before with other labels.
    """
    table = read_rows(path)
    table.require((IMAGE_COLUMN, *CONCEPTS, FLAG_COLUMN), "a SKINCON annotation file")
    found = Annotations(rows=len(table.rows))
    seen: dict[Path, tuple[int, bool, tuple[str, ...]]] = {}
    for number, values in table.rows:
        try:
            name, flagged, concepts = _read_row(values)
        except ValueError as error:
            table.fail(number, str(error))
            continue
        first, was_flagged, before = seen.setdefault(image_path(Path(), name), (number, flagged, concepts))
        if first != number:
            there, here = _in_words(was_flagged, before), _in_words(flagged, concepts)
            if there != here:
                table.fail(number, f"image {name!r} is in row {first} too, with other labels ({there}; here {here})")
            found.repeated += 1
            continue
        found.numbers[name] = number
        if flagged:
            found.flagged += 1
            found.flagged_images.append(name)
        elif not concepts:
            found.without_concept += 1
        else:
            found.concepts.append((name, concepts))
    table.raise_errors()
    return found


def read_skincon(source: SourceSettings) -> SourceReport:
    """The concept pairs of a `skincon` source of the settings; rows whose image is absent are listed in the report.

    Raises `DataError` as `read_annotations` does and where not one image is found.
    """
    path = existing_file(resolve_path(source.path), "SKINCON's annotation CSV")
    folder = existing_folder(resolve_path(source.images), "the images' folder") if source.images else path.parent
    return _to_report(path, folder, f"skincon {path.name}", read_annotations(path))


def read_annotated_images(
    annotations: Path,
    images: Path,
    source: str,
    labels: Mapping[str, Label] | None = None,
    keep_flagged: bool = False,
) -> SourceReport:
    """The concept pairs of one annotation file and its folder of images.

    source: `FITZPATRICK17K` or `DDI`. labels: of `read_fitzpatrick17k`. keep_flagged: flagged rows become records
    without concepts, answered by `UNJUDGED_ANSWER`. Raises `DataError` as `read_annotations` does, for images that are
    links out of the folder (by row) and where not one image is found.
    """
    path = existing_file(str(annotations), "SKINCON's annotation CSV")
    folder = existing_folder(str(images), "the images' folder")
    found = read_annotations(path)
    rows = Rows(path)
    inside = ImageFolder(folder)
    for name, number in found.numbers.items():
        try:
            inside.named(name)
        except ValueError as error:
            rows.fail(number, str(error))
    rows.raise_errors()
    report = _to_report(path, folder, source, found, keep_flagged)
    if labels is not None:
        _join(report, labels)
    return report


def read_fitzpatrick17k(path: Path) -> dict[str, Label]:
    """Fitzpatrick17k's table: image name without its suffix (the MD5 hash) -> what it says.

    Raises `DataError` for a file of another form and for every wrong row (together, by number).
    """
    table = read_rows(existing_file(str(path), "fitzpatrick17k.csv"))
    table.require(FITZPATRICK_COLUMNS, "fitzpatrick17k.csv")
    labels: dict[str, Label] = {}
    numbers: dict[str, int] = {}
    scale = {str(number): number for number in SKIN_TYPES}
    for number, values in table.rows:
        name, skin_type = text_of(values, "md5hash"), text_of(values, "fitzpatrick_scale")
        if not name or skin_type not in scale:
            found = f"`fitzpatrick_scale` is {skin_type!r}; 1-6, or -1 for unknown, was expected"
            table.fail(number, found if name else "`md5hash` is empty")
            continue
        wrong = text_of(values, "qc") == WRONGLY_LABELLED
        site = (urlsplit(text_of(values, "url")).hostname or "").removeprefix("www.")
        label = Label("" if wrong else text_of(values, "label"), scale[skin_type], site)
        if labels.setdefault(name, label) != label:
            table.fail(number, f"image {name!r} is in row {numbers[name]} too, with other labels")
        numbers.setdefault(name, number)
    table.raise_errors()
    return labels


def _to_report(path: Path, folder: Path, source: str, found: Annotations, keep_flagged: bool = False) -> SourceReport:
    report = SourceReport(
        f"skincon {path.name}", folder, rows=found.rows - found.repeated, without_answer=found.without_concept
    )
    for name, concepts in progress(found.concepts, f"Looking for the images of {path.name}"):
        image = image_path(folder, name)
        report.add(image, name, concept_record(image, concepts, source))
    if keep_flagged:
        for name in found.flagged_images:
            image = image_path(folder, name)
            report.add(image, name, replace(concept_record(image, (), source), answers=(UNJUDGED_ANSWER,)))
        if found.flagged:
            names = few(found.flagged_images, len(found.flagged_images))
            report.remarks.append(f"flagged rows kept without concepts: {found.flagged:,} ({names})")
    else:
        report.flagged = found.flagged
    if found.repeated:
        report.remarks.append(f"rows that list an image again with the same labels: {found.repeated:,}")
    report.check_images()
    return report


def _join(report: SourceReport, labels: Mapping[str, Label]) -> None:
    """Give the report's records their label and source; count those that the table lacks."""
    nothing = Label("", UNKNOWN_SKIN_TYPE, "")
    joined = [(record, labels.get(Path(str(record.image)).stem, nothing)) for record in report.records]
    report.records = [
        replace(
            record,
            disease=label.disease,
            skin_type=label.skin_type,
            source=f"{record.source}/{label.site}" if label.site else record.source,
        )
        for record, label in joined
    ]
    unknown = sum(label is nothing for _, label in joined)
    without = sum(not label.disease for _, label in joined) - unknown
    if unknown:
        report.remarks.append(f"images that fitzpatrick17k.csv does not list: {unknown:,}")
    if without:
        report.remarks.append(f"diseases left empty that Fitzpatrick17k calls wrongly labelled: {without:,}")


def _in_words(flagged: bool, concepts: tuple[str, ...]) -> str:
    return "flagged" if flagged else ", ".join(concepts) or "no concept"


def _read_row(values: dict[str, Any]) -> tuple[str, bool, tuple[str, ...]]:
    """Image name, flag, concepts. Raises `ValueError` for a mark that is not 0 or 1 and an unsafe image name."""
    marks = {column: text_of(values, column) for column in (*CONCEPTS, FLAG_COLUMN)}
    for column, mark in marks.items():
        if mark not in MARKS:
            raise ValueError(f"`{column}` is {mark!r}; 0 or 1 was expected")
    name = text_of(values, IMAGE_COLUMN)
    image_path(Path(), name)
    return name, MARKS[marks[FLAG_COLUMN]], tuple(concept for concept in CONCEPTS if MARKS[marks[concept]])
