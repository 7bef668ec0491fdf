"""How the next token is picked: the part of the engine seam that every engine shares. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from skingpt4.errors import SettingsError


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
        if self.max_new_tokens < 1:
            raise SettingsError(f"max_new_tokens is {self.max_new_tokens}; it must be at least 1.")
        if self.num_beams < 1:
            raise SettingsError(f"num_beams is {self.num_beams}; it must be at least 1 (no beam search).")
        if not 0 <= self.temperature < float("inf"):
            raise SettingsError(f"temperature is {self.temperature}; it must be 0 (greedy) or more.")
        if not 0 < self.top_p <= 1:
            raise SettingsError(f"top_p is {self.top_p}; it must lie in (0, 1].")
        if not 0 < self.repetition_penalty < float("inf"):
            raise SettingsError(f"repetition_penalty is {self.repetition_penalty}; it must be above 0 (1 = none).")
        if not 0 <= self.seed < 2**63:
            raise SettingsError(f"seed is {self.seed}; it must be a whole number from 0 to 2^63 - 1.")
