"""A loaded model, and what bounds its use by many."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anyio import CapacityLimiter, to_thread

from skingpt4.chat.conversation import Chat, Conversation
from skingpt4.chat.notices import notices
from skingpt4.engines.batching import BatchingEngine
from skingpt4.engines.sampling import Sampling
from skingpt4.engines.transformers_engine import TransformersEngine
from skingpt4.report.content import Report
from skingpt4.report.make import report_steps
from skingpt4.serving.asking import Eyes, conversation_of, stepwise, turns_of, until
from skingpt4.serving.faults import RefusedError
from skingpt4.serving.metrics import Metrics
from skingpt4.serving.places import Places
from skingpt4.serving.wire import ChatRequest, FinishReason, ReportRequest
from skingpt4.settings import Settings

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


@dataclass(frozen=True)
class Piece:
    """What an answer goes on with, or (finish) how it ended and what it took."""

    index: int
    text: str = ""
    finish: FinishReason | None = None
    prompt_tokens: int = 0
    new_tokens: int = 0


class Service:
    """Answers requests. places and metrics are the server's, which is there before its model.

    A `transformers` decoder answers what comes together in one batch; vLLM does so itself; any other engine
    goes from one conversation to the next, token by token. `close()` ends its helpers.
    """

    def __init__(self, chat: Chat, settings: Settings, places: Places, metrics: Metrics):
        self.chat, self._batching = together(chat, places.at_once)
        self.settings = settings
        self.notice = " ".join(notices(settings))
        self._places, self._metrics = places, metrics
        many = self._batching is not None or settings.model.engine == "vllm"
        self._threads = CapacityLimiter(places.at_once if many else 1)
        self._encoder = CapacityLimiter(1)
        self._eyes = Eyes()

    def close(self) -> None:
        """End the picture process and the batch."""
        self._eyes.close()
        if self._batching is not None:
            self._batching.close()

    async def answer(self, asked: ChatRequest) -> AsyncGenerator[Piece, None]:
        """The pieces of all answers as they come, each answer's end among them. To be closed where it is left early.

        Raises `RefusedError`, `QuestionError`, `ImageError` or `SettingsError` before the first piece.
        """
        started = time.perf_counter()
        turns = turns_of(asked.messages)
        count, drawn = asked.n or 1, secrets.randbelow(1 << 62)
        if count > self._places.at_once:
            raise RefusedError(400, f"n is {count}; this server makes {self._places.at_once} answers at once.", "n")
        samplings = [asked.sampling(drawn, index, asked.max_completion_tokens) for index in range(count)]
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._places.take(count))
            images = [await self._eyes.open(url) for turn in turns for url in turn.pictures]
            features = await self._encode(images)
            del images
            conversations = [conversation_of(self.chat, turns, features) for _ in samplings]
            going = {}
            for index, (conversation, sampling) in enumerate(zip(conversations, samplings, strict=True)):
                stack.callback(conversation.forget)  # a client that goes leaves a traceback that holds this frame
                pieces = until(conversation.stream(turns[-1].question, sampling), asked.stops)
                going[index] = await stack.enter_async_context(aclosing(stepwise(pieces, self._threads)))
            while going:  # each makes its tokens whoever is listened to
                for index in list(going):
                    text = await anext(going[index], None)
                    if text is not None:
                        self._first_word(started)
                        started = 0.0
                        yield Piece(index, text)
                        continue
                    del going[index]
                    yield self._end(index, conversations[index], samplings[index])

    async def report(self, asked: ReportRequest) -> Report:
        """Raises as `answer` does."""
        sampling = asked.sampling(secrets.randbelow(1 << 62))
        report = None
        async with self._places.take(1):
            picture = await self._eyes.open(asked.image)
            seen = self.chat.start_from_features((await self._encode([picture]))[0])
            steps = report_steps(self.chat, picture, self.settings, sampling, seen)
            try:
                async with aclosing(stepwise(steps, self._threads)) as progress:
                    async for step in progress:
                        report = step.report
            finally:
                seen.forget()
        assert report is not None
        return report

    async def _encode(self, images: list[Image]) -> Tensor:
        """Features float[n, Q, 768]. Of one request at a time: a large encoder needs much memory for each."""
        return await to_thread.run_sync(self.chat.encode_many, images, limiter=self._encoder)

    def _first_word(self, started: float) -> None:
        if started:
            self._metrics.first_word_seconds.observe(time.perf_counter() - started)

    def _end(self, index: int, conversation: Conversation, sampling: Sampling) -> Piece:
        timing = conversation.timing
        assert timing is not None
        self._metrics.prompt_tokens.inc(timing.prompt_tokens)
        self._metrics.new_tokens.inc(timing.new_tokens)
        full = timing.prompt_tokens + timing.new_tokens >= self.chat.engine.context_tokens
        cut = full or timing.new_tokens >= sampling.max_new_tokens
        return Piece(index, "", "length" if cut else "stop", timing.prompt_tokens, timing.new_tokens)


def together(chat: Chat, most_rows: int) -> tuple[Chat, BatchingEngine | None]:
    """The chat with an engine that decodes several conversations together, where its decoder can."""
    if type(chat.engine) is not TransformersEngine or not BatchingEngine.fits(chat.engine.decoder):
        return chat, None
    engine = BatchingEngine(chat.engine.decoder, sorted(chat.engine.end_ids), most_rows)
    return Chat(chat.model, chat.processor, engine), engine
