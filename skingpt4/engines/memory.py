"""Where a decoder keeps the keys and values of what it has read: memory that grows by itself, or memory of a fixed size
for a compiled decoder, which must find everything at the same address.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import DynamicCache, PretrainedConfig, PreTrainedModel, StaticCache
from transformers.cache_utils import Cache, StaticLayer

FIRST_TOKENS = 512  # room of a fixed memory at the start; doubled when it is full, which compiles again


def next_logits(decoder: PreTrainedModel, ids: Tensor, cache: Cache) -> Tensor:
    """One token more, ids int64[1, 1] -> logits [1, 1, V]: what a compiled engine compiles."""
    return decoder(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits


class GrowingMemory:
    """`transformers`' dynamic cache."""

    def __init__(self, config: PretrainedConfig):
        self.cache: Cache = DynamicCache(config=config)

    @property
    def tokens(self) -> int:
        """How many it holds."""
        return int(self.cache.get_seq_length())

    def forget(self, count: int) -> None:
        """Drop the last `count`. Raises `RuntimeError` or `ValueError` where a sliding window has let go of what lies
        before.
        """
        self.cache.crop(-count)

    def make_room(self, tokens: int) -> None:
        """It makes its own."""


class FixedMemory:
    """`transformers`' static cache, made anew at twice the size when it is full."""

    def __init__(self, config: PretrainedConfig):
        self._config = config
        self._room = FIRST_TOKENS
        self.cache: Cache = StaticCache(config=config, max_cache_len=self._room)

    @staticmethod
    def fits(config: PretrainedConfig) -> bool:
        """Whether all its layers are plain ones: a sliding window's could not forget."""
        return all(type(layer) is StaticLayer for layer in StaticCache(config=config, max_cache_len=1).layers)

    @property
    def tokens(self) -> int:
        """How many it holds."""
        return int(self.cache.get_seq_length())

    def forget(self, count: int) -> None:
        """Drop the last `count`: later ones overwrite them, and the mask hides them until then."""
        for layer in self.cache.layers:
            layer.cumulative_length.sub_(count)

    @torch.inference_mode()
    def make_room(self, tokens: int) -> None:
        """Make room for so many more."""
        held = self.tokens
        if held + tokens <= self._room:
            return
        while self._room < held + tokens:
            self._room *= 2
        before, self.cache = self.cache, StaticCache(config=self._config, max_cache_len=self._room)
        for old, new in zip(before.layers, self.cache.layers, strict=True):
            if old.is_initialized:
                new.update(old.keys[:, :, :held], old.values[:, :, :held])
