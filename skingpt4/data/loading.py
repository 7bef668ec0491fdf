"""All sources of the settings -> the training and validation records of a run."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from skingpt4.config import resolve_path
from skingpt4.data.manifest import open_manifest
from skingpt4.data.records import Record, SourceReport, existing_folder, few
from skingpt4.data.sequences import Records, selected
from skingpt4.data.sources.folder import read_folder
from skingpt4.data.sources.minigpt4 import read_minigpt4
from skingpt4.data.sources.skincon import read_skincon
from skingpt4.data.sources.table import read_table
from skingpt4.errors import DataError
from skingpt4.prompts import read_questions
from skingpt4.settings import DataSettings, SourceSettings


@dataclass(frozen=True)
class LoadedData:
    """What a run trains on. validation: empty where there is none. reports: one per source, those of the training data
    first; show each one's `summary()`.
    """

    train: Records
    validation: Records
    reports: list[SourceReport]


def load_records(data: DataSettings, prompt_path: str, seed: int) -> LoadedData:
    """Read every source, apply limits and `prompt_path`, and hold out the validation part.

    Raises `DataError` for a wrong source, for missing images where `on_bad_image` is `error` (SKINCON's are only
    reported: they are under licence and rarely complete), for a training or validation set that is empty, and for
    validation images that are in the training set too (unless `allow_leaks`); `SettingsError` for a `prompt_path` that
    cannot be read.
    """
    if not data.train:
        raise DataError("data.train lists no source; give at least one, e.g. {source: folder, path: data/dermnet}.")
    questions = tuple(read_questions(resolve_path(prompt_path))) if prompt_path else ()
    train_reports = [read_source(source, data.on_bad_image, seed) for source in data.train]
    validation_reports = [read_source(source, data.on_bad_image, seed) for source in data.validation]
    train = _joined(train_reports, questions, "training")
    validation = _joined(validation_reports, questions, "validation") if validation_reports else Records()
    if data.validation_fraction:
        held_out = held_out_rows(train, data.validation_fraction, seed)
        train, validation = train.select(np.flatnonzero(~held_out)), train.select(np.flatnonzero(held_out))
    if validation:
        from skingpt4.data.quality.leaks import require_no_leaks

        require_no_leaks(train, validation, data.allow_leaks)
    return LoadedData(train, validation, train_reports + validation_reports)


def read_source(source: SourceSettings, on_bad_image: str, seed: int) -> SourceReport:
    """One source with its `limit` applied. Raises `DataError` as `load_records` does."""
    report = _read(source)
    if report.missing_images and on_bad_image == "error" and source.source != "skincon":
        raise DataError(
            f"{report.name}: {len(report.missing_images):,} of {report.rows:,} images are missing in {report.folder}: "
            f"{few(report.missing_images, 10)}. Add them, remove their rows, or leave them out: data.on_bad_image=skip."
        )
    if source.limit and len(report.records) > source.limit:
        report.over_limit = len(report.records) - source.limit
        report.records = _unread(selected(report.records, drawn_rows(len(report.records), source.limit, seed)))
    return report


def drawn_rows(count: int, limit: int, seed: int) -> np.ndarray:
    """int[limit]: `limit` of `count` rows in their old order; a larger limit keeps what a smaller one drew."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return np.sort(np.array(order[:limit], int))


def held_out_rows(records: Records, fraction: float, seed: int) -> np.ndarray:
    """bool[n]: `fraction` of the images (at least one) is held out, drawn by `seed`.

    Records of one image, of files with one content, and of one patient or lesion are drawn together. Raises `DataError`
    where there are too few for two sides.
    """
    from skingpt4.data.quality.duplicates import shared_evidence, tied_together

    evidence = shared_evidence(records, _contents(records)).values()
    cluster_of = tied_together(evidence, near=np.empty((0, 2))).tolist()
    clusters = list(dict.fromkeys(cluster_of))
    count = max(1, round(fraction * len(clusters)))
    if count >= len(clusters):
        raise DataError(
            f"{fraction:g} of {len(clusters)} different images cannot be held out and leave one to train on; "
            "give more data or set data.validation_fraction=0."
        )
    random.Random(seed).shuffle(clusters)
    held_out = set(clusters[:count])
    return np.array([cluster in held_out for cluster in cluster_of], bool)


def _contents(records: Records) -> list[Hashable]:
    """SHA-256 of each record's file where it is known or another file has its size, else None."""
    known: list[Hashable] = [*records.column("sha256")]
    if all(known):
        return known
    sizes = [image.stat().st_size if isinstance(image, Path) else image.size for image in records.images()]
    times = Counter(sizes)
    return [
        digest or (hashlib.sha256(image.read_bytes()).hexdigest() if times[size] > 1 else None)
        for digest, image, size in zip(known, records.images(), sizes, strict=True)
    ]


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
    if source.source == "manifest":
        return _read_manifest(source)
    raise DataError(
        f"A source's `source` is {source.source!r}; it must be skincon, folder, table, minigpt4 or manifest."
    )


def _read_manifest(source: SourceSettings) -> SourceReport:
    """The rows of a manifest that have the source's `split` and whose images are there; they stay in the file."""
    root = existing_folder(resolve_path(source.images), "the images' root") if source.images else None
    manifest = open_manifest(Path(resolve_path(source.path)), root)
    splits = sorted(set(manifest.column("split")))
    name = f"manifest {manifest.path.parent.resolve().name}/{manifest.path.name}"
    if source.split:
        manifest = manifest.where("split", source.split)
        name += f", split {source.split}"
        if not manifest:
            there = ", ".join(split or "rows of no split" for split in splits) or "no rows"
            hint = "`skingpt4 data split` makes splits."
            raise DataError(f"{manifest.path} has no split {source.split}, only {there}. {hint}")
    report = SourceReport(name, manifest.root, rows=len(manifest))
    if not source.split and len(splits) > 1:
        report.remarks.append(f"all splits are used ({', '.join(split or 'none' for split in splits)})")
    missing = manifest.missing_images()
    if missing.any():
        report.missing_images = manifest.select(manifest.rows[missing]).column("image")
        manifest = manifest.select(manifest.rows[~missing])
    report.records = _unread(manifest)
    report.check_images()
    return report


def _unread(records: Sequence[Record]) -> list[Record]:
    """A lazy sequence as a report's list: `add` is for sources that read all their rows, here they are only counted."""
    return cast("list[Record]", records)


def _joined(reports: Sequence[SourceReport], questions: tuple[str, ...], part: str) -> Records:
    records = Records([report.records for report in reports], questions)
    if not records:
        lines = "\n  ".join(report.summary() for report in reports)
        raise DataError(f"The {part} set is empty; its sources gave no record:\n  {lines}")
    return records
