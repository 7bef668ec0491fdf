"""What a data card is made of, before it becomes HTML or Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    import numpy as np

Kind = Literal["good", "plain", "warning"]
UNKNOWN = "unknown"
NO_SPLIT = "no split"
MOST_PAIRS = 15
MOST_IN_A_COLUMN = 16


@dataclass(frozen=True)
class Table:
    """Cells of text, row by row; each row is as long as the header."""

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    title: str = ""


@dataclass(frozen=True)
class Bars:
    """Counts of images, one bar each, in the order given.

    of: the images that 100% stands for. muted: labels that are no value of their own (unknown, others), drawn grey.
    upright: a histogram, its bars side by side. whole: what these bars are a part of, drawn on the same scale.
    """

    title: str
    rows: list[tuple[str, int]]
    of: int
    muted: frozenset[str] = frozenset({UNKNOWN, NO_SPLIT})
    note: str = ""
    upright: bool = False
    whole: Bars | None = None

    table_title: ClassVar[str] = "The numbers"

    @property
    def wide(self) -> bool:
        return len(self.rows) > MOST_IN_A_COLUMN

    def columns(self) -> list[Bars]:
        """Itself, or two halves on one scale to stand side by side."""
        if not self.wide:
            return [self]
        half = -(-len(self.rows) // 2)
        return [replace(self, rows=rows, whole=self) for rows in (self.rows[:half], self.rows[half:])]

    def table(self) -> Table:
        return Table(("", "images", "share"), [(name, f"{n:,}", percent(n, self.of)) for name, n in self.rows])


@dataclass(frozen=True)
class HeatMap:
    """Concepts that are seen together. counts: int[C, C], how many images show both; the diagonal: how many show the
    concept at all.
    """

    labels: list[str]
    counts: np.ndarray
    note: str = ""
    title: str = "Concepts that are seen together"

    table_title: ClassVar[str] = "The most frequent pairs"
    wide: ClassVar[bool] = True

    def table(self) -> Table:
        """The most frequent pairs."""
        size = len(self.labels)
        pairs = [(int(self.counts[a, b]), a, b) for a in range(size) for b in range(a + 1, size) if self.counts[a, b]]
        rows = [
            (
                f"{self.labels[a]} + {self.labels[b]}",
                f"{both:,}",
                percent(both, int(self.counts[a, a])),
                percent(both, int(self.counts[b, b])),
            )
            for both, a, b in sorted(pairs, key=lambda pair: -pair[0])[:MOST_PAIRS]
        ]
        return Table(("pair", "images", "of the first", "of the second"), rows)


@dataclass(frozen=True)
class Dots:
    """Shares of the images of each split, 0-1, one row per value: `shares[split][row]`."""

    title: str
    labels: list[str]
    shares: dict[str, list[float]]
    note: str = ""

    table_title: ClassVar[str] = "The numbers"
    wide: ClassVar[bool] = False

    def table(self) -> Table:
        rows = [
            (label, *(f"{100 * column[row]:.1f}%" for column in self.shares.values()))
            for row, label in enumerate(self.labels)
        ]
        return Table(("", *self.shares), rows)


@dataclass(frozen=True)
class Note:
    """A sentence that stands out."""

    text: str
    kind: Kind = "plain"


@dataclass(frozen=True)
class Pictures:
    """Small photographs of one class, disease or concept, as `data:` URLs."""

    title: str
    urls: list[str]


Block = Table | Bars | HeatMap | Dots | Note | Pictures


@dataclass(frozen=True)
class Section:
    """A heading, one sentence that says what is to be seen, and the blocks below it."""

    title: str
    sentence: str
    blocks: list[Block] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())


@dataclass(frozen=True)
class Card:
    """The whole page. tiles: the few figures at the top, (figure, what it counts)."""

    title: str
    subtitle: str
    tiles: list[tuple[str, str]]
    sections: list[Section]
    footer: str


def percent(part: int, whole: int) -> str:
    """`45%`, with a decimal near nothing and near all, where it tells something; a dash for a share of nothing."""
    if not whole:
        return "–"
    share = 100 * part / whole
    return f"{share:.1f}%" if 0 < share < 10 or 90 < share < 100 else f"{share:.0f}%"


def plural(count: int, one: str, many: str = "") -> str:
    """`1 image`, `2,000 images`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
