"""The numbers that experts may set: what each is called, how far it goes, and what is said where it goes too far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skingpt4.demo.page import words
from skingpt4.engines.sampling import Sampling
from skingpt4.errors import SettingsError

LARGEST_SEED = 2**53 - 1  # a browser knows no larger whole number exactly


@dataclass(frozen=True)
class Number:
    """field: of `Sampling`. step: of the slider; whole numbers only where it is an int; None: no slider."""

    field: str
    label: str
    info: str
    low: float
    high: float
    step: float | None

    @property
    def default(self) -> float:
        """What it is before anybody sets it."""
        return float(getattr(Sampling(), self.field)) if self._broken else int(getattr(Sampling(), self.field))

    def read(self, value: object) -> float:
        """What was set; an empty box is the default. Raises `SettingsError` in plain words with the number's name."""
        if value is None or value == "":
            return self.default
        # Compared first: what a client made up may be no number, not finite, or too large for a float.
        if not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            raise SettingsError(self._limits)
        if self._broken:
            return float(value)
        if value != int(value):
            raise SettingsError(self._limits)
        return int(value)

    @property
    def _broken(self) -> bool:
        return isinstance(self.step, float)

    @property
    def _limits(self) -> str:
        return words.out_of_range(self.label, "a" if self._broken else "a whole", self.low, self.high)


# In the order in which the page shows them, and hands them on.
NUMBERS: tuple[Number, ...] = (
    Number("temperature", "Temperature", "0: always the likeliest word.", 0, 2, 0.05),
    Number("top_p", "Top-p", "Below 1: only the likeliest words.", 0.05, 1, 0.05),
    Number("max_new_tokens", "Longest answer", "In pieces of words.", 1, 1000, 1),
    Number("repetition_penalty", "Repetition penalty", "1: none.", 1, 2, 0.05),
    Number("num_beams", "Beams", "Above 1: a wider search, slower, not streamed.", 1, 8, 1),
    Number("seed", "Seed", "The same seed, the same answer.", 0, LARGEST_SEED, None),
)


def sampling_of(values: Sequence[object]) -> Sampling:
    """What the numbers say, one value for each. Raises `SettingsError` in plain words."""
    read: dict[str, Any] = {number.field: number.read(value) for number, value in zip(NUMBERS, values, strict=True)}
    return Sampling(**read)
