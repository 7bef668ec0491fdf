"""Kaggle's Dermnet: `train/` and `test/`, each with a folder for each of 23 groups of diseases.

It has near-duplicates across `train/` and `test/`; `skingpt4 data check` finds them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from skingpt4.data.records import Record, SourceReport, diagnosis_record, existing_folder, few
from skingpt4.data.sources.folder import FolderScan, add_scans, scan_folders
from skingpt4.data.sources.names import DERMNET_CLASSES_FILE, Classes, disease_name, disease_of_file, key, read_classes
from skingpt4.errors import DataError

SPLITS = ("train", "test")
NAME = "dermnet"


def read_dermnet(folder: Path, classes: Classes | None = None, from_file: bool = False) -> SourceReport:
    """The diagnosis pairs of the tree: split and class from the folders.

    classes: of the folders' names; None = the paper's. from_file: take the disease from the file's name
    (`acne-cystic-12.jpg` -> `acne cystic`), which is finer, where it says one; else from the folder's.
    Raises `DataError` for a tree of another form and for folders without a class (together, with the nearest).
    """
    root = existing_folder(str(folder), "Kaggle's Dermnet, a folder with train/ and test/")
    classes = classes or read_classes(DERMNET_CLASSES_FILE)
    scans = {split: scan_folders(root / split) for split in SPLITS if (root / split).is_dir()}
    _check_tree(root, scans, classes)
    report = SourceReport(f"{NAME} {root.resolve().name}", root)
    nameless = 0
    for split, scan in scans.items():
        for name, images in scan.images.items():
            for image in images:
                finer = disease_of_file(image.stem) if from_file else ""
                nameless += from_file and not finer
                report.records.append(_to_record(image, finer or disease_name(name), classes.of(name), split))
    add_scans(report, list(scans.values()))
    if nameless:
        report.remarks.append(f"files whose name says no disease, which is their folder's: {nameless:,}")
    there = {key(name) for scan in scans.values() for name in scan.images}
    absent = [name for name in classes.names if key(name) not in there]
    if absent:
        report.remarks.append(f"folders of {classes.file.name} that are not there: {few(absent, 5)}")
    return report


def _to_record(image: Path, disease: str, disease_class: str, split: str) -> Record:
    return replace(diagnosis_record(image, disease, "", NAME), disease_class=disease_class, split=split)


def _check_tree(root: Path, scans: dict[str, FolderScan], classes: Classes) -> None:
    if not any(scan.images for scan in scans.values()):
        found = [entry.name for entry in sorted(root.iterdir()) if entry.is_dir()]
        diseases = [name for name in found if classes.of(name)]
        advice = f" {diseases[0]!r} belongs into train/ or test/; or build it as a `folder` source." if diseases else ""
        raise DataError(
            f"{root} is not Kaggle's Dermnet: train/ and test/ with a folder of images per group of diseases were "
            f"expected, and it holds {few(found, 5) or 'no folder'}.{advice}"
        )
    classes.require(dict.fromkeys(name for scan in scans.values() for name in scan.images), "folder")
