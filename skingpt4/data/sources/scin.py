"""Google's SCIN: photographs that people sent of their own skin, with the labels of up to three dermatologists."""

from __future__ import annotations

import ast
import math
import re
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from skingpt4.data.records import (
    UNKNOWN_SKIN_TYPE,
    Record,
    SourceReport,
    diagnosis_record,
    existing_file,
    existing_folder,
)
from skingpt4.data.rows import Rows, read_rows, scalar_of
from skingpt4.data.sources.cells import UNKNOWN_AGE, parse_age, parse_sex, parse_skin_type, plain_disease
from skingpt4.data.sources.listing import ImageFolder
from skingpt4.errors import DataError

LICENCE = "SCIN Data Use License"
IMAGES = ("image_1_path", "image_2_path", "image_3_path")
WEIGHTS = "weighted_skin_condition_label"
_SKIN_TYPES = tuple(f"dermatologist_fitzpatrick_skin_type_label_{number}" for number in (1, 2, 3))
_NO_SKIN_TYPE = {"NONE_SELECTED", "NONE_IDENTIFIED"}
_AGE = re.compile(r"AGE_(\d+)_(?:TO_\d+|OR_ABOVE)")
_BODY_PART = "body_parts_"


@dataclass(frozen=True)
class _Label:
    """What the dermatologists said of a case. disease: "" = none. tied: another disease weighs as much."""

    disease: str
    tied: bool
    skin_type: int


def read_scin(cases: Path, labels: Path, images: Path) -> SourceReport:
    """The diagnosis pairs of `scin_cases.csv` and `scin_labels.csv`; each case has up to three images.

    The disease is the heaviest of the weighted labels; of equal weights, the one that the file lists first. Skin type:
    the (lower) median of the dermatologists' labels, else what the person said. Age: the lower bound of the published
    range (40 of AGE_40_TO_49). Site: the body parts that the person ticked. Group: the case; cases that share an image
    are one group. The report counts images: those of cases without a label are left out, and so are those that cases
    with other labels share.
    Raises `DataError` for files of another form, for every wrong row (of both files together), and where not one image
    is found.
    """
    label_table = read_rows(existing_file(str(labels), "SCIN's scin_labels.csv"))
    table = read_rows(existing_file(str(cases), "SCIN's scin_cases.csv"))
    label_table.require(("case_id", WEIGHTS), "SCIN's labels")
    table.require(("case_id", IMAGES[0]), "SCIN's cases")
    folder = existing_folder(str(images), "the folder of SCIN's images")
    report, files = SourceReport(f"scin {cases.name}", folder), ImageFolder(folder)
    label_of = _labels(label_table)
    shown: dict[Path, list[tuple[str, Record]]] = {}
    unlabelled, tied = set[str](), 0
    for number, values in table.rows:
        try:
            case, names = scalar_of(values, "case_id"), [name for key in IMAGES if (name := scalar_of(values, key))]
            label = label_of.get(case)
            if label is None or not label.disease:
                unlabelled.add(case)
                report.without_answer += len(names)
                continue
            tied += label.tied
            for name in names:
                path = files.anywhere(name)
                shown.setdefault(path, []).append((name, _record(values, path, label, report.name)))
        except ValueError as error:
            table.fail(number, str(error))
    _raise_both(label_table, table)
    report.rows = len(shown) + report.without_answer
    contradictory = _take(shown, report)
    report.remarks += _remarks(len(table.rows), len(unlabelled), tied, contradictory)
    report.check_images()
    return report


def _labels(table: Rows) -> dict[str, _Label]:
    found: dict[str, _Label] = {}
    row_of: dict[str, int] = {}
    for number, values in table.rows:
        try:
            case = scalar_of(values, "case_id")
            if case in row_of:
                raise ValueError(f"case {case} is in row {row_of[case]} too; keep one")
            row_of[case] = number
            weights = parse_weights(scalar_of(values, WEIGHTS))
            heaviest = max(weights.values(), default=0.0)
            first = [name for name, weight in weights.items() if weight == heaviest]
            name = plain_disease(first[0].removeprefix("CD - ")) if first else ""
            found[case] = _Label(name, len(first) > 1, _median_skin_type(values))
        except ValueError as error:
            table.fail(number, str(error))
    return found


def parse_weights(text: str) -> dict[str, float]:
    """Diseases and weights from `{'Eczema': 0.6, 'Impetigo': 0.4}`, in that order; none from an empty cell.

    Raises `ValueError` for anything else.
    """
    try:
        values = ast.literal_eval(text) if text else {}
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        values = None
    if not isinstance(values, dict) or not all(_is_weight(name, weight) for name, weight in values.items()):
        raise ValueError(f"`{WEIGHTS}` is {text[:60]!r}; {{'Eczema': 0.6, 'Impetigo': 0.4}} was expected")
    return {name.strip(): float(weight) for name, weight in values.items()}


def _is_weight(name: Any, weight: Any) -> bool:
    number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
    return isinstance(name, str) and bool(name.strip()) and number and math.isfinite(weight) and weight >= 0


def _median_skin_type(values: Mapping[str, Any]) -> int:
    types = [_skin_type(scalar_of(dict(values), column)) for column in _SKIN_TYPES]
    known = [number for number in types if number != UNKNOWN_SKIN_TYPE]
    return statistics.median_low(known) if known else UNKNOWN_SKIN_TYPE


def _skin_type(text: str) -> int:
    return UNKNOWN_SKIN_TYPE if text in _NO_SKIN_TYPE else parse_skin_type(text)


def _record(values: dict[str, Any], image: Path, label: _Label, origin: str) -> Record:
    own_skin_type = _skin_type(scalar_of(values, "fitzpatrick_skin_type"))
    return replace(
        diagnosis_record(image, label.disease, "", origin),
        group=scalar_of(values, "case_id"),
        age=_age(scalar_of(values, "age_group")),
        sex=parse_sex(scalar_of(values, "sex_at_birth")),
        site=", ".join(_sites(values)),
        skin_type=own_skin_type if label.skin_type == UNKNOWN_SKIN_TYPE else label.skin_type,
        licence=LICENCE,
    )


def _age(group: str) -> int:
    """The lower bound of a range, in years; -1 for `AGE_UNKNOWN`. Raises `ValueError` for another word."""
    if group == "AGE_UNKNOWN":
        return UNKNOWN_AGE
    match = _AGE.fullmatch(group)
    return parse_age(match[1] if match else group)


def _sites(values: Mapping[str, Any]) -> Iterator[str]:
    for column, value in values.items():
        if column.startswith(_BODY_PART) and value == "YES":
            yield column.removeprefix(_BODY_PART).replace("_", " ")


def _take(shown: Mapping[Path, list[tuple[str, Record]]], report: SourceReport) -> int:
    """Put one record of each image into the report; returns of how many images the cases say different things."""
    group_of = _joined_groups([[record.group for _, record in listed] for listed in shown.values()])
    contradictory = 0
    for image, listed in shown.items():
        name, record = listed[0]
        if len({other.disease for _, other in listed}) > 1:
            contradictory += 1
            report.without_answer += 1
        else:
            report.add(image, name, replace(record, group=group_of[record.group]))
    return contradictory


def _joined_groups(together: list[list[str]]) -> dict[str, str]:
    """group -> the one name of all that are connected to it."""
    above: dict[str, str] = {}

    def top(group: str) -> str:
        while above.setdefault(group, group) != group:
            group = above[group]
        return group

    for groups in together:
        for group in groups[1:]:
            above[top(group)] = top(groups[0])
        top(groups[0])
    return {group: top(group) for group in above}


def _raise_both(*tables: Rows) -> None:
    messages = []
    for table in tables:
        try:
            table.raise_errors()
        except DataError as error:
            messages.append(str(error))
    if messages:
        raise DataError("\n".join(messages))


def _remarks(cases: int, unlabelled: int, tied: int, contradictory: int) -> list[str]:
    remarks = [f"cases: {cases:,}, without a label: {unlabelled:,}"]
    if tied:
        remarks.append(f"cases with several heaviest labels, which have the first one: {tied:,}")
    if contradictory:
        remarks.append(f"images left out because cases with other labels share them: {contradictory:,}")
    return remarks
