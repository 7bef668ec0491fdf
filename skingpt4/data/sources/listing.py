"""The records of a table of images: each image once, below its folder, with its row where something is wrong."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from skingpt4.data.records import IMAGE_SUFFIXES, Record, SourceReport, image_path
from skingpt4.data.rows import Rows

# What two rows of one image must agree on; their notes may differ and are then two answers.
_LABELS = ("disease", "disease_class", "concepts", "skin_type", "group", "age", "sex", "site")


class ImageFolder:
    """Finds a table's images in a folder, links that lead out of it refused."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._root = folder.resolve()
        self._resolved: dict[Path, Path] = {folder: self._root}

    def named(self, name: str) -> Path:
        """The path of the image called `name` (relative), whether it is there or not.

        Raises `ValueError` for an empty name and for one that leads out of the folder.
        """
        return self._inside(image_path(self.folder, name), name)

    def anywhere(self, name: str) -> Path:
        """As `named`; an image that is not there is looked for, by its file name, in all folders below.

        A name without a suffix, such as `ISIC_0000152`, finds the file of any image's suffix. Raises `ValueError` as
        `named` does and where several files have the name.
        """
        path = self.named(name)
        if path.is_file():
            return path
        found = self._by_name.get(path.name, [])
        if len(found) > 1:
            places = ", ".join(file.relative_to(self.folder).as_posix() for file in sorted(found)[:3])
            raise ValueError(f"image {name!r} is in the folder {len(found)} times ({places}); keep one")
        return self._inside(found[0], name) if found else path

    def _inside(self, path: Path, name: str) -> Path:
        parent = self._resolved.get(path.parent)  # `resolve` asks the disk for every part of a path
        if parent is None:
            parent = self._resolved[path.parent] = path.parent.resolve()
        target = path.resolve() if path.is_symlink() else parent
        if not target.is_relative_to(self._root):
            raise ValueError(f"image {name!r} is a link that leads out of the images folder; put the file itself there")
        return path

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        """Image files below the folder, by their name with and without the suffix."""
        found: dict[str, list[Path]] = {}
        for folder, _, names in os.walk(self.folder):
            for name in names:
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                    found.setdefault(name, []).append(Path(folder, name))
                    found.setdefault(stem, []).append(Path(folder, name))
        return found


class Listing:
    """Gathers the records of a table into a report; an image that comes again is compared with its first row."""

    def __init__(self, table: Rows, report: SourceReport):
        self.table, self.report = table, report
        self._seen: dict[Path, tuple[int, str, Record]] = {}
        self._repeated = 0

    def add(self, number: int, name: str, record: Record) -> None:
        """Take the record of row `number`, whose image is called `name`.

        The same image with the same labels is one record with both answers; with other labels it is an error of both
        rows.
        """
        assert isinstance(record.image, Path)
        if record.image not in self._seen:
            self._seen[record.image] = (number, name, record)
            return
        first_number, _, first = self._seen[record.image]
        other = [label for label in _LABELS if _key(first, label) != _key(record, label)]
        if other:
            said = "; ".join(f"{label} {_shown(first, label)} and {_shown(record, label)}" for label in other)
            self.table.fail(number, f"image {name!r} is in row {first_number} too, with other labels: {said}")
            return
        self._repeated += 1
        answers = tuple(dict.fromkeys((*first.answers, *record.answers)))
        self._seen[record.image] = (first_number, name, replace(first, answers=answers))

    def finish(self) -> SourceReport:
        """The report, images present and missing counted. Raises `DataError` with all errors of rows, and where not
        one image was found.
        """
        self.table.raise_errors()
        self.report.rows += len(self._seen)
        for _, name, record in self._seen.values():
            assert isinstance(record.image, Path)
            self.report.add(record.image, name, record)
        if self._repeated:
            self.report.remarks.append(f"further rows that list an image again, labels alike: {self._repeated:,}")
        self.report.check_images()
        return self.report

    def leave_out(self) -> None:
        """Count a row that has nothing to train on."""
        self.report.rows += 1
        self.report.without_answer += 1


def _key(record: Record, label: str) -> object:
    value = getattr(record, label)
    return value.casefold() if isinstance(value, str) else value


def _shown(record: Record, label: str) -> str:
    value = getattr(record, label)
    return repr(", ".join(value) if isinstance(value, tuple) else value)
