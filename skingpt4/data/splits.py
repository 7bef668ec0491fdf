"""Drawing and splitting records: the same seed and the same records give the same result."""

from __future__ import annotations

import random
from collections.abc import Sequence

from skingpt4.data.records import Record
from skingpt4.errors import DataError


def draw(records: Sequence[Record], limit: int, seed: int) -> list[Record]:
    """At most `limit` records (0 = all) in their old order; a larger limit keeps what a smaller one drew."""
    if not limit or len(records) <= limit:
        return list(records)
    order = list(range(len(records)))
    random.Random(seed).shuffle(order)
    return [records[index] for index in sorted(order[:limit])]


def split_off(records: Sequence[Record], fraction: float, seed: int) -> tuple[list[Record], list[Record]]:
    """(training, validation): `fraction` of the images (at least one) is held out, drawn by `seed`.

    All records of an image go to one side. Raises `DataError` where there are too few images for two sides.
    """
    images = list(dict.fromkeys(record.image for record in records))
    count = max(1, round(fraction * len(images)))
    if count >= len(images):
        raise DataError(
            f"{fraction:g} of {len(images)} images cannot be held out and leave one to train on; "
            "give more data or set data.validation_fraction=0."
        )
    random.Random(seed).shuffle(images)
    held_out = set(images[:count])
    return _parted(records, [record.image in held_out for record in records])


def split_by_class(records: Sequence[Record], test_count: int, seed: int) -> tuple[list[Record], list[Record]]:
    """(training, test): exactly `test_count` records for the test, each disease in its proportion, drawn by `seed`.

    Each disease keeps at least one record in training; both sides keep the old order. Raises `DataError` where that
    cannot be and for an image that occurs twice (it could fall on both sides).
    """
    if len({record.image for record in records}) < len(records):
        raise DataError("An image occurs in more than one record; a split by class needs one record per image.")
    classes: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        classes.setdefault(record.disease, []).append(index)
    most = len(records) - len(classes)
    if not 1 <= test_count <= most:
        raise DataError(
            f"{test_count} test records cannot be split from {len(records)} of {len(classes)} diseases; "
            f"from 1 to {most} are possible with one record of each disease left to train on."
        )
    generator = random.Random(seed)
    counts = _proportional([len(members) for members in classes.values()], test_count)
    chosen: set[int] = set()
    for members, count in zip(classes.values(), counts, strict=True):
        chosen.update(generator.sample(members, count))
    return _parted(records, [index in chosen for index in range(len(records))])


def _proportional(sizes: Sequence[int], wanted: int) -> list[int]:
    """`wanted` in proportion to `sizes`, at most size - 1 each; what rounding leaves goes to the largest remainders."""
    total = sum(sizes)
    counts = [size * wanted // total for size in sizes]  # below size, as wanted is below total
    while sum(counts) < wanted:
        open_classes = [index for index, size in enumerate(sizes) if counts[index] < size - 1]
        counts[max(open_classes, key=lambda index: sizes[index] * wanted / total - counts[index])] += 1
    return counts


def _parted(records: Sequence[Record], held_out: Sequence[bool]) -> tuple[list[Record], list[Record]]:
    kept = [record for record, out in zip(records, held_out, strict=True) if not out]
    return kept, [record for record, out in zip(records, held_out, strict=True) if out]
