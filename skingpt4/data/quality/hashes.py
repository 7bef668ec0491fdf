"""The images of a manifest, each once, with the hashes by which duplicates are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skingpt4.data.manifest import Manifest
from skingpt4.data.quality.duplicates import Duplicates, find_duplicates
from skingpt4.data.quality.inspection import Inspection, inspect_images, read_thumbnails
from skingpt4.data.records import ImageRef, few
from skingpt4.errors import DataError

PROGRESS = ".check-progress.jsonl"  # what is known of each image; holds small grey thumbnails, so no part of a release


@dataclass(frozen=True)
class Images:
    """U different images of N records. names: as people read them (relative to the root). of_record: int[N], the image
    of each record; first_record: int[U].
    """

    names: list[str]
    files: list[ImageRef]
    of_record: np.ndarray
    first_record: np.ndarray

    def per_record(self, values: Sequence[str]) -> list[str]:
        """One value per image -> one per record."""
        return [values[number] for number in self.of_record.tolist()]

    def near_records(self, duplicates: Duplicates) -> np.ndarray:
        """int64[P, 2]: near duplicates as pairs of records."""
        return np.asarray(self.first_record[duplicates.near], np.int64)


@dataclass(frozen=True)
class Hashes:
    """Per image: sha256 and phash ("" = unknown), and how to come by the thumbnails."""

    sha256: list[str]
    phash: list[str]
    duplicates: Duplicates


def images_of_manifest(manifest: Manifest) -> Images:
    """Raises `DataError` for a name that leads out of the root."""
    shards, relative = manifest.column("shard"), manifest.column("image")
    names = [f"{shard}/{image}" if shard else image for shard, image in zip(shards, relative, strict=True)]
    numbers: dict[str, int] = {}
    of_record = np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)
    first_record = np.unique(of_record, return_index=True)[1]
    files = list(manifest.select(manifest.rows[first_record]).images())
    return Images(list(numbers), files, of_record, first_record)


def inspected(manifest: Manifest, images: Images, progress: Path, workers: int) -> list[Inspection]:
    """Every image, inspected now or earlier (`inspection.inspect_images`). Raises `DataError` where none is there."""
    found = inspect_images(dict(zip(images.names, images.files, strict=True)), progress, workers)
    if found and all(inspection.missing for inspection in found.values()):
        raise DataError(
            f"None of the {len(found):,} images of {manifest.path} is in {manifest.root} (looked for "
            f"{few(images.names, 3)}). Give the folder that their names are relative to: --images."
        )
    return [found[name] for name in images.names]


def hashes_of(inspections: Sequence[Inspection]) -> Hashes:
    """Of images that have been inspected."""
    sha256, phash = [item.sha256 for item in inspections], [item.phash for item in inspections]
    duplicates = find_duplicates(sha256, phash, lambda wanted: [inspections[number].thumbnail() for number in wanted])
    return Hashes(sha256, phash, duplicates)


def known_hashes(manifest: Manifest, images: Images) -> Hashes | None:
    """Those that the manifest holds already; None where one is missing. Only near duplicates are opened."""
    columns: Mapping[str, list[str]] = {name: manifest.column(name) for name in ("sha256", "phash")}
    sha256, phash = ([columns[name][number] for number in images.first_record] for name in ("sha256", "phash"))
    if not all(sha256) or not all(phash):
        return None
    duplicates = find_duplicates(
        sha256, phash, lambda wanted: read_thumbnails([images.files[number] for number in wanted])
    )
    return Hashes(sha256, phash, duplicates)
