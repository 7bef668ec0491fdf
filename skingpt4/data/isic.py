"""Photographs of the ISIC archive with their `metadata.csv` -> a training and a test table for the `table` source."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skingpt4.data.records import SourceReport, diagnosis_record, existing_file, existing_folder, few, image_path
from skingpt4.data.rows import read_rows, text_of
from skingpt4.data.splits import split_by_class
from skingpt4.errors import DataError

COLUMNS = ("image", "diagnosis", "benign_malignant")
KEPT = ("age_approx", "sex", "benign_malignant")  # for groups in evaluation; training does not read them


def prepare_isic(
    metadata_csv: Path, images: Path, out_dir: Path, test_count: int = 30, seed: int = 0
) -> tuple[Path, Path]:
    """Write `train.jsonl` and `test.jsonl` into `out_dir` (made if absent) and return their paths.

    Each line has `image` (relative to `images`), `disease` and `notes`; a note says what the metadata says of the
    lesion ("The lesion is malignant."), never age or sex, which a picture does not show. Same seed, same files.
    Raises `DataError` for a wrong metadata file, for missing images and for a split that cannot be.
    """
    path = existing_file(str(metadata_csv), "ISIC's metadata CSV")
    folder = existing_folder(str(images), "the folder of ISIC's images")
    table = read_rows(path)
    table.require(COLUMNS, "ISIC's metadata")
    report = SourceReport(f"isic {path.name}", folder, rows=len(table.rows))
    lines: dict[Path, dict[str, str]] = {}
    for number, values in table.rows:
        try:
            line = _to_line(values)
            image = image_path(folder, line["image"])
        except ValueError as error:
            table.fail(number, str(error))
            continue
        lines[image] = line
        report.add(image, line["image"], diagnosis_record(image, line["disease"], line["notes"], report.name))
    table.raise_errors()
    report.check_images()
    if report.missing_images:
        missing = (
            f"{len(report.missing_images):,} of its images are missing in {folder}: {few(report.missing_images, 10)}"
        )
        raise DataError(f"{report.name}: {missing}. Add them or remove their rows.")
    train, test = split_by_class(report.records, test_count, seed)
    out_dir.mkdir(parents=True, exist_ok=True)
    paths = out_dir / "train.jsonl", out_dir / "test.jsonl"
    for file, records in zip(paths, (train, test), strict=True):
        _write(file, [lines[record.image] for record in records])
    return paths


def _to_line(values: dict[str, Any]) -> dict[str, str]:
    """A line of the tables written. Raises `ValueError` for a row without a diagnosis."""
    diagnosis = text_of(values, "diagnosis").lower()
    if not diagnosis:
        raise ValueError("`diagnosis` is empty; give it or remove the row")
    malignancy = text_of(values, "benign_malignant")
    line = {
        "image": text_of(values, "image"),
        "disease": diagnosis,
        "notes": f"The lesion is {malignancy}." if malignancy else "",
    }
    return line | {column: text for column in KEPT if (text := text_of(values, column))}


def _write(path: Path, lines: Sequence[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
