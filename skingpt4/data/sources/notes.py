"""Doctors' notes: a table of image, disease and free text whose columns have whatever names the clinic gave them."""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from skingpt4.data.records import (
    Record,
    SourceReport,
    diagnosis_record,
    existing_file,
    existing_folder,
    in_column_order,
)
from skingpt4.data.rows import Rows, read_rows, scalar_of
from skingpt4.data.sources.cells import parse_age, parse_sex, parse_skin_type
from skingpt4.data.sources.identifiers import Finding, find_identifiers
from skingpt4.data.sources.listing import ImageFolder, Listing
from skingpt4.data.sources.table import parse_concepts
from skingpt4.data.sources.template import fill, read_template
from skingpt4.errors import DataError


@dataclass(frozen=True)
class NoteColumns:
    """The names of a table's columns; "" = the table has no such column, or it is not to be used.

    group: the patient's or the lesion's id, which no split parts. It stays in the manifest as it is: give pseudonyms.
    """

    image: str = "image"
    disease: str = "disease"
    notes: str = "notes"
    group: str = ""
    age: str = ""
    sex: str = ""
    site: str = ""
    skin_type: str = ""
    concepts: str = ""  # names of `vocabulary.CONCEPTS`, separated by `;` or `,`


def read_notes(table: Path, images: Path, columns: NoteColumns, template: Path | None = None) -> SourceReport:
    """The diagnosis pairs of a table (CSV, TSV, JSONL, Parquet, XLSX) whose image names are relative to `images`.

    template: a text file that says the answer, with `{disease}`, `{notes}` and `{concepts}` in it; None = "This could
    be a skin disease image of {disease}. {notes}". Rows without a disease are counted and left out. An image that is
    listed again with the same labels is one record with both answers.
    Raises `DataError` for missing columns, for a wrong template, for every wrong row (together, by number: an image
    listed twice with other labels, a name that leads out of `images`, an age, sex or skin type that is none), and
    where not one image is found.
    """
    rows = _read(table, columns)
    folder = existing_folder(str(images), "the images' folder")
    pattern = _template(template, columns) if template else None
    files = ImageFolder(folder)
    listing = Listing(rows, SourceReport(f"notes {table.name}", folder))
    without_group = 0
    for number, values in rows.rows:
        try:
            name = scalar_of(values, columns.image)
            record = _to_record(values, columns, files.named(name), pattern, listing.report.name)
        except ValueError as error:
            rows.fail(number, str(error))
            continue
        if record is None:
            listing.leave_out()
            continue
        without_group += bool(columns.group) and not record.group
        listing.add(number, name, record)
    report = listing.finish()
    if without_group:
        report.remarks.append(f"rows without `{columns.group}`, which a split may part: {without_group:,}")
    return report


def _template(path: Path, columns: NoteColumns) -> str:
    template = read_template(path)
    used = {name for _, name, _, _ in string.Formatter().parse(template) if name}
    missing = sorted(name for name in used if not getattr(columns, name))
    if missing:
        names = ", ".join(f"{{{name}}}" for name in missing)
        raise DataError(f"{path} has {names}, but no such column was named; name it or leave the placeholder out.")
    return template


def find_note_identifiers(table: Path, columns: NoteColumns) -> list[Finding]:
    """What looks like a person's name, date of birth, phone, e-mail or record number in the texts that `read_notes`
    takes into answers and manifest: disease, notes and site. No image is looked for.

    Raises `DataError` for missing columns and cells that are no text.
    """
    rows = _read(table, columns)
    findings = find_identifiers(_texts(rows, columns))
    rows.raise_errors()
    return findings


def _texts(rows: Rows, columns: NoteColumns) -> Iterator[tuple[int, str]]:
    for number, values in rows.rows:
        for column in (columns.disease, columns.notes, columns.site):
            try:
                yield number, scalar_of(values, column)
            except ValueError as error:
                rows.fail(number, str(error))


def _read(table: Path, columns: NoteColumns) -> Rows:
    for needed in ("image", "disease"):
        if not getattr(columns, needed):
            raise DataError(f"The {needed}'s column must have a name; notes cannot be read without it.")
    rows = read_rows(existing_file(str(table), "a table of doctors' notes"))
    rows.require([name for item in fields(columns) if (name := getattr(columns, item.name))], "the source `notes`")
    return rows


def _to_record(
    values: dict[str, Any], columns: NoteColumns, image: Path, template: str | None, origin: str
) -> Record | None:
    """The record of one row; None where it names no disease. Raises `ValueError` for a wrong cell."""
    disease, notes = scalar_of(values, columns.disease), scalar_of(values, columns.notes)
    concepts = in_column_order(parse_concepts(values.get(columns.concepts)))
    record = replace(
        diagnosis_record(image, disease, notes, origin),
        concepts=concepts,
        group=scalar_of(values, columns.group),
        age=parse_age(scalar_of(values, columns.age)),
        sex=parse_sex(scalar_of(values, columns.sex)),
        site=scalar_of(values, columns.site),
        skin_type=parse_skin_type(scalar_of(values, columns.skin_type)),
    )
    if not record.disease:
        return None
    if template is None:
        return record
    return replace(record, answers=(fill(template, record.disease, notes, concepts),))
