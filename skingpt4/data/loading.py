"""All sources of the settings -> the training and validation records of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from skingpt4.config import DataSettings, SourceSettings, resolve_path
from skingpt4.data.folder import read_folder
from skingpt4.data.minigpt4 import read_minigpt4
from skingpt4.data.records import Record, SourceReport, few
from skingpt4.data.skincon import read_skincon
from skingpt4.data.splits import draw, split_off
from skingpt4.data.table import read_table
from skingpt4.errors import DataError
from skingpt4.prompts import read_questions


@dataclass(frozen=True)
class LoadedData:
    """What a run trains on. reports: one per source, those of the training data first; show each one's `summary()`."""

    train: list[Record]
    validation: list[Record]
    reports: list[SourceReport]


def load_records(data: DataSettings, prompt_path: str, seed: int) -> LoadedData:
    """Read every source, apply limits and `prompt_path`, and hold out the validation part.

    Raises `DataError` for a wrong source, for missing images where `on_bad_image` is `error` (SKINCON's are only
    reported: they are under licence and rarely complete), and for a training or validation set that is empty;
    `SettingsError` for a `prompt_path` that cannot be read.
    """
    if not data.train:
        raise DataError("data.train lists no source; give at least one, e.g. {source: folder, path: data/dermnet}.")
    questions = tuple(read_questions(resolve_path(prompt_path))) if prompt_path else ()
    train_reports = [read_source(source, data.on_bad_image, seed) for source in data.train]
    validation_reports = [read_source(source, data.on_bad_image, seed) for source in data.validation]
    train = _joined(train_reports, questions, "training")
    validation = _joined(validation_reports, questions, "validation") if validation_reports else []
    if data.validation_fraction:
        train, validation = split_off(train, data.validation_fraction, seed)
    return LoadedData(train, validation, train_reports + validation_reports)


def read_source(source: SourceSettings, on_bad_image: str, seed: int) -> SourceReport:
    """One source with its `limit` applied. Raises `DataError` as `load_records` does."""
    report = _read(source)
    if report.missing_images and on_bad_image == "error" and source.source != "skincon":
        raise DataError(
            f"{report.name}: {len(report.missing_images):,} of {report.rows:,} images are missing in {report.folder}: "
            f"{few(report.missing_images, 10)}. Add them, remove their rows, or leave them out: data.on_bad_image=skip."
        )
    drawn = draw(report.records, source.limit, seed)
    report.over_limit = len(report.records) - len(drawn)
    report.records = drawn
    return report


def _read(source: SourceSettings) -> SourceReport:
    if source.limit < 0:
        raise DataError(f"The source {source.path} has limit {source.limit}; 0 (all) or more was expected.")
    if source.source == "skincon":
        return read_skincon(source)
    if source.source == "folder":
        return read_folder(source)
    if source.source == "table":
        return read_table(source)
    if source.source == "minigpt4":
        return read_minigpt4(source)
    raise DataError(f"A source's `source` is {source.source!r}; it must be skincon, folder, table or minigpt4.")


def _joined(reports: Sequence[SourceReport], questions: tuple[str, ...], part: str) -> list[Record]:
    records = [record for report in reports for record in report.records]
    if not records:
        lines = "\n  ".join(report.summary() for report in reports)
        raise DataError(f"The {part} set is empty; its sources gave no record:\n  {lines}")
    return [dataclasses.replace(record, questions=questions) for record in records] if questions else records
