"""How the next token is picked: the part of the engine seam that every engine shares. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real

from skingpt4.errors import SettingsError

COLDEST = 1e-3  # of temperatures above 0: logits divided by less overflow
MOST_BEAMS = 64  # each takes the memory of a conversation


@dataclass(frozen=True)
class Sampling:
    """How tokens are picked. temperature 0 is greedy; seed makes sampling repeatable.

    Raises `SettingsError` for values out of range.
    """

    max_new_tokens: int = 300
    temperature: float = 0.0
    top_p: float = 1.0  # in (0, 1]: sample from the likeliest tokens that have this share together
    repetition_penalty: float = 1.0  # above 1: tokens that the answer already has become less likely
    seed: int = 0
    num_beams: int = 1  # above 1: beam search; the answer comes whole instead of word by word

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "num_beams", "seed"):
            self._be(name, Integral, "a whole number")
        for name in ("temperature", "top_p", "repetition_penalty"):
            self._be(name, Real, "a number")
        if self.max_new_tokens < 1:
            raise SettingsError(f"max_new_tokens is {self.max_new_tokens}; it must be at least 1.")
        if not 1 <= self.num_beams <= MOST_BEAMS:
            raise SettingsError(f"num_beams is {self.num_beams}; it must be 1 (no beam search) to {MOST_BEAMS}.")
        if self.temperature != 0 and not COLDEST <= self.temperature < float("inf"):
            raise SettingsError(f"temperature is {self.temperature}; it must be 0 (greedy), or {COLDEST} or more.")
        if not 0 < self.top_p <= 1:
            raise SettingsError(f"top_p is {self.top_p}; it must lie in (0, 1].")
        if not 0 < self.repetition_penalty < float("inf"):
            raise SettingsError(f"repetition_penalty is {self.repetition_penalty}; it must be above 0 (1 = none).")
        if not 0 <= self.seed < 2**63:
            raise SettingsError(f"seed is {self.seed}; it must be a whole number from 0 to 2^63 - 1.")

    def _be(self, name: str, kind: type, said: str) -> None:
        value = getattr(self, name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise SettingsError(f"{name} is {value!r}; it must be {said}.")
