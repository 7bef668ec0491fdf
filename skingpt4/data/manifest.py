"""The manifest: all records of a data set in one file, Parquet for any size, JSONL for reading by eye.

References to images are relative to a root that is given when the manifest is opened, so that a manifest can be
published without its images.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from skingpt4.data.manifest_files import JSONL, LISTS, OF_RECORD, PACKED, open_rows, write_rows
from skingpt4.data.manifest_files import PARQUET as PARQUET
from skingpt4.data.records import ImageRef, PackedImage, Record, few, image_path
from skingpt4.errors import DataError

BUILD_NOTE = "build.json"  # what `data build` notes beside a manifest


def write_manifest(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows (see `row_of`) as Parquet or JSONL, by the suffix; the file appears whole or not at all. Returns how
    many rows there are. Raises `DataError` for a value that does not fit its column.
    """
    return write_rows(path, rows)


def row_of(record: Record, image: str) -> dict[str, Any]:
    """A record as a manifest's row; `image`: its name relative to the root, with `/`."""
    values = {**{name: getattr(record, name) for name in OF_RECORD}, **PACKED}
    return values | {name: list(values[name]) for name in LISTS} | {"image": image}


def relative_name(image: Path, root: Path) -> str:
    """The name of an image relative to its root, with `/`. Raises `ValueError` where it lies outside, symlinks
    followed.
    """
    name = image.relative_to(root).as_posix()
    if not image.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"image {name!r} is a link that leads out of {root}")
    return name


class Manifest(Sequence[Record]):
    """The records of a manifest file, read as they are asked for: opening reads no row of a Parquet file.

    root: the folder that the names of images and shards are relative to. rows: int[n], the numbers of the rows it
    shows, in order; None = all. Raises `DataError` for a file that is no manifest.
    """

    def __init__(self, path: Path, root: Path, rows: np.ndarray | None = None):
        self.path, self.root = path, root
        self._file = open_rows(path)
        self.rows = np.arange(len(self._file)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Manifest: ...
    def __getitem__(self, index: int | slice) -> Record | Manifest:
        if isinstance(index, slice):
            return self.select(self.rows[index])
        return self._record(next(self._file.rows(self.rows[[index]])))

    def __iter__(self) -> Iterator[Record]:
        return (self._record(row) for row in self.table_rows())

    def select(self, rows: np.ndarray) -> Manifest:
        """The same file, other rows: int[m], numbers of the file's rows."""
        chosen = object.__new__(Manifest)
        chosen.path, chosen.root, chosen._file, chosen.rows = self.path, self.root, self._file, rows
        return chosen

    def where(self, column: str, value: Any) -> Manifest:
        """The rows whose `column` (of texts or numbers) is `value`."""
        return self.select(self.rows[self._file.equal(column, value)[self.rows]])

    def column(self, name: str) -> list[Any]:
        """One column of the rows shown, read at once: names of images are relative, lists are lists."""
        return self._file.column(name, self.rows)

    def images(self) -> Iterator[ImageRef]:
        """Where the image of each record is, without reading the rest of its row."""
        columns = [self.column(name) for name in ("image", *PACKED)]
        return (self._image(*values) for values in zip(*columns, strict=True))

    def missing_images(self) -> np.ndarray:
        """bool[n]: whether the image (or its shard) of each record is absent. One listing per folder, as a look at each
        of a million files takes long on a network drive. Raises `DataError` for all names that lead out of the root.
        """
        shards = self.column("shard")
        names = [shard or image for shard, image in zip(shards, self.column("image"), strict=True)]
        self._refuse_outside(names)
        files: dict[str, set[str]] = {}
        missing = np.zeros(len(self), bool)
        for index, name in enumerate(names):
            folder, _, file = name.rpartition("/")
            if folder not in files:
                files[folder] = _files_in(self._below(folder) if folder else self.root)
            # A name that is not listed may still open: upper and lower case, Unicode's forms, a backslash.
            missing[index] = file not in files[folder] and not self._below(name).is_file()
        return missing

    def table_rows(self) -> Iterator[dict[str, Any]]:
        """The rows as they stand in the file, image names relative."""
        return self._file.rows(self.rows)

    def _refuse_outside(self, names: Sequence[str]) -> None:
        outside = []
        for row, name in zip(self.rows, names, strict=True):
            try:
                if not _is_plain(name):
                    image_path(self.root, name)
            except ValueError as error:
                outside.append(f"row {row + 1}: {error}")
        if outside:
            raise DataError(f"{self.path}: {few(outside, 20)}")

    def _record(self, row: Mapping[str, Any]) -> Record:
        values: dict[str, Any] = {name: tuple(row[name]) if name in LISTS else row[name] for name in OF_RECORD}
        return Record(**{**values, "image": self._image(row["image"], *(row[name] for name in PACKED))})

    def _image(self, name: str, shard: str, offset: int, size: int) -> ImageRef:
        try:
            return PackedImage(self._below(shard), name, offset, size) if shard else self._below(name)
        except ValueError as error:
            raise DataError(f"{self.path}: {error}") from error

    def _below(self, name: str) -> Path:
        return self.root / name if _is_plain(name) else image_path(self.root, name)


def open_manifest(path: Path, root: Path | None = None) -> Manifest:
    """The manifest at `path` (a file, or a folder with `manifest.parquet` or `manifest.jsonl`).

    root: the folder that image names are relative to; None = the one noted by `data build` if it exists, else the
    manifest's own.
    """
    if path.is_dir():
        found = [path / f"manifest{suffix}" for suffix in (PARQUET, JSONL)]
        file = next((candidate for candidate in found if candidate.is_file()), None)
        if file is None:
            raise DataError(f"{path} holds no manifest.parquet; `skingpt4 data build SOURCE … --out {path}` makes one.")
        path = file
    if not path.is_file():
        raise DataError(f"{path} does not exist (looked in {path.parent.resolve()}); a manifest was expected.")
    return Manifest(path, root or noted_root(path) or path.parent)


def noted_root(path: Path) -> Path | None:
    """The images' root that `data build` noted beside a manifest (relative to it, or absolute), if that folder exists
    here. Raises `DataError` as `build_note` does.
    """
    root = path.parent / str(build_note(path.parent).get("images_root", ""))
    return root if root.is_dir() else None


def build_note(folder: Path) -> dict[str, Any]:
    """What `data build` noted in a manifest's folder; empty where it noted nothing. Raises `DataError` for a note that
    cannot be read.
    """
    note = folder / BUILD_NOTE
    if not note.is_file():
        return {}
    try:
        return dict(json.loads(note.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(f"{note} cannot be read: {error}. Build the data set again, or remove the note.") from error


def _is_plain(name: str) -> bool:
    """Whether a name certainly stays below its root: true of nearly all, and quicker than `image_path`, which decides
    about the others.
    """
    return bool(name) and name[0] != "/" and ".." not in name and ":" not in name and "\\" not in name


def _files_in(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except OSError:  # absent, or no folder: then every name in it is looked for on its own
        return set()
