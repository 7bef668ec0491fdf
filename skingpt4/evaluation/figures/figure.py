"""One measured number, and how far it can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A number with its 95 % interval; never NaN, and never 0 in silence where the number is undefined.

    value: None = undefined, and `note` says why. n: the cases it was computed on. low, high: the interval's ends, both
    None where there is none. note: why the value is undefined or has no interval, or what to know when reading it.
    Raises `ValueError` for a number that is not finite, half an interval, or an undefined value without a reason.
    """

    value: float | None
    n: int
    low: float | None = None
    high: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise ValueError(f"The {name} of a figure is {number}; undefined numbers are None, with a note.")
            object.__setattr__(self, name, None if number is None else float(number))  # JSON knows no numpy numbers
        object.__setattr__(self, "n", int(self.n))
        if (self.low is None) != (self.high is None) or (self.value is None and self.low is not None):
            raise ValueError("An interval has two ends and a value.")
        if self.value is None and not self.note:
            raise ValueError("An undefined figure must say why it is undefined.")

    @classmethod
    def undefined(cls, why: str, n: int) -> Figure:
        """A figure that has no value. why: the reason, in words for the reader of a report."""
        return cls(None, n, note=why)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Figure:
        """The figure that `to_dict` wrote."""
        return cls(**fields)

    def to_dict(self) -> dict[str, float | int | str | None]:
        """Its five fields, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """Such as "0.873 (0.84-0.90, n 400)"."""
        if self.value is None:
            return f"undefined ({self.note}, n {self.n})"
        interval = "" if self.low is None else f"{self.low:.2f}-{self.high:.2f}, "
        return f"{self.value:.3f} ({interval}n {self.n})"
