"""Splits of a data set: the same seed and the same records give the same result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skingpt4.data.manifest import Manifest
from skingpt4.data.quality.duplicates import shared_evidence, tied_together
from skingpt4.data.quality.hashes import hashes_of, images_of_manifest, inspected, known_hashes
from skingpt4.data.quality.stratify import (
    SPLITS,
    check_fractions,
    label_columns,
    label_matrix,
    shares_reached,
    stratified_groups,
)
from skingpt4.data.records import few
from skingpt4.errors import DataError


@dataclass(frozen=True)
class Split:
    """What `split_manifest` made. split, sha256, phash: per record. kept: records whose earlier split stood; moved: the
    images of those among them that had to change, as a copy of them is in another split. groups: sets of records that
    belong together.
    """

    split: list[str]
    sha256: list[str]
    phash: list[str]
    groups: int
    largest_group: int
    near_duplicates: int
    exact_duplicates: int
    kept: int
    moved: list[str]
    table: dict[str, dict[str, dict[str, int]]]

    def reached(self) -> dict[str, float]:
        """The share of the records in each split."""
        return {name: round(self.split.count(name) / len(self.split), 4) for name in SPLITS if name in self.split}


def split_manifest(
    manifest: Manifest,
    fractions: Mapping[str, float],
    seed: int,
    progress: Path,
    keep: Sequence[str] = (),
    workers: int = 0,
) -> Split:
    """A split for each record: grouped by content, near duplicate, id, patient or lesion; stratified over concepts,
    class, disease, skin type and source.

    The same seed, fractions and images give the same splits, in whatever order the records stand. keep: splits of the
    manifest that stay. progress: see `quality.check_manifest`; images are decoded only where the manifest lacks their
    hashes. Raises `DataError` for missing images and as `stratify.stratified_groups` does.
    """
    check_fractions(fractions)
    images = images_of_manifest(manifest)
    hashes = known_hashes(manifest, images)
    if hashes is None:
        inspections = inspected(manifest, images, progress, workers)
        missing = [inspection.image for inspection in inspections if inspection.missing]
        if missing:
            raise DataError(
                f"{len(missing):,} of {len(images.names):,} images are missing in {manifest.root}: {few(missing, 5)}. "
                "Copies among them could not be found: add them, or build the data set again without them."
            )
        hashes = hashes_of(inspections)
    sha256 = images.per_record(hashes.sha256)
    evidence = shared_evidence(manifest, [digest or None for digest in sha256])
    groups = tied_together(list(evidence.values()), images.near_records(hashes.duplicates))
    before = [name if name in keep else "" for name in manifest.column("split")]
    columns = label_columns(manifest)
    names = images.per_record(images.names)
    keys = [digest or name for digest, name in zip(sha256, names, strict=True)]
    split = stratified_groups(label_matrix(columns)[1], groups, keys, fractions, seed, before)
    moved = [name for name, old, new in zip(names, before, split, strict=True) if old and old != new]
    sizes = np.bincount(groups)
    return Split(
        split,
        sha256,
        images.per_record(hashes.phash),
        groups=len(sizes),
        largest_group=int(sizes.max()),
        near_duplicates=sum(len(cluster) - 1 for cluster in hashes.duplicates.near_clusters()),
        exact_duplicates=sum(len(group) - 1 for group in hashes.duplicates.exact),
        kept=sum(bool(name) for name in before) - len(moved),
        moved=list(dict.fromkeys(moved)),
        table=shares_reached(columns, split),
    )
