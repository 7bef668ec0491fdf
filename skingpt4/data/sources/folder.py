"""A folder per disease, as Dermnet is usually found: `Eczema Photos/1.jpg`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from skingpt4.config import resolve_path
from skingpt4.data.progress import progress
from skingpt4.data.records import IMAGE_SUFFIXES, SourceReport, diagnosis_record, existing_folder, few
from skingpt4.data.sources.names import Classes, disease_name
from skingpt4.errors import DataError
from skingpt4.settings import SourceSettings

_NO_DISEASE = {"train", "test", "val", "valid", "validation", "images"}  # the folders one level above the diseases


@dataclass
class FolderScan:
    """What lies in a folder of folders. images: by folder name, sorted. beside: images in no folder. others: files of
    other kinds, by suffix.
    """

    images: dict[str, list[Path]] = field(default_factory=dict)
    beside: int = 0
    others: Counter[str] = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)


def read_folder(source: SourceSettings) -> SourceReport:
    """The diagnosis pairs of a `folder` source of the settings; see `read_disease_folders`."""
    if source.images:
        raise DataError(f"The folder source {source.path} has its images in `path`; leave `images` empty.")
    return read_disease_folders(Path(resolve_path(source.path)))


def read_disease_folders(folder: Path, classes: Classes | None = None) -> SourceReport:
    """The diagnosis pairs of a folder of folders; hidden files are passed over, files of other kinds are counted.

    classes: of the folders' names; every one must be in it. Raises `DataError` where there are no folders of images,
    where a folder's images lie deeper, where its name says no disease, and for folders without a class.
    """
    root = existing_folder(str(folder), "a folder with one folder of images per disease")
    found = scan_folders(root)
    if not found.images:
        raise DataError(
            f"{root} holds no folder of images ({', '.join(IMAGE_SUFFIXES)}); one per disease was expected."
        )
    nameless = [name for name in found.images if disease_name(name) in (*_NO_DISEASE, "")]
    if nameless:
        found_here = "; ".join(f"{root / name} holds images, but its name says no disease" for name in nameless)
        raise DataError(f"{found_here}; name each folder after its disease.")
    if classes:
        classes.require(found.images, "folder")
    report = SourceReport(f"folder {root.resolve().name}", root)
    for name, images in found.images.items():
        disease, disease_class = disease_name(name), classes.of(name) if classes else ""
        report.records += [
            replace(diagnosis_record(image, disease, "", report.name), disease_class=disease_class) for image in images
        ]
    add_scans(report, [found])
    return report


def scan_folders(root: Path) -> FolderScan:
    """The images of each folder in `root`. Raises `DataError` where a folder's images lie one level deeper."""
    found = FolderScan()
    for entry in progress(_visible(root), f"Reading {root.name}"):
        if not entry.is_dir():
            found.beside += entry.suffix.lower() in IMAGE_SUFFIXES  # no folder names its disease
            continue
        files = [file for file in _visible(entry) if file.is_file()]
        images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
        others = (suffix for file in files if (suffix := file.suffix.lower()) not in IMAGE_SUFFIXES)
        found.others.update(suffix or "no suffix" for suffix in others)
        if images:
            found.images[entry.name] = images
        else:
            _check_not_deeper(root, entry)
            found.empty.append(entry.name)
    return found


def add_scans(report: SourceReport, scans: Sequence[FolderScan]) -> None:
    """Count in the report what the scans found, beside the records it already has."""
    beside = sum(scan.beside for scan in scans)
    report.rows += len(report.records) + beside
    report.without_answer += beside
    empty = [name for scan in scans for name in scan.empty]
    if empty:
        report.remarks.append(f"folders without images: {few(empty, 5)}")
    others = sum((scan.others for scan in scans), Counter[str]())
    if others:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        report.remarks.append(f"files that are no images left out: {kinds}")


def _visible(folder: Path) -> list[Path]:
    """Sorted entries without hidden ones (`.DS_Store`, `._1.jpg`) and macOS's shadow folder."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX")))


def _check_not_deeper(root: Path, folder: Path) -> None:
    for deeper in (entry for entry in _visible(folder) if entry.is_dir()):
        if any(file.suffix.lower() in IMAGE_SUFFIXES for file in _visible(deeper)):
            raise DataError(
                f"The images of {root} lie one level deeper ({folder.name}/{deeper.name}); "
                f"set the source's `path` to {folder}, or move each disease's images into its own folder."
            )
