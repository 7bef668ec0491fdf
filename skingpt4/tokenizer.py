"""Text to token ids and back, exactly as the published checkpoints were trained.

LLaMA's family goes through SentencePiece itself: current `transformers` encodes runs of spaces differently from the
version that the original used. Decoders without a SentencePiece file go through their `transformers` tokenizer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from skingpt4.errors import WeightsError


class Tokenizer(ABC):
    """Plain text <-> ids, without special tokens; those are added by name (`bos_id`, `eos_ids`)."""

    bos_id: int | None
    eos_ids: tuple[int, ...]
    size: int  # ids run from 0 to size - 1

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Ids of one text segment. Nothing in the text is read as a special token."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; special tokens give nothing, a cut multi-byte character gives U+FFFD."""


class SentencePieceTokenizer(Tokenizer):
    """A LLaMA-style `tokenizer.model`: every segment gets SentencePiece's prefix space, as in the original."""

    def __init__(self, model_file: Path):
        from sentencepiece import SentencePieceProcessor

        try:
            self._pieces = SentencePieceProcessor(model_file=str(model_file))
        except (RuntimeError, OSError) as error:
            raise WeightsError(f"{model_file} is no SentencePiece model: {error}") from error
        self.bos_id = self._pieces.bos_id()
        self.eos_ids = (self._pieces.eos_id(),)
        self.size = self._pieces.vocab_size()

    def encode(self, text: str) -> list[int]:
        return list(self._pieces.encode(text))

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._pieces.decode([int(i) for i in ids if 0 <= i < self.size]))


class TransformersTokenizer(Tokenizer):
    """Any other decoder's tokenizer."""

    def __init__(self, directory: Path):
        from transformers import AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(
            str(directory), local_files_only=True, split_special_tokens=True
        )
        self.bos_id = self._tokenizer.bos_token_id
        self.eos_ids = () if self._tokenizer.eos_token_id is None else (self._tokenizer.eos_token_id,)
        self.size = len(self._tokenizer)

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer of a decoder's directory.

    Raises `WeightsError` when the directory holds neither `tokenizer.model` nor `tokenizer.json`.
    """
    if (directory / "tokenizer.model").is_file():
        return SentencePieceTokenizer(directory / "tokenizer.model")
    if (directory / "tokenizer.json").is_file():
        return TransformersTokenizer(directory)
    raise WeightsError(
        f"{directory} holds no tokenizer: expected tokenizer.model (LLaMA, Vicuna) or tokenizer.json. "
        "Copy it from the repository that the decoder came from."
    )
