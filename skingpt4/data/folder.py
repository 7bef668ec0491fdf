"""A folder per disease, as Dermnet is usually found: `Eczema Photos/1.jpg`."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from skingpt4.config import SourceSettings, resolve_path
from skingpt4.data.records import IMAGE_SUFFIXES, SourceReport, diagnosis_record, existing_folder, few
from skingpt4.errors import DataError

_LEADING_NUMBER = re.compile(r"^\d+[._)]\s*")  # "1. Eczema", "01_eczema"
_WORDS_FOR_IMAGES = re.compile(r"\b(photos?|photographs?|pictures?|images?)\b", re.IGNORECASE)
_ACRONYM = re.compile(r"[A-Z]{2,}s?")  # HPV, STDs
_NO_DISEASE = {"train", "test", "val", "valid", "validation", "images"}  # the folders one level above the diseases


def disease_name(folder_name: str) -> str:
    """A folder's name as a disease in lower-case English: `Eczema Photos` -> `eczema`.

    Acronyms keep their capitals (`HPV_and-STDs` -> `HPV and STDs`) unless the whole name is in capitals.
    Empty where nothing is left.
    """
    name = _LEADING_NUMBER.sub("", folder_name.strip())
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)  # BasalCellCarcinoma
    name = _WORDS_FOR_IMAGES.sub(" ", re.sub(r"[_\-\s]+", " ", name))
    shouting = name == name.upper()
    words = (word if _ACRONYM.fullmatch(word) and not shouting else word.lower() for word in name.split())
    return " ".join(words)


def read_folder(source: SourceSettings) -> SourceReport:
    """The diagnosis pairs of a folder of folders; hidden files are passed over, files of other kinds are counted.

    Raises `DataError` where there are no folders of images, where a folder's images lie deeper, and where its name
    says no disease.
    """
    if source.images:
        raise DataError(f"The folder source {source.path} has its images in `path`; leave `images` empty.")
    root = existing_folder(resolve_path(source.path), "a folder with one folder of images per disease")
    report = SourceReport(f"folder {root.resolve().name}", root)
    others: Counter[str] = Counter()
    empty: list[str] = []
    for folder in _visible(root):
        if not folder.is_dir():
            beside = folder.suffix.lower() in IMAGE_SUFFIXES  # no folder names its disease
            report.rows += beside
            report.without_answer += beside
            continue
        files = [file for file in _visible(folder) if file.is_file()]
        images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
        others.update(file.suffix.lower() or "no suffix" for file in files if file not in images)
        if not images:
            _check_not_deeper(root, folder)
            empty.append(folder.name)
            continue
        disease = disease_name(folder.name)
        if not disease or disease in _NO_DISEASE:
            raise DataError(f"{folder} holds images, but its name says no disease; name each folder after its disease.")
        report.rows += len(images)
        report.records += [diagnosis_record(image, disease, "", report.name) for image in images]
    if not report.records:
        raise DataError(
            f"{root} holds no folder of images ({', '.join(IMAGE_SUFFIXES)}); one per disease was expected."
        )
    if empty:
        report.remarks.append(f"folders without images: {few(empty, 5)}")
    if others:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        report.remarks.append(f"files that are no images left out: {kinds}")
    return report


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
