"""The pictures to ask about: one, a folder of them, a table, a manifest, or tar shards."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from skingpt4.config import resolve_path
from skingpt4.data.manifest import Manifest, open_manifest
from skingpt4.data.manifest_files import JSONL, PARQUET, REQUIRED
from skingpt4.data.progress import progress
from skingpt4.data.records import ImageRef, PackedImage, existing_folder, few, image_path
from skingpt4.data.rows import TABLE_SUFFIXES, read_rows, text_of
from skingpt4.errors import DataError
from skingpt4.images import IMAGE_SUFFIXES

SHARD = ".tar"


@dataclass(frozen=True)
class Pictures:
    """Every picture once. names: what a user knows them by. image: the number of a picture -> where it is."""

    names: Sequence[str]
    image: Callable[[int], ImageRef]

    def __len__(self) -> int:
        return len(self.names)


def find_pictures(source: Path, images: str = "") -> Pictures:
    """One picture; those of a folder (and of folders below, sorted; hidden ones are passed over), of a table with a
    column `image`, of a manifest or its folder, of a tar shard or a folder of them.

    images: the folder that a table's or a manifest's names are relative to; empty = the table's own, or the one that
    `data build` noted. A manifest's rows stay in its file. Raises `DataError` where there is no picture.
    """
    if not source.exists():
        raise DataError(f"{source} does not exist (looked in {source.parent.resolve()}); {_EXPECTED}")
    root = existing_folder(resolve_path(images), "the images' root") if images else None
    is_folder = source.is_dir()
    if is_folder and any((source / f"manifest{suffix}").is_file() for suffix in (PARQUET, JSONL)):
        return _of_manifest(open_manifest(source, root))
    if is_folder:
        return _of_folder(source) or _of_shards(sorted(source.glob(f"*{SHARD}"))) or _nothing(source)
    if _is_picture(source.name):
        return Pictures([source.name], (source,).__getitem__)
    if source.suffix == SHARD:
        return _of_shards([source]) or _nothing(source)
    if source.suffix.lower() not in TABLE_SUFFIXES:
        _nothing(source)
    return _of_manifest(open_manifest(source, root)) if _is_manifest(source) else _of_table(source, root)


_EXPECTED = (
    f"a picture or a folder of pictures ({', '.join(IMAGE_SUFFIXES)}), a table ({', '.join(TABLE_SUFFIXES)}) with a "
    f"column `image`, a manifest or its folder, or shards ({SHARD}) were expected."
)


def _nothing(source: Path) -> Pictures:
    raise DataError(f"{source} holds no picture; {_EXPECTED}")


def _of_folder(folder: Path) -> Pictures | None:
    found = []
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        found += [Path(where, name) for name in names if _is_picture(name)]
    found.sort()
    # A name that is no UTF-8 cannot be written down as it is.
    names = [os.fsencode(file.relative_to(folder).as_posix()).decode("utf-8", "replace") for file in found]
    return Pictures(names, found.__getitem__) if found else None


def _of_shards(shards: Sequence[Path]) -> Pictures | None:
    """The pictures of uncompressed tar archives, as WebDataset and `skingpt4 data pack` write them."""
    found = []
    for shard in progress(shards, "Reading shards"):
        try:
            with tarfile.open(shard, "r:") as archive:
                found += [
                    PackedImage(shard, member.name, member.offset_data, member.size)
                    for member in archive
                    if member.isreg() and _is_picture(member.name)
                ]
        except (tarfile.TarError, OSError) as error:
            raise DataError(
                f"{shard} is no whole uncompressed tar archive: {error}. Copy it again, or unpack it into a folder."
            ) from error
    return Pictures([f"{image.shard.name}/{image.name}" for image in found], found.__getitem__) if found else None


def _of_manifest(manifest: Manifest) -> Pictures:
    first: dict[str, int] = {}
    for row, name in enumerate(manifest.column("image")):
        first.setdefault(name, row)
    if manifest.missing_images().all():
        raise _all_missing(manifest.path, manifest.root, list(first))
    rows = list(first.values())
    return Pictures(list(first), lambda number: manifest[rows[number]].image)


def _of_table(path: Path, root: Path | None) -> Pictures:
    folder = root or path.parent
    table = read_rows(path)
    table.require(("image",), "`skingpt4 predict`")
    images: dict[str, Path] = {}
    for number, values in table.rows:
        try:
            name = text_of(values, "image")
            images[name] = image_path(folder, name)
        except ValueError as error:
            table.fail(number, str(error))
    table.raise_errors()
    found = list(images.values())
    if not any(image.is_file() for image in found):
        raise _all_missing(path, folder, list(images))
    return Pictures(list(images), found.__getitem__)


def _is_manifest(path: Path) -> bool:
    """Whether a table is a manifest of this package, whose pictures may lie in shards."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix == JSONL:
        return set(REQUIRED) <= set(read_rows(path).columns)
    try:
        return path.suffix == PARQUET and set(REQUIRED) <= set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError):
        return False  # whoever reads it as a table says what is wrong


def _is_picture(name: str) -> bool:
    file = PurePosixPath(name)
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")


def _all_missing(path: Path, folder: Path, names: Sequence[str]) -> DataError:
    return DataError(
        f"{path}: none of its {len(names):,} images is in {folder} (looked for {few(names, 3)}). Give the folder that "
        "holds them with --images."
    )
