"""The seam between what talks and who runs the decoder (docs: design, "The way of the data").

Segments of token ids and of image tokens go in, in order; tokens come out. Chat, reports, evaluation and the page know
no more of a decoder than this, so another engine is a class with these methods, handed to `Chat(model, processor,
engine)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from torch import Tensor

from skingpt4.engines.sampling import Sampling

Segment = list[int] | Tensor  # token ids, or image tokens float[Q, D]


Finished = Callable[[list[int]], bool]  # asked of an answer's tokens so far after each of them: is it at its end?


def never(_: list[int]) -> bool:
    """An answer ends where the model ends it."""
    return False


class EngineState(Protocol):
    """What the engine keeps of one conversation. Not for two threads at once; two states are independent."""

    @property
    def newly_read(self) -> int:
        """Tokens of the last prompt that were not in memory yet."""
        ...

    def read(self, segments: Sequence[Segment]) -> Tensor:
        """Read a whole prompt; returns the next token's logits, float32[V]. What begins as the last prompt did need not
        be read again. Raises `SkinGPTError` where the engine gives no logits (vLLM).
        """
        ...

    def generate(self, segments: Sequence[Segment], sampling: Sampling, is_finished: Finished = never) -> Iterator[int]:
        """Read a prompt and yield the answer's tokens as they come, the ending token left out."""
        ...


class Engine(Protocol):
    """Owns a decoder and gives one state per conversation."""

    @property
    def context_tokens(self) -> int:
        """How many tokens the decoder reads at once, its answer included."""
        ...

    def start(self) -> EngineState:
        """The memory of a new conversation."""
        ...

    def generate_many(
        self, prompts: Sequence[Sequence[Segment]], max_new_tokens: int, is_finished: Finished
    ) -> list[list[int]]:
        """Greedy tokens for each prompt, every row stopping by itself: where `is_finished` says so of its tokens, or at
        the ending token, which is left out.
        """
        ...

    def score(self, prompt: Sequence[Segment], candidates: Sequence[Sequence[int]]) -> list[Tensor]:
        """The log-probability of each candidate's tokens after the prompt and the candidate's tokens before, one
        float32[T_i] on the CPU for each. No candidate is empty.
        """
        ...
