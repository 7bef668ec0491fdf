"""The records of several sources as one sequence, read as they are asked for."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np

from skingpt4.data.manifest import Manifest
from skingpt4.data.records import ImageRef, Record


class Records(Sequence[Record]):
    """The records of `parts` (lists, or manifests that are read lazily), one part after the other.

    questions: take the place of each record's own, where given. A million rows of a manifest stay in its file.
    """

    def __init__(self, parts: Sequence[Sequence[Record]] = (), questions: tuple[str, ...] = ()):
        self.parts, self.questions = [part for part in parts if len(part)], questions
        self._starts = np.cumsum([0, *(len(part) for part in self.parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Records: ...
    def __getitem__(self, index: int | slice) -> Record | Records:
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        number = range(len(self))[index]  # counts negative ones from the end, raises IndexError
        part = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self._asked(self.parts[part][number - int(self._starts[part])])

    def __iter__(self) -> Iterator[Record]:
        return (self._asked(record) for part in self.parts for record in part)

    def select(self, numbers: np.ndarray) -> Records:
        """The records of these numbers (int[m]), in their order."""
        places = np.searchsorted(self._starts, numbers, side="right") - 1
        # Where the part changes, a new one begins: sorted numbers give at most as many parts as there were.
        borders = [0, *(np.flatnonzero(np.diff(places)) + 1), len(numbers)]
        parts: list[Sequence[Record]] = []
        for first, last in itertools.pairwise(borders):
            if first < last:
                place = int(places[first])
                parts.append(selected(self.parts[place], numbers[first:last] - self._starts[place]))
        return Records(parts, self.questions)

    def column(self, name: str) -> list[Any]:
        """One field (of texts or numbers; see `images`) of every record; of a manifest, that column alone is read."""
        return [value for part in self.parts for value in column_of(part, name)]

    def images(self) -> Iterator[ImageRef]:
        """Where the image of each record is; of a manifest, nothing else is read."""
        return (image for part in self.parts for image in images_of(part))

    def _asked(self, record: Record) -> Record:
        return dataclasses.replace(record, questions=self.questions) if self.questions else record


def images_of(records: Sequence[Record]) -> Iterator[ImageRef]:
    """Where the image of each record is, without reading whole rows of a manifest."""
    if isinstance(records, (Manifest, Records)):
        return records.images()
    return (record.image for record in records)


def column_of(records: Sequence[Record], name: str) -> list[Any]:
    """One field (of texts or numbers; see `images_of`) of every record, without reading whole rows of a manifest."""
    if isinstance(records, (Manifest, Records)):
        return records.column(name)
    return [getattr(record, name) for record in records]


def selected(records: Sequence[Record], numbers: np.ndarray) -> Sequence[Record]:
    """The records of these numbers (int[m]), in their order; those of a manifest stay in its file."""
    if isinstance(records, Manifest):
        return records.select(records.rows[numbers])
    return [records[number] for number in numbers]
