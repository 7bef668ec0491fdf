"""A manifest and its images -> tar shards, for clusters and object stores: few big files in place of many small ones.

The shards are WebDataset's: per record KEY.jpg (or another suffix) with the image file's own bytes and KEY.json with
its row of the manifest. The new manifest holds the place of each image, so that any of them is read at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from skingpt4.data.manifest import BUILD_NOTE, Manifest, build_note, write_manifest
from skingpt4.data.manifest_files import PACKED, PARQUET
from skingpt4.data.progress import progress
from skingpt4.data.records import ImageRef, few
from skingpt4.errors import DataError

SHARD_BYTES = 512 << 20
SHARDS = "shards"


def pack(manifest: Manifest, out: Path, shard_bytes: int = SHARD_BYTES) -> Path:
    """Write `out/shards/000000.tar` … and `out/manifest.parquet`, whose path is returned; `out` appears whole or not at
    all.

    A shard is closed when the next record would take it above `shard_bytes`. Rows get their image's `sha256` where they
    have none. Raises `DataError` where `out` is not empty, for images that are missing (named together), and for one
    that is not the file whose `sha256` its row has.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists already; give another folder to pack into.")
    if not manifest:
        raise DataError(f"{manifest.path} has no rows to pack.")
    missing = np.flatnonzero(manifest.missing_images())
    if len(missing):
        names = manifest.select(manifest.rows[missing]).column("image")
        raise DataError(
            f"{manifest.path}: {len(missing):,} of {len(manifest):,} images are missing in {manifest.root}: "
            f"{few(names, 20)}. Add them, or give the folder that holds them; nothing was packed."
        )
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        (partial / SHARDS).mkdir(parents=True)
        with _Shards(partial, shard_bytes) as shards:
            write_manifest(partial / f"manifest{PARQUET}", _packed(manifest, shards))
        _copy_note(manifest.path.parent, partial)
        if out.exists():
            out.rmdir()
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out / f"manifest{PARQUET}"


def _packed(manifest: Manifest, shards: _Shards) -> Iterator[dict[str, Any]]:
    """The rows of the packed manifest; each record's image is written on the way."""
    times = Counter(manifest.column("image"))
    places: dict[str, dict[str, Any]] = {}  # of images that several records have: they stay one image
    pairs = zip(manifest.table_rows(), manifest.images(), strict=True)
    for number in progress(range(len(manifest)), "Packing"):
        row, image = next(pairs)
        content = _content(image)
        digest = hashlib.sha256(content).hexdigest()
        if row["sha256"] not in ("", digest):
            raise DataError(f"{image} is not the file that the manifest was made of (its SHA-256 differs).")
        row = {name: value for name, value in row.items() if name not in PACKED} | {"sha256": digest}
        suffix = PurePosixPath(row["image"]).suffix[1:].lower() or "image"
        place = shards.add(f"{number:08d}", suffix, content, json.dumps(row, ensure_ascii=False).encode())
        if times[row["image"]] > 1:
            place = places.setdefault(row["image"], place)
        yield row | place


def _content(image: ImageRef) -> bytes:
    try:
        return image.read_bytes()
    except OSError as error:
        raise DataError(f"{image} cannot be read: {error.strerror}. Nothing was packed.") from error


def _copy_note(source: Path, target: Path) -> None:
    """`build.json` goes along; the images' root is now the packed folder itself."""
    note = build_note(source)
    if note:
        text = json.dumps(note | {"images_root": "."}, indent=1, ensure_ascii=False)
        (target / BUILD_NOTE).write_text(text + "\n", encoding="utf-8")


class _Shards:
    """Uncompressed tar files, one after the other. `with _Shards(folder, …) as shards` closes the last one."""

    def __init__(self, folder: Path, limit_bytes: int):
        self._folder, self._limit = folder, limit_bytes
        self._file: BinaryIO | None = None
        self._count = 0

    def __enter__(self) -> _Shards:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def add(self, key: str, suffix: str, image: bytes, row: bytes) -> dict[str, Any]:
        """Write one record; returns where its image lies: shard, offset, size."""
        members = [_member(f"{key}.{suffix}", image), _member(f"{key}.json", row)]
        if self._file and self._file.tell() + sum(map(len, members)) > self._limit:
            self._close()
        if self._file is None:
            self._name = f"{SHARDS}/{self._count:06d}.tar"
            self._file = (self._folder / self._name).open("wb")
            self._count += 1
        offset = self._file.tell() + tarfile.BLOCKSIZE  # after the header
        for member in members:
            self._file.write(member)
        return {"shard": self._name, "offset": offset, "size": len(image)}

    def _close(self) -> None:
        if self._file:
            self._file.write(bytes(2 * tarfile.BLOCKSIZE))  # the end of an archive
            self._file.close()
            self._file = None


def _member(name: str, content: bytes) -> bytes:
    """A file of a tar archive: header, content, zeros up to the next block. Nothing of the machine or the time is in
    it, so that the same records give the same shards.
    """
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    return entry.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
