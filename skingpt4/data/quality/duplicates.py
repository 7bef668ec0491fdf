"""Which records show the same thing: one file, one content, one id, one patient or lesion, or nearly one picture."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from skingpt4.data.quality.likeness import SURE_BITS, as_numbers, near_pairs, same_picture
from skingpt4.data.records import Record
from skingpt4.data.sequences import column_of, images_of

# Thumbnails (uint8[32, 32]) of the images with these numbers; None where a picture cannot be read.
Thumbnails = Callable[[Sequence[int]], Sequence[np.ndarray | None]]

# Names that cameras and people give; two clinics have the same ones.
_GIVEN_NAMES = re.compile(
    r"(img|dsc[nf]?|dcim|pxl|mvi|win|images?|photos?|foto|pictures?|pic|bild|scan|screenshot|whatsapp|unnamed|untitled|"
    r"copy|patient|case|lesion|skin|sample|test|train|frame|file)[^a-z]"
)
_DATE = re.compile(r"(19|20)\d\d[-_. ]?[01]\d[-_. ]?[0-3]\d")
_HEXADECIMAL = re.compile(r"[0-9a-f]{16,}")
_FEWEST_DIGITS, _FEWEST_CHARACTERS = 7, 8
_FEWEST_DIGITS_ALONE = 10  # fewer may count pictures
_DIGITS_TO_THE_SECOND = 14


@dataclass(frozen=True)
class Duplicates:
    """exact: numbers of the images with one content, two or more each. near: int64[P, 2], pairs of other contents that
    show the same picture; of images with one content only the first appears.
    """

    exact: list[list[int]]
    near: np.ndarray

    def near_clusters(self) -> list[list[int]]:
        """The images that near duplicates tie together, two or more each."""
        numbers, places = np.unique(self.near, return_inverse=True)
        clusters = gathered(connected(len(numbers), places.reshape(-1, 2)))
        return [[int(numbers[member]) for member in cluster] for cluster in clusters]


def find_duplicates(sha256: Sequence[str], phash: Sequence[str], thumbnails: Thumbnails) -> Duplicates:
    """Exact and near duplicates among images, by their hashes ("" = unknown: then it has none)."""
    homes: dict[str, list[int]] = {}
    for number, digest in enumerate(sha256):
        homes.setdefault(digest or f"unknown {number}", []).append(number)
    firsts = np.array([group[0] for group in homes.values()], np.int64)
    hashes = as_numbers([phash[number] for number in firsts])
    pairs = firsts[near_pairs(hashes)]
    near = pairs[confirmed(pairs, as_numbers(phash), thumbnails)]
    return Duplicates([group for group in homes.values() if len(group) > 1], near)


def confirmed(pairs: np.ndarray, hashes: np.ndarray, thumbnails: Thumbnails) -> np.ndarray:
    """bool[P]: which pairs (int64[P, 2], numbers of images) show the same picture. hashes: uint64[N]."""
    numbers, places = np.unique(pairs, return_inverse=True)
    thumbs = thumbnails(numbers.tolist()) if len(numbers) else []
    seen = np.array([thumb is not None for thumb in thumbs], bool)
    first, second = places.reshape(-1, 2).T
    apart = np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]])
    same = apart <= SURE_BITS
    both = np.flatnonzero(seen[first] & seen[second])
    if len(both):
        blank = np.zeros((32, 32), np.uint8)
        stack = np.stack([blank if thumb is None else thumb for thumb in thumbs])
        same[both] = same_picture(stack[first[both]], stack[second[both]])
    return same


def identifier_of(name: str) -> str:
    """The id that an image's file name is, in lower case: a hash (Fitzpatrick17k, SKINCON and SkinCAP share these), an
    archive's number. Empty for names that say nothing elsewhere: `1`, `0001`, `IMG_20240131`.
    """
    stem = PurePosixPath(name.replace("\\", "/")).stem.lower().strip()
    digits = sum(character.isdigit() for character in stem)
    if _HEXADECIMAL.fullmatch(stem.replace("-", "")) and 0 < digits < len(stem):
        return stem
    if len(stem) < _FEWEST_CHARACTERS or _GIVEN_NAMES.match(stem):
        return ""
    if stem.lstrip("-").isdecimal():
        return stem if len(stem.lstrip("-0")) >= _FEWEST_DIGITS_ALONE else ""
    return stem if digits >= (_DIGITS_TO_THE_SECOND if _DATE.match(stem) else _FEWEST_DIGITS) else ""


def shared_evidence(records: Sequence[Record], contents: Sequence[Hashable] | None = None) -> dict[str, list[Hashable]]:
    """By kind of evidence, strongest first, one value per record; records with an equal one (not None) belong together.

    contents: what is known of the files' content, per record; without it the records' SHA-256. The name within a source
    counts only where the content is unknown.
    """
    contents = [digest or None for digest in column_of(records, "sha256")] if contents is None else contents
    sources, groups = column_of(records, "source"), column_of(records, "group")
    names = [str(name) for name in column_of(records, "image")]
    return {
        "same file": [str(image) for image in images_of(records)],
        "same content": list(contents),
        "same id": [identifier_of(name) or None for name in names],
        "same patient or lesion": [
            (None if identifier_of(group) else source, group) if group else None
            for source, group in zip(sources, groups, strict=True)
        ],
        "same name in the same source": [
            None if content else (source, name) for content, source, name in zip(contents, sources, names, strict=True)
        ],
    }


def tied_together(evidence: Iterable[Sequence[Hashable]], near: np.ndarray) -> np.ndarray:
    """int[N]: the number of the component of each record, by equal evidence and by pairs int64[P, 2]."""
    edges, count = [near.astype(np.int64).reshape(-1, 2)], 0
    for values in evidence:
        first: dict[Hashable, int] = {}
        count = len(values)
        pairs = [(first.setdefault(value, number), number) for number, value in enumerate(values) if value is not None]
        edges.append(np.array(pairs, np.int64).reshape(-1, 2))
    return connected(count, np.concatenate(edges))


def connected(count: int, pairs: np.ndarray) -> np.ndarray:
    """int[count]: the component of each of `count` things, tied by int64[P, 2] pairs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ties = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(ties, directed=False)[1])


def gathered(labels: np.ndarray) -> list[list[int]]:
    """The places (in order) of each label that occurs more than once."""
    homes: dict[int, list[int]] = {}
    for place, label in enumerate(labels.tolist()):
        homes.setdefault(label, []).append(place)
    return [members for members in homes.values() if len(members) > 1]
