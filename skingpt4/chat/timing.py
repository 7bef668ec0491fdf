"""What an answer cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """What an answer cost. read_tokens: of the prompt, those that were not in the decoder's memory yet."""

    prompt_tokens: int
    read_tokens: int
    new_tokens: int
    first_token_seconds: float
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """After the first token; 0 where there was one at most."""
        after = self.seconds - self.first_token_seconds
        return (self.new_tokens - 1) / after if self.new_tokens > 1 and after > 0 else 0.0
