"""vLLM runs the decoder, in this process or on a server that many share.

What vLLM is given are its *prompt embeddings*: the whole prompt, text and image tokens, as embeddings float[T, D]. So
the decoder's embedding is all of it that is loaded here, and any decoder that vLLM runs will do (tensor-parallel,
quantised, with continuous batching and prefix caching). Every turn sends its prompt whole; vLLM's prefix cache finds
what it has read before.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from skingpt4.engines.at_once import embed
from skingpt4.engines.sampling import Sampling
from skingpt4.engines.scoring import require_tokens
from skingpt4.engines.seam import Finished, Segment, never
from skingpt4.errors import SkinGPTError

ANSWERS_AT_ONCE = 64  # of `generate_many`; vLLM makes a batch of them, or lets some wait
PROMPTS_AT_ONCE = 16  # in one request for scores: each is megabytes
DTYPE_NAMES = {"auto": "auto", "fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}  # of `model.precision`
TOKENS_AT_ONCE = 128  # whose log-probability one request may ask for (vLLM's MAX_LOGPROB_TOKEN_IDS)

Prefix = tuple[int, ...]


class VllmError(SkinGPTError):
    """vLLM cannot be reached, or refuses what it is asked."""


class Decoding(Protocol):
    """Where vLLM is. May be asked by several threads at once."""

    @property
    def context_tokens(self) -> int:
        """How many tokens the decoder reads at once, its answer included."""
        ...

    def stream(self, prompt: Tensor, wanted: Mapping[str, Any]) -> Generator[list[int], None, None]:
        """The answer's tokens as they come, perhaps some at a time, the token that ends it included. Closing it ends
        the request. prompt: float[T, D]. wanted: by the names of vLLM's `SamplingParams`.
        """
        ...

    def next_scores(self, prompts: Sequence[Tensor], tokens: Sequence[int]) -> list[dict[int, float]]:
        """For each prompt float[T, D] the log-probability of each of these tokens (`TOKENS_AT_ONCE`) to come next."""
        ...


class VllmEngine:
    """Hands vLLM spliced prompts. decoder: with its embedding loaded, the rest of it may be on `meta`. end_ids: tokens
    that end an answer.
    """

    def __init__(self, decoding: Decoding, decoder: PreTrainedModel, end_ids: Iterable[int]):
        self.decoding = decoding
        self.decoder = decoder
        self.end_ids = frozenset(end_ids)

    @property
    def context_tokens(self) -> int:
        """How many tokens vLLM reads at once (its `--max-model-len`), the answer included."""
        return self.decoding.context_tokens

    def start(self) -> VllmState:
        """A new conversation."""
        return VllmState(self)

    def generate_many(
        self, prompts: Sequence[Sequence[Segment]], max_new_tokens: int, is_finished: Finished
    ) -> list[list[int]]:
        """Greedy tokens for each prompt, all asked at once. Where one fails, the others are given up."""
        sampling, given_up = Sampling(max_new_tokens=max_new_tokens), threading.Event()

        def answer(prompt: Sequence[Segment]) -> list[int]:
            try:
                return list(self.start().generate(prompt, sampling, lambda ids: given_up.is_set() or is_finished(ids)))
            except BaseException:
                given_up.set()
                raise

        with ThreadPoolExecutor(ANSWERS_AT_ONCE) as pool:
            try:
                return list(pool.map(answer, prompts))
            finally:
                given_up.set()  # also where Ctrl-C ends the waiting

    def score(self, prompt: Sequence[Segment], candidates: Sequence[Sequence[int]]) -> list[Tensor]:
        """How likely each candidate's tokens are after the prompt.

        vLLM scores no tokens of a prompt of embeddings (`prompt_logprobs`), but any token as the next one: it is asked
        once for every different beginning of a candidate, which its prefix cache makes cheap.
        """
        require_tokens(candidates)
        scores: dict[Prefix, dict[int, float]] = {}
        for prefixes, tokens in _requests(_followers(candidates)):
            prompts = [self.embed([*prompt, list(prefix)] if prefix else prompt) for prefix in prefixes]
            for prefix, found in zip(prefixes, self.decoding.next_scores(prompts, tokens), strict=True):
                scores.setdefault(prefix, {}).update(found)
        return [
            torch.tensor([scores[tuple(candidate[:place])][token] for place, token in enumerate(candidate)])
            for candidate in candidates
        ]

    @torch.inference_mode()
    def embed(self, segments: Sequence[Segment]) -> Tensor:
        """Segments -> float[T, D] on the CPU."""
        return embed(self.decoder, segments)


class VllmState:
    """A conversation. What vLLM keeps of it is in its prefix cache, of which it says nothing: every token of a prompt
    counts as newly read.
    """

    def __init__(self, engine: VllmEngine):
        self._engine = engine
        self.newly_read = 0

    def read(self, segments: Sequence[Segment]) -> NoReturn:
        """vLLM gives no logits. Raises `VllmError`."""
        raise VllmError("vLLM gives no logits of the whole vocabulary. Use --engine transformers for them.")

    def generate(self, segments: Sequence[Segment], sampling: Sampling, is_finished: Finished = never) -> Iterator[int]:
        """Read a prompt and yield the answer's tokens as they come, the ending token left out. Raises `VllmError`."""
        if sampling.num_beams > 1:
            raise VllmError(
                f"num_beams is {sampling.num_beams}, and vLLM searches no beams from embeddings. "
                "Set it to 1, or use --engine transformers."
            )
        prompt = self._engine.embed(segments)
        self.newly_read = len(prompt)
        made: list[int] = []
        with closing(self._engine.decoding.stream(prompt, _wanted(sampling, self._engine.end_ids))) as pieces:
            for token in (token for piece in pieces for token in piece):
                if token in self._engine.end_ids:
                    return
                yield token
                made.append(token)
                if is_finished(made):
                    return


def _wanted(sampling: Sampling, end_ids: Iterable[int]) -> dict[str, Any]:
    """By the names that vLLM's `SamplingParams` and its Completions API share. What is not said here, the server takes
    from the decoder's generation_config.json, so all of it is said.
    """
    return {
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": sampling.repetition_penalty,  # of the answer's tokens: a prompt of embeddings has none
        "seed": sampling.seed if sampling.temperature else None,
        "stop_token_ids": sorted(end_ids),
        "ignore_eos": True,  # `stop_token_ids` has ours
    }


def _followers(candidates: Sequence[Sequence[int]]) -> dict[Prefix, list[int]]:
    """Each beginning of a candidate, the shortest first, and the tokens that follow it in one."""
    following: dict[Prefix, dict[int, None]] = {}
    for length in range(max(map(len, candidates), default=0)):
        for candidate in candidates:
            if length < len(candidate):
                following.setdefault(tuple(candidate[:length]), {})[candidate[length]] = None
    return {prefix: list(tokens) for prefix, tokens in following.items()}


def _requests(following: Mapping[Prefix, Sequence[int]]) -> Iterator[tuple[list[Prefix], list[int]]]:
    """Beginnings that are asked for together, and the tokens to score after them. The prompt itself is asked for alone,
    first: then it is in vLLM's cache for all others.
    """
    prefixes: list[Prefix] = []
    tokens: set[int] = set()
    for prefix, followers in following.items():
        for start in range(0, len(followers), TOKENS_AT_ONCE):
            part = set(followers[start : start + TOKENS_AT_ONCE])
            is_full = len(prefixes) == PROMPTS_AT_ONCE or len(tokens | part) > TOKENS_AT_ONCE
            if is_full or prefixes == [()]:
                yield prefixes, sorted(tokens)
                prefixes, tokens = [], set()
            prefixes.append(prefix)
            tokens |= part
    if prefixes:
        yield prefixes, sorted(tokens)
