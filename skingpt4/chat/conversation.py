"""A conversation about a photograph."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from skingpt4.engines.sampling import Sampling
from skingpt4.engines.transformers_engine import DecoderState, Segment, TransformersEngine
from skingpt4.errors import SkinGPTError
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.prompts import (
    ImageSlot,
    Turn,
    plain,
    render,
    render_text,
    token_segments,
    until_stop,
    without_open_end,
)

if TYPE_CHECKING:
    from PIL.Image import Image


class QuestionError(SkinGPTError):
    """A question is empty, or too long for the decoder."""


class Chat:
    """Answers questions about photographs: `Chat(model, processor).start("photo.jpg").ask("What could this be?")`."""

    def __init__(self, model: SkinGPT4, processor: Processor):
        self.model = model
        self.processor = processor
        self.engine = TransformersEngine(model.decoder, processor.tokenizer.eos_ids, model.compiled)

    def start(self, image: str | Path | bytes | Image) -> Conversation:
        """A conversation about one picture, which is encoded here, once. Raises `ImageError` for what is no picture."""
        pixels = self.processor.pixels(image).unsqueeze(0).to(self.model.device)
        with torch.inference_mode():
            return self.start_from_features(self.model.encode_images(pixels)[0])

    def start_from_features(self, features: Tensor) -> Conversation:
        """The same for a picture whose features float[Q, 768] are at hand."""
        with torch.inference_mode():
            image_tokens = self.model.project(features.unsqueeze(0).to(self.model.device))[0]
        return Conversation(self, image_tokens)


class Conversation:
    """The turns so far and the decoder's memory of them. image_tokens: float[Q, D]."""

    def __init__(self, chat: Chat, image_tokens: Tensor):
        self._chat = chat
        self._image_tokens = image_tokens
        self._state: DecoderState = chat.engine.start()
        self.turns: list[Turn] = []
        self.dropped_turns = 0  # oldest turns that no longer fit into the decoder's context

    def ask(self, question: str, sampling: Sampling | None = None) -> str:
        """The whole answer to a question; it joins the conversation. Raises as `stream` does."""
        return "".join(self.stream(question, sampling))

    def stream(self, question: str, sampling: Sampling | None = None) -> Generator[str, None, None]:
        """The answer as it is made, piece by piece. Joined, the pieces are what `ask` returns; stop strings never show.

        A stream that is closed early (or broken off by Ctrl-C) leaves question and answer so far in the conversation,
        if there is any; one that fails leaves it without this question. Where the decoder's context is full,
        the oldest turns go first, and `dropped_turns` counts them.
        Raises `QuestionError` for an empty question and for one that does not fit beside the picture.
        """
        if not plain(question).strip():
            raise QuestionError("The question is empty; ask something about the picture.")
        sampling = sampling or Sampling()
        free = self._make_room(question, sampling.max_new_tokens)
        sampling = replace(sampling, max_new_tokens=min(sampling.max_new_tokens, free))
        turns = self._with_question(question)
        answer = ""
        try:
            for piece in self._pieces(self.segments(turns), sampling):
                answer += piece
                yield piece
        except (GeneratorExit, KeyboardInterrupt):
            if answer:
                self.turns = [*turns[:-1], replace(turns[-1], reply=plain(answer))]
            raise
        self.turns = [*turns[:-1], replace(turns[-1], reply=plain(answer))]

    def next_token_logits(self, question: str) -> Tensor:
        """Logits of the first token of the answer, float32[V]; the conversation stays as it is."""
        return self._state.read(self.segments(self._with_question(question)))

    def answer_ids(self, question: str, count: int) -> list[int]:
        """At most `count` greedy tokens of the answer, stop strings included; the conversation stays as it is."""
        segments = self.segments(self._with_question(question))
        return list(self._state.generate(segments, Sampling(max_new_tokens=count)))

    def prompt_text(self, question: str) -> str:
        """The text that the decoder would read, `<ImageHere>` where the picture goes."""
        return render_text(self._chat.processor.chat_template, self._with_question(question))

    def segments(self, turns: Sequence[Turn]) -> list[Segment]:
        """Turns as the engine reads them: ids and image tokens, in order."""
        rendered = render(self._chat.processor.chat_template, turns)
        parts = token_segments(rendered, self._chat.processor.tokenizer)
        return [self._image_tokens if isinstance(part, ImageSlot) else part for part in parts]

    def add_turn(self, question: str, reply: str) -> None:
        """Put a turn with a given answer into the conversation, as if the model had said it."""
        self.turns = [*self.turns, Turn(plain(question), images=0 if self.turns else 1, reply=plain(reply))]

    def _with_question(self, question: str) -> list[Turn]:
        return [*self.turns, Turn(plain(question).strip(), images=0 if self.turns else 1)]

    def _make_room(self, question: str, max_new_tokens: int) -> int:
        """Drop the oldest turns until question and answer fit; returns how many tokens the answer may have.

        The picture moves to the oldest turn that stays.
        """
        limit = self._chat.engine.context_tokens
        alone = self.length([Turn(plain(question).strip(), images=1)])
        if alone >= limit:
            raise QuestionError(
                f"The question is too long: with the picture it has {alone} tokens, and this model reads {limit}. "
                "Ask a shorter one."
            )
        while self.turns and self.length(self._with_question(question)) + max_new_tokens > limit:
            rest = self.turns[1:]
            self.turns = [replace(rest[0], images=1), *rest[1:]] if rest else []
            self.dropped_turns += 1
        return limit - self.length(self._with_question(question))

    def length(self, turns: Sequence[Turn]) -> int:
        return sum(len(segment) for segment in self.segments(turns))

    def _pieces(self, segments: list[Segment], sampling: Sampling) -> Iterator[str]:
        """Decoded text without stop strings; text that may turn out to begin one waits until it is known."""
        tokenizer, stops = self._chat.processor.tokenizer, self._chat.processor.chat_template.stops
        ids: list[int] = []
        shown = text = ""
        for token in self._state.generate(segments, sampling):
            ids.append(token)
            text = tokenizer.decode(ids).lstrip()
            answer = until_stop(text, stops)
            if answer is not None:
                yield from _new(shown, answer)
                return
            safe = without_open_end(text, stops)
            yield from _new(shown, safe)
            shown = safe if len(safe) > len(shown) else shown
        cut = len(ids) == sampling.max_new_tokens  # then an end like a stop string's beginning is taken for one
        yield from _new(shown, without_open_end(text, stops) if cut else text.rstrip())


def _new(shown: str, text: str) -> Iterator[str]:
    if len(text) > len(shown):
        yield text[len(shown) :]
