"""A conversation about photographs."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from skingpt4.chat.batch import BATCH, answer_conversations
from skingpt4.chat.context import segments, still_read
from skingpt4.chat.questions import QuestionError, clean_question
from skingpt4.chat.saved import from_saved, saved
from skingpt4.chat.scoring import CandidateScores, score_answers
from skingpt4.chat.timing import Timing
from skingpt4.engines.sampling import Sampling
from skingpt4.engines.seam import Engine, Finished, Segment
from skingpt4.engines.transformers_engine import TransformersEngine
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.prompts import Turn, answer_text, plain, render_text, until_stop, without_open_end

if TYPE_CHECKING:
    from PIL.Image import Image

    from skingpt4.images import HasBytes

    Picture = str | Path | bytes | Image


class Chat:
    """Answers questions about photographs: `Chat(model, processor).start("photo.jpg").ask("What could this be?")`.

    engine: who runs the decoder; without one, `transformers` in this process.
    """

    def __init__(self, model: SkinGPT4, processor: Processor, engine: Engine | None = None):
        self.model = model
        self.processor = processor
        self.engine: Engine = engine or TransformersEngine(model.decoder, processor.tokenizer.eos_ids, model.compiled)

    def start(self, image: Picture) -> Conversation:
        """A conversation about one picture, which is encoded here, once. Raises `ImageError` for what is no picture."""
        return self.start_from_features(self.encode(image))

    def start_from_features(self, features: Tensor) -> Conversation:
        """The same for a picture whose features float[Q, 768] are at hand."""
        conversation = Conversation(self)
        conversation.add_features(features)
        return conversation

    def encode(self, image: Picture) -> Tensor:
        """A picture -> features float32[Q, 768]. Raises `ImageError`."""
        return self.encode_many([image])[0]

    def encode_many(self, images: Sequence[Picture | HasBytes]) -> Tensor:
        """Pictures -> features float32[n, Q, 768], on the CPU where there are many. Raises `ImageError`."""
        chunks = []
        for start in range(0, len(images), BATCH):
            pixels = torch.stack([self.processor.pixels(image) for image in images[start : start + BATCH]])
            with torch.inference_mode():
                chunks.append(self.model.encode_images(pixels.to(self.model.device)))
        return chunks[0] if len(chunks) == 1 else torch.cat([chunk.cpu() for chunk in chunks])

    def answer_many(
        self, images: Sequence[Picture], questions: str | Sequence[str], max_new_tokens: int = 300
    ) -> list[str]:
        """The greedy answer to one question about each picture, many at once; as asking them one by one.

        questions: one for all pictures, or one for each. Raises `ImageError`, and `QuestionError` where the numbers
        differ, before anything is answered.
        """
        asked = [questions] * len(images) if isinstance(questions, str) else list(questions)
        if len(asked) != len(images):
            raise QuestionError(
                f"Pictures: {len(images)}, questions: {len(asked)}. Give one question, or one for each."
            )
        if not all(self.clean(question) for question in asked):
            raise QuestionError("A question is empty; ask something about each picture.")
        if not images:
            return []
        turns = [[Turn(self.clean(question), images=1)] for question in asked]
        return self.answer_conversations(self.encode_many(images), turns, max_new_tokens)

    def answer_conversations(
        self, features: Tensor, conversations: Sequence[Sequence[Turn]], max_new_tokens: int = 300
    ) -> list[str]:
        """The greedy answer to each conversation's last turn, which has no reply yet; equal to asking one by one.

        features: float[n, Q, 768], one photograph per conversation.
        """
        return answer_conversations(self.engine, self.processor, self.project, features, conversations, max_new_tokens)

    def score_candidates(
        self, features: Tensor, prompt: str, candidates: Sequence[str], closed: bool = True
    ) -> CandidateScores:
        """How likely each of C answers to `prompt` is, for each photograph of features float[n, Q, 768]. closed: the
        answer ends there; else more may follow. Raises `QuestionError` for an empty answer and for far too long ones.
        """
        asked = self.clean(prompt)
        return score_answers(self.engine, self.processor, self.project, features, asked, candidates, closed)

    def project(self, features: Tensor) -> Tensor:
        """features float[B, Q, 768] -> image tokens float[B, Q, D], on the model's device."""
        with torch.inference_mode():
            return self.model.project(features.to(self.model.device))

    def clean(self, question: str) -> str:
        """A question as the model reads it. Raises `QuestionError` for one that is far too long."""
        return clean_question(question, self.processor.chat_template.stops, self.engine.context_tokens)


class Conversation:
    """Pictures, the turns so far, and the decoder's memory of them. For one thread at a time, except for `stop`.

    history: every turn: question, number of pictures shown with it, reply. dropped_turns: how many of them, the oldest,
    the decoder no longer reads because its context was full; `turns` are the others. features: float32[Q, 768] of every
    picture. timing: of the last answer. stopped: whether `stop` ended it.
    """

    def __init__(self, chat: Chat):
        self._chat = chat
        self._state = chat.engine.start()
        self._image_tokens: list[Tensor] = []  # float[Q, D] each; the same objects every turn, as the engine wants them
        self._asking = threading.Lock()
        self._stop = threading.Event()
        self.features: list[Tensor] = []
        self.history: list[Turn] = []
        self.dropped_turns = 0
        self.timing: Timing | None = None
        self.stopped = False

    @property
    def turns(self) -> list[Turn]:
        """What the decoder still reads; the pictures of dropped turns are shown with the first of these."""
        return still_read(self.history, self.dropped_turns)

    def add_image(self, image: Picture) -> None:
        """Show one more picture, with the next question. Raises `ImageError`."""
        self.add_features(self._chat.encode(image))

    def add_features(self, features: Tensor) -> None:
        """The same for a picture whose features float[Q, 768] are at hand."""
        self._image_tokens.append(self._chat.project(features.unsqueeze(0))[0])
        self.features.append(features)

    def ask(self, question: str, sampling: Sampling | None = None) -> str:
        """The whole answer to a question; it joins the conversation. Raises as `stream` does."""
        return "".join(self.stream(question, sampling))

    def forget(self) -> None:
        """Give the decoder's memory of the conversation back at once; a next question reads everything anew."""
        self._state = self._chat.engine.start()

    def stop(self) -> None:
        """End the answer that is being made after its next token; it stays in the conversation as far as it is.

        May be called from any thread. Where nothing is being answered it does nothing.
        """
        self._stop.set()

    def stream(self, question: str, sampling: Sampling | None = None) -> Generator[str, None, None]:
        """The answer as it is made, piece by piece. Joined, the pieces are what `ask` returns; stop strings never show.

        A stream that is closed early (or broken off by `stop` or Ctrl-C) leaves question and answer so far in the
        conversation, if there is any; one that fails leaves it without this question. Where the decoder's context is
        full, the oldest turns go first, and `dropped_turns` counts them; the pictures stay.
        Raises `QuestionError` for an empty question, for one that does not fit beside the pictures, and while another
        answer is being made.
        """
        asked = self._asked(question)
        if not asked.question:
            raise QuestionError("The question is empty; ask something about the picture.")
        if not self._asking.acquire(blocking=False):
            raise QuestionError("The last question is still being answered; wait for its end, or stop it.")
        try:
            self._stop.clear()
            self.stopped = False
            yield from self._answer(asked, sampling or Sampling())
        finally:
            self._asking.release()

    def _answer(self, asked: Turn, sampling: Sampling) -> Iterator[str]:
        segments, free = self._make_room(asked, sampling.max_new_tokens)
        sampling = replace(sampling, max_new_tokens=min(sampling.max_new_tokens, free))
        answer = ""
        try:
            for piece in self._pieces(segments, sampling):
                answer += piece
                yield piece
        except (GeneratorExit, KeyboardInterrupt):
            if answer:
                self.history.append(replace(asked, reply=plain(answer)))
            raise
        if answer or not self.stopped:
            self.history.append(replace(asked, reply=plain(answer)))

    def next_token_logits(self, question: str) -> Tensor:
        """Logits of the first token of the answer, float32[V]; the conversation stays as it is."""
        return self._state.read(self.segments(self._with_question(question)))

    def answer_ids(self, question: str, count: int) -> list[int]:
        """At most `count` greedy tokens of the answer, stop strings included; the conversation stays as it is."""
        return list(self._state.generate(self.segments(self._with_question(question)), Sampling(max_new_tokens=count)))

    def prompt_text(self, question: str) -> str:
        """The text that the decoder would read, `<ImageHere>` where a picture goes."""
        return render_text(self._chat.processor.chat_template, self._with_question(question))

    def segments(self, turns: Sequence[Turn]) -> list[Segment]:
        """Turns as the engine reads them: ids and image tokens, in order."""
        return segments(self._chat.processor, turns, self._image_tokens)

    def add_turn(self, question: str, reply: str) -> None:
        """Put a turn with a given answer into the conversation, as if the model had said it."""
        self.history.append(replace(self._asked(question), reply=plain(reply)))

    def to_dict(self) -> dict[str, Any]:
        """The conversation as JSON can hold it: turns and the pictures' features (not the pictures)."""
        return saved(self.history, self.dropped_turns, self.features)

    @classmethod
    def from_dict(cls, chat: Chat, data: dict[str, Any]) -> Conversation:
        """What `to_dict` gave, to go on with. Raises `ConversationError` for anything else, or for another encoder's
        features.
        """
        kept = from_saved(data, chat.processor, chat.model.llama_proj.in_features)
        conversation = cls(chat)
        for features in kept.features:
            conversation.add_features(features)
        conversation.history, conversation.dropped_turns = list(kept.turns), kept.dropped_turns
        return conversation

    def _asked(self, question: str) -> Turn:
        """A question with the pictures that no turn has shown yet."""
        return Turn(self._chat.clean(question), len(self.features) - sum(turn.images for turn in self.history))

    def _with_question(self, question: str) -> list[Turn]:
        return still_read([*self.history, self._asked(question)], self.dropped_turns)

    def _make_room(self, asked: Turn, max_new_tokens: int) -> tuple[list[Segment], int]:
        """Drop the oldest turns until question and answer fit; returns the prompt, and how many tokens the answer may
        have. For the answer a quarter of the context is kept free at most, however long it may become.
        """
        limit, dropped = self._chat.engine.context_tokens, self.dropped_turns
        wanted = min(max_new_tokens, limit // 4)
        while True:
            segments = self.segments(still_read([*self.history, asked], dropped))
            length = sum(map(len, segments))
            if length + wanted <= limit or dropped == len(self.history):
                break
            dropped += 1
        if length >= limit:
            pictures = len(self.features)
            shown = "the picture" if pictures == 1 else f"{pictures} pictures"
            raise QuestionError(
                f"The question is too long: with {shown} it has {length} tokens, and this model reads {limit}. "
                + ("Ask a shorter one." if pictures <= 1 else "Ask a shorter one, or show fewer pictures.")
            )
        self.dropped_turns = dropped
        return segments, limit - length

    def length(self, turns: Sequence[Turn]) -> int:
        """How many tokens the decoder reads for these turns."""
        return sum(len(segment) for segment in self.segments(turns))

    def _pieces(self, segments: list[Segment], sampling: Sampling) -> Iterator[str]:
        """Decoded text without stop strings; text that may turn out to begin one waits until it is known."""
        tokenizer, stops = self._chat.processor.tokenizer, self._chat.processor.chat_template.stops
        ids: list[int] = []
        shown = ""
        started, first = time.perf_counter(), 0.0
        try:
            for token in self._state.generate(segments, sampling, self._is_finished(sampling)):
                ids.append(token)
                first = first or time.perf_counter() - started
                text = tokenizer.decode(ids).lstrip()
                if until_stop(text, stops) is not None:
                    break
                safe = without_open_end(text, stops)
                yield from _new(shown, safe)
                shown = safe if len(safe) > len(shown) else shown
        finally:
            seconds, prompt = time.perf_counter() - started, sum(map(len, segments))
            self.timing = Timing(prompt, self._state.newly_read, len(ids), first or seconds, seconds)
        self.stopped = self._stop.is_set()
        is_cut = self.stopped or len(ids) == sampling.max_new_tokens
        yield from _new(shown, answer_text(ids, tokenizer, stops, is_cut))

    def _is_finished(self, sampling: Sampling) -> Finished:
        tokenizer, stops = self._chat.processor.tokenizer, self._chat.processor.chat_template.stops
        if sampling.num_beams == 1:  # token by token: stop strings are found as the text is made
            return lambda _: self._stop.is_set()
        return lambda ids: self._stop.is_set() or until_stop(tokenizer.decode(ids), stops) is not None


def _new(shown: str, text: str) -> Iterator[str]:
    if len(text) > len(shown):
        yield text[len(shown) :]
