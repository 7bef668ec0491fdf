"""Text to token ids and back, exactly as the published checkpoints were trained.

LLaMA's family goes through SentencePiece itself: current `transformers` encodes runs of spaces differently from the
version that the original used. Other decoders go through their `transformers` tokenizer.
"""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skingpt4.errors import WeightsError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BEGIN, END = "<s>", "</s>"  # how templates name a tokenizer's first and last token, whatever its own names are
SPECIAL_MARKS = (BEGIN, END)
TEMPLATE_OPTIONS = {"enable_thinking": False}  # for those chat templates that ask: Qwen 3 answers at once
# Those that write the day into the prompt (Llama 3, Granite, SmolLM 3) always get the same one: chat reads the prompt
# that training showed. Stands before the template, whose first line it must not touch.
SAME_DAY = "{% macro strftime_now(form) %}26 Jul 2024{% endmacro %}\n"
IMAGE_TOKEN = "<image>"  # the last one of an exported model: where its image tokens go; the decoder has no such
NOT_IN_PROMPTS = {"<pad>", "[PAD]", IMAGE_TOKEN}


class Tokenizer(ABC):
    """Text <-> ids, without special tokens but where they are asked for.

    directory: where its files are. eos_ids: tokens that end an answer, the tokenizer's own end first. size: ids run
    from 0 to size - 1. specials: special tokens by the names that a template's text may use for them.
    """

    directory: Path
    bos_id: int | None
    eos_ids: tuple[int, ...]
    size: int
    specials: Mapping[str, int]

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Ids of one text segment. Nothing in the text is read as a special token."""

    @abstractmethod
    def encode_template(self, text: str) -> list[int]:
        """Ids of one segment in which the names of `specials` are those tokens: a template's own text, with text from
        outside in it that is `plain`.
        """

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; special tokens give nothing, a cut multi-byte character gives U+FFFD."""

    def ending_with(self, names: Collection[str]) -> Tokenizer:
        """The same tokenizer, to which those of `specials` that are in `names` end an answer as well."""
        other = copy.copy(self)
        ends = (token for name, token in self.specials.items() if name in names)
        other.eos_ids = tuple(dict.fromkeys((*self.eos_ids, *ends)))
        return other

    def chat_text(self, messages: Sequence[Mapping[str, str]]) -> str | None:
        """A conversation in the words of the tokenizer's own chat template, up to where the next answer begins.

        messages: `{"role": "user" | "assistant", "content": text}`. None where it has no chat template; raises whatever
        that template (a program of its publisher, in jinja's sandbox) raises.
        """
        own = self._of_transformers
        if own.chat_template is None:
            return None
        text = own.apply_chat_template(
            list(messages), chat_template=SAME_DAY + own.get_chat_template(), tokenize=False,
            add_generation_prompt=True, **TEMPLATE_OPTIONS,
        )  # fmt: skip
        return str(text)

    @cached_property
    def _of_transformers(self) -> PreTrainedTokenizerBase:
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(str(self.directory), local_files_only=True, trust_remote_code=False)
        except Exception as error:  # a torn tokenizer.json raises `Exception` itself
            raise WeightsError(
                f"The tokenizer in {self.directory} cannot be read: {why_unreadable(error)}. "
                "Copy it again from the repository that the decoder came from."
            ) from error


class SentencePieceTokenizer(Tokenizer):
    """A LLaMA-style `tokenizer.model`: every segment gets SentencePiece's prefix space, as in the original."""

    def __init__(self, model_file: Path):
        from sentencepiece import SentencePieceProcessor

        try:
            self._pieces = SentencePieceProcessor(model_file=str(model_file))
        except (RuntimeError, OSError) as error:
            raise WeightsError(f"{model_file} is no SentencePiece model: {error}") from error
        self.directory = model_file.parent
        self.bos_id = self._pieces.bos_id()
        self.eos_ids = ending_ids(self.directory, self._pieces.eos_id())
        self.size = self._pieces.vocab_size()
        self.specials = {BEGIN: self._pieces.bos_id(), END: self._pieces.eos_id()}

    def encode(self, text: str) -> list[int]:
        return list(self._pieces.encode(text))

    def encode_template(self, text: str) -> list[int]:
        """As `transformers`' LlamaTokenizer reads `<s>` and `</s>`: what stands between them is encoded on its own."""
        ids: list[int] = []
        while text:
            found = [(text.index(mark), mark) for mark in self.specials if mark in text]
            if not found:
                return ids + self.encode(text)
            position, mark = min(found)
            ids += self.encode(text[:position]) if position else []
            ids.append(self.specials[mark])
            text = text[position + len(mark) :]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._pieces.decode([int(i) for i in ids if 0 <= i < self.size]))


class TransformersTokenizer(Tokenizer):
    """Any other decoder's tokenizer."""

    def __init__(self, directory: Path):
        self.directory = directory
        own = self._of_transformers
        self.bos_id = own.bos_token_id
        self.eos_ids = ending_ids(directory, own.eos_token_id)
        self.size = len(own) - (own.convert_tokens_to_ids(IMAGE_TOKEN) == len(own) - 1)
        self._named = {BEGIN: own.bos_token, END: own.eos_token}
        self.specials = {
            token.content: number
            for number, token in own.added_tokens_decoder.items()
            if token.special or (token.content.startswith("<") and token.content.endswith(">"))
        } | {name: own.convert_tokens_to_ids(token) for name, token in self._named.items() if token}

    def encode(self, text: str) -> list[int]:
        return self._encode(plain(text, self.specials))

    def encode_template(self, text: str) -> list[int]:
        for name, token in self._named.items():
            text = text.replace(name, token or name)
        return self._encode(text)

    def _encode(self, text: str) -> list[int]:
        return list(self._of_transformers(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._of_transformers.decode(list(ids), skip_special_tokens=True))


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer of a decoder's directory: SentencePiece itself for a LLaMA's `tokenizer.model` that is complete,
    else `transformers`'.

    Raises `WeightsError` when the directory holds neither `tokenizer.model` nor `tokenizer.json`, or a torn one.
    """
    pieces, own = directory / "tokenizer.model", directory / "tokenizer.json"
    if not pieces.is_file() and not own.is_file():
        raise WeightsError(
            f"{directory} holds no tokenizer: expected tokenizer.model (LLaMA, Vicuna) or tokenizer.json. "
            "Copy it from the repository that the decoder came from."
        )
    if not pieces.is_file():
        return TransformersTokenizer(directory)
    config = _read_json(directory / "config.json")
    decoder = config.get("text_config") or config  # of a whole model that was exported, its language model
    if decoder.get("model_type", "llama") != "llama":
        return TransformersTokenizer(directory)
    tokenizer = SentencePieceTokenizer(pieces)
    added = [token for token in _read_json(own).get("added_tokens") or () if token.get("id", 0) >= tokenizer.size]
    if {token["content"] for token in added} - NOT_IN_PROMPTS:  # `<|im_start|>`, for one, is not in tokenizer.model
        return TransformersTokenizer(directory)
    return tokenizer


def why_unreadable(error: Exception) -> str:
    """What `transformers` says of a directory that it does not open. Where that asks for the publisher's own code
    (`trust_remote_code`): that this package runs none.
    """
    if "trust_remote_code" not in str(error):
        return str(error)
    return "it needs Python code of its publisher, which is never run; use a model that `transformers` itself knows"


def ending_ids(directory: Path, own: int | None) -> tuple[int, ...]:
    """The tokenizer's own end, and those that `generation_config.json` lists beside it (Llama 3, Gemma and Phi do)."""
    listed = _read_json(directory / "generation_config.json").get("eos_token_id")
    ends = [own, *(listed if isinstance(listed, list) else [listed])]
    return tuple(dict.fromkeys(token for token in ends if isinstance(token, int) and token >= 0))


def plain(text: str, marks: Collection[str] = SPECIAL_MARKS) -> str:
    """Text from outside without the marks that templates use for special tokens, also where removing one makes
    another. marks: a chat takes out the stop strings as well, so that no question can play a turn of its own.
    """
    if not any(mark in text for mark in marks):
        return text
    lengths = sorted({len(mark) for mark in marks})
    kept: list[str] = []
    for character in text:  # in one pass: nested marks would make repeated replacing slow
        kept.append(character)
        ending = next((length for length in lengths if "".join(kept[-length:]) in marks), 0)
        del kept[len(kept) - ending :]
    return "".join(kept)


def _read_json(file: Path) -> dict[str, Any]:
    """Its content, nothing where there is no such file. Raises `WeightsError` for a torn one."""
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{file} cannot be read: {error}. Download it again.") from error
    return content if isinstance(content, dict) else {}
