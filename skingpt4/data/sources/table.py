"""A table (CSV, JSONL, Parquet, XLSX) of image, disease, notes or concepts; other columns are passed over."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from skingpt4.config import resolve_path
from skingpt4.data.records import (
    Record,
    SourceReport,
    concept_record,
    diagnosis_record,
    existing_file,
    existing_folder,
    image_path,
)
from skingpt4.data.rows import read_rows, text_of
from skingpt4.settings import SourceSettings
from skingpt4.vocabulary import CONCEPTS

# task -> the columns it needs; step 2 takes `notes` as well where there are any.
COLUMNS = {"diagnosis": ("image", "disease"), "concepts": ("image", "concepts")}


def read_table(source: SourceSettings) -> SourceReport:
    """The training pairs of a table, for the source's `task`.

    Rows with an empty disease or without concepts are counted and left out.
    Raises `DataError` for missing columns, for every wrong row (together, by number) and where not one image is found.
    """
    path = existing_file(resolve_path(source.path), "a table (CSV, JSONL, Parquet, XLSX)")
    folder = existing_folder(resolve_path(source.images), "the images' folder") if source.images else path.parent
    table = read_rows(path)
    table.require(COLUMNS[source.task], f"the task `{source.task}`")
    report = SourceReport(f"table {path.name}", folder, rows=len(table.rows))
    for number, values in table.rows:
        try:
            name = text_of(values, "image")
            image = image_path(folder, name)
            record = _to_record(values, image, source.task, report.name)
        except ValueError as error:
            table.fail(number, str(error))
            continue
        if record is None:
            report.without_answer += 1
        else:
            report.add(image, name, record)
    table.raise_errors()
    report.check_images()
    return report


def parse_concepts(value: Any) -> tuple[str, ...]:
    """Names of `vocabulary.CONCEPTS` from a list, a JSON list as text, or names separated by `;` or `,`, in any case.

    Raises `ValueError` naming each unknown concept with the nearest known one.
    """
    if value is None:
        return ()
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"`concepts` {value!r} is no JSON list: {error.msg}") from error
    if isinstance(value, str):
        value = value.replace(";", ",").split(",")
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"`concepts` is {json.dumps(value)[:60]}; a list of names was expected")
    known = {name.lower(): name for name in CONCEPTS}
    names = [name.strip() for name in value if name.strip()]
    unknown = [name for name in names if name.lower() not in known]
    if unknown:
        raise ValueError("; ".join(_unknown(name, known) for name in unknown))
    return tuple(known[name.lower()] for name in names)


def _unknown(name: str, known: dict[str, str]) -> str:
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"did you mean {known[near[0]]!r}?" if near else "the 48 known ones are `skingpt4.vocabulary.CONCEPTS`"
    return f"unknown concept {name!r}; {hint}"


def _to_record(values: dict[str, Any], image: Path, task: str, origin: str) -> Record | None:
    """The training pair of one row; None where there is nothing to answer. Raises `ValueError` for a wrong cell."""
    disease = text_of(values, "disease")
    if task == "concepts":
        concepts = parse_concepts(values.get("concepts"))
        return concept_record(image, concepts, origin, disease) if concepts else None
    return diagnosis_record(image, disease, text_of(values, "notes"), origin) if disease.rstrip(".") else None
