"""What the sources gave -> a folder with `manifest.parquet`, `manifest.jsonl` for reading by eye, and `build.json`.

`build.json` says where the records are from: the counts of each source, what was left out and why, the command, the
licences and the images' root. It names folders of this machine; the manifests do not.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from skingpt4 import __version__
from skingpt4.data.licences import licence_of
from skingpt4.data.manifest import BUILD_NOTE, relative_name, row_of, write_manifest
from skingpt4.data.manifest_files import JSONL, PARQUET
from skingpt4.data.progress import progress
from skingpt4.data.records import Record, SourceReport
from skingpt4.errors import DataError

READ_BY_EYE_ROWS = 20_000  # more are written as Parquet only
FILES = (f"manifest{PARQUET}", f"manifest{JSONL}", BUILD_NOTE)
SHOWN_ERRORS = 20


def check_out(out: Path, force: bool) -> None:
    """Raise `DataError` where a build lies in `out` already and may not be replaced."""
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; --out names the folder to fill.")
    there = [name for name in FILES if (out / name).exists()]
    if there and not force:
        raise DataError(f"{out} already holds {', '.join(there)}; give another --out, or --force to replace them.")


def write_build(
    reports: Sequence[SourceReport],
    out: Path,
    command: Mapping[str, Any] | None = None,
    licence: str = "",
    force: bool = False,
) -> dict[str, Any]:
    """Write the records of all reports into `out`; returns what `build.json` holds.

    Image names are relative to the common folder of the reports' folders. command: noted as it is. licence: of records
    that bring none. Raises `DataError`, and writes nothing, where `out` holds a build (unless `force`), for images that
    lead out of their folder or are in two sources (together), and where there is no record.
    """
    check_out(out, force)
    root = images_root([report.folder for report in reports])
    names = _names(reports, root)
    records = [_with_licence(record, licence) for report in reports for record in report.records]
    note = {
        "records": len(records),
        "images_root": str(root),
        "sources": [_of_report(report) for report in reports],
        "licences": dict(Counter(record.licence or "not noted" for record in records).most_common()),
        "command": dict(command or {}),
        "skingpt4": __version__,
    }
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".partial", dir=_existing_parent(out)) as folder:
        made = Path(folder)
        for name in FILES[: 2 if len(records) <= READ_BY_EYE_ROWS else 1]:
            write_manifest(made / name, (row_of(record, image) for record, image in zip(records, names, strict=True)))
        (made / BUILD_NOTE).write_text(json.dumps(note, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        out.mkdir(parents=True, exist_ok=True)
        for name in FILES:  # the note comes last: where it is, the manifests are complete
            if (made / name).exists():
                (made / name).replace(out / name)
            else:
                (out / name).unlink(missing_ok=True)
    return note


def images_root(folders: Sequence[Path]) -> Path:
    """The folder that holds all of `folders`, links followed: image names below it lead out of none of them."""
    return Path(os.path.commonpath([folder.resolve() for folder in folders]))


def _names(reports: Sequence[SourceReport], root: Path) -> list[str]:
    """The images' names relative to `root`, of all records in order."""
    names: list[str] = []
    errors: list[str] = []
    owners: dict[str, SourceReport] = {}
    for report in reports:
        folder = report.folder.resolve()
        for record in progress(report.records, f"Checking {report.name}"):
            assert isinstance(record.image, Path)
            try:
                below = relative_name(folder / record.image.relative_to(report.folder), folder)
            except ValueError as error:
                errors.append(f"{report.name}: {error}")
                continue
            name = (folder / below).relative_to(root).as_posix()
            owner = owners.setdefault(name, report)
            if owner is not report:
                errors.append(f"{report.name}: image {name!r} is one of {owner.name} too")
            names.append(name)
    if errors:
        more = len(errors) - SHOWN_ERRORS
        shown = [*errors[:SHOWN_ERRORS], *([f"… and {more:,} more"] if more > 0 else [])]
        raise DataError("\n  ".join([f"Images that cannot be taken ({len(errors):,}):", *shown]))
    if not names:
        lines = "\n  ".join(report.summary() for report in reports)
        raise DataError(f"There is no record to write; the sources gave none:\n  {lines}")
    return names


def _with_licence(record: Record, given: str) -> Record:
    licence = record.licence or given or _known_licence(record.source)
    return record if licence == record.licence else replace(record, licence=licence)


@lru_cache
def _known_licence(source: str) -> str:
    """The name of the licence that a public source is known for; empty for others."""
    known = licence_of(source, "")
    return "" if known == licence_of("", "") else known.name


def _of_report(report: SourceReport) -> dict[str, Any]:
    return {
        "name": report.name,
        "folder": str(report.folder.resolve()),
        "rows": report.rows,
        "kept": len(report.records),
        "flagged": report.flagged,
        "without_answer": report.without_answer,
        "missing": len(report.missing_images),
        "missing_images": report.missing_images,
        "remarks": report.remarks,
    }


def _existing_parent(out: Path) -> Path:
    """The nearest folder above `out` that exists: on the same disk, so that finished files move in one step."""
    return next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.is_dir())
