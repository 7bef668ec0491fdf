"""Validation images that the training set holds too."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from skingpt4.data.quality.duplicates import confirmed, shared_evidence
from skingpt4.data.quality.inspection import read_thumbnails
from skingpt4.data.quality.likeness import NEAR_BITS, as_numbers, near_pairs
from skingpt4.data.records import ImageRef, PackedImage, Record
from skingpt4.data.sequences import column_of, images_of
from skingpt4.errors import DataError

# Looked at before training: copies that were saved, resized or brightened again. `data check` finds crops as well.
QUICK_BITS = 6
NEAR = "nearly the same picture"
_SHOWN = 5


@dataclass(frozen=True)
class Leak:
    """A validation image (as `validation` calls it) that training sees. kind: the strongest evidence. train: the first
    training image that shows it. detail: what is equal.
    """

    kind: str
    train: str
    validation: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.validation} = {self.train} ({self.kind}{': ' + self.detail if self.detail else ''})"


def find_leaks(train: Sequence[Record], validation: Sequence[Record], near_bits: int = NEAR_BITS) -> list[Leak]:
    """One leak per validation record that has any, in their order.

    Equal files, contents (SHA-256), ids in file names, patients or lesions of one source, and near duplicates. Contents
    that a manifest does not know are hashed here, of files with a counterpart of the same size. Near duplicates are
    found among records that have a perceptual hash (`data check` fills it in): candidates within `near_bits` of 64 are
    opened and compared. Pictures that were turned or mirrored are not found.
    """
    contents = _contents(train, validation)
    left, right = shared_evidence(train, contents[0]), shared_evidence(validation, contents[1])
    train_names, validation_names = _shown_names(train), _shown_names(validation)
    found: dict[int, Leak] = {}
    for kind, values in right.items():
        first: dict[Hashable, int] = {}
        for number, value in enumerate(left[kind]):
            first.setdefault(value, number)
        for number, value in enumerate(values):
            if value is not None and number not in found and value in first:
                detail = str(value[-1] if isinstance(value, tuple) else value) if kind != "same file" else ""
                found[number] = Leak(kind, train_names[first[value]], validation_names[number], detail)
    for old, new, bits in _near(train, validation, sorted(set(range(len(validation))) - set(found)), near_bits):
        detail = f"perceptual hashes differ in {bits} of 64 bits"
        found.setdefault(new, Leak(NEAR, train_names[old], validation_names[new], detail))
    return [found[number] for number in sorted(found)]


def require_no_leaks(train: Sequence[Record], validation: Sequence[Record], allow: bool) -> None:
    """Raise `DataError`, naming the first leaks and what to do, unless there are none or `allow` says so."""
    if allow:
        return
    leaks = find_leaks(train, validation, QUICK_BITS)
    if leaks:
        shown = [str(leak) for leak in leaks[:_SHOWN]]
        shown += [f"… and {len(leaks) - _SHOWN:,} more"] if len(leaks) > _SHOWN else []
        raise DataError(
            "\n  ".join(
                [f"{len(leaks):,} of {len(validation):,} validation images are in the training set too:", *shown]
            )
            + "\nA validation loss over them would be too good. `skingpt4 data split` makes splits without leaks; "
            "data.allow_leaks=true trains all the same."
        )


def _near(
    train: Sequence[Record], validation: Sequence[Record], candidates: Sequence[int], near_bits: int
) -> list[tuple[int, int, int]]:
    """(training record, validation record, bits that differ) of near duplicates, for the validation `candidates`."""
    old, all_new = as_numbers(column_of(train, "phash")), as_numbers(column_of(validation, "phash"))
    new = np.array(candidates, np.int64)
    pairs = near_pairs(old, all_new[new], near_bits)
    if not len(pairs):
        return []
    images: list[ImageRef] = [*images_of(train), *images_of(validation)]
    hashes = np.concatenate([old, all_new])
    numbers = np.stack([pairs[:, 0], len(old) + new[pairs[:, 1]]], axis=1)
    same = confirmed(numbers, hashes, lambda wanted: read_thumbnails([images[number] for number in wanted]))
    bits = np.bitwise_count(hashes[numbers[:, 0]] ^ hashes[numbers[:, 1]])
    kept = [(int(a), int(b) - len(old), int(d)) for (a, b), d in zip(numbers[same], bits[same], strict=True)]
    return sorted(kept, key=lambda leak: (leak[1], leak[2]))


def _contents(train: Sequence[Record], validation: Sequence[Record]) -> tuple[list[Hashable], list[Hashable]]:
    """What is known of the content of each record's file: its SHA-256; its size where that sets it apart from every
    file of the other side; None where there is neither a hash nor a file. Of files without a hash only those are read
    that may have a counterpart.
    """
    known = column_of(train, "sha256"), column_of(validation, "sha256")
    if all(known[0]) and all(known[1]):
        return known
    images = list(images_of(train)), list(images_of(validation))
    sizes = [_size(image) for image in images[0]], [_size(image) for image in images[1]]
    digest_of = lru_cache(maxsize=None)(_digest)

    def contents(side: int) -> list[Hashable]:
        there = set(sizes[1 - side])
        unseen = any(digest and size < 0 for digest, size in zip(known[1 - side], sizes[1 - side], strict=True))
        return [
            digest or (None if size < 0 else digest_of(image) if unseen or size in there else ("bytes", size))
            for digest, image, size in zip(known[side], images[side], sizes[side], strict=True)
        ]

    return contents(0), contents(1)


def _digest(image: ImageRef) -> str | None:
    try:
        return hashlib.sha256(image.read_bytes()).hexdigest()
    except (OSError, DataError):
        return None


def _size(image: ImageRef) -> int:
    """Bytes of the image file; -1 where there is none."""
    if isinstance(image, PackedImage):
        return image.size if image.is_file() else -1
    try:
        return image.stat().st_size
    except OSError:
        return -1


def _shown_names(records: Sequence[Record]) -> list[str]:
    return [str(name) for name in column_of(records, "image")]
