"""Conversations that are answered at the same time are decoded together: one step of the decoder makes a token of each.

A new one joins, and one that ends leaves, between two tokens of the others (continuous batching: Yu et al. 2022, Orca).
`transformers`' own continuous batching (5.23) takes token ids alone, and image tokens are none; nor has it a seed for
each request.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from skingpt4.engines.picking import answer_tokens
from skingpt4.engines.rows import RowMemory
from skingpt4.engines.sampling import Sampling
from skingpt4.engines.seam import Finished, Segment, never
from skingpt4.engines.transformers_engine import DecoderState, TransformersEngine


class BatchingEngine(TransformersEngine):
    """As `TransformersEngine`, for conversations in several threads: what they ask at one time is decoded together.

    most_rows: answers that are made at one time; others wait for their turn. `close()` ends its thread.
    """

    def __init__(self, decoder: PreTrainedModel, end_ids: Sequence[int], most_rows: int = 16):
        super().__init__(decoder, end_ids)
        self.most_rows = most_rows
        self._waiting: deque[_Row] = deque()
        self._rows: list[_Row] = []
        self._held = RowMemory()
        self._changed = threading.Condition()
        self._closed = False
        threading.Thread(target=self._run, name="decoder", daemon=True).start()

    @staticmethod
    def fits(decoder: PreTrainedModel) -> bool:
        """Whether this decoder's conversations can stand side by side."""
        return RowMemory.fits(decoder.config)

    def start(self) -> BatchedState:
        """The memory of a new conversation."""
        return BatchedState(self)

    @property
    def rows(self) -> int:
        """Answers that are being made."""
        return len(self._rows)

    def close(self) -> None:
        """End the thread; answers that are being made fail."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def answer(self, state: BatchedState, segments: Sequence[Segment], sampling: Sampling, ends: Finished) -> _Row:
        """Put an answer into the line. Raises `RuntimeError` after `close`."""
        row = _Row(state, segments, sampling, ends)
        with self._changed:
            if self._closed:
                raise RuntimeError("The engine is closed.")
            self._waiting.append(row)
            self._changed.notify()
        return row

    @torch.inference_mode()
    def _run(self) -> None:
        while self._next():
            try:
                self._sweep()
                if self._rows:
                    self._step()
            except Exception as error:  # out of memory, for example: those who wait hear of it, others may come
                self._fail(self._rows, error)
        with self._changed:
            self._fail([*self._rows, *self._waiting], RuntimeError("The engine was closed."))

    def _next(self) -> bool:
        """Wait for work; of what waits one joins, so that the others wait for one prompt at most. False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._rows or self._waiting)
            for row in [row for row in self._waiting if row.is_over()]:
                self._waiting.remove(row)
                row.end()
            room = len(self._rows) < self.most_rows
            new = self._waiting.popleft() if self._waiting and room and not self._closed else None
        if new is not None:
            try:
                new.read(self.end_ids)
                self._held.join(new.state.cache)
                self._rows.append(new)
            except Exception as error:
                new.end(error)
        return not self._closed

    def _sweep(self) -> None:
        """Pick every row's next token; rows that have none leave."""
        for index in reversed(range(len(self._rows))):
            row = self._rows[index]
            if row.is_over() or not row.pick():
                self._held.leave(index)
                last = self._rows.pop()
                if last is not row:
                    self._rows[index] = last
                row.end()

    def _step(self) -> None:
        device = self.decoder.get_input_embeddings().weight.device
        made = self.decoder(
            input_ids=torch.tensor([[row.token] for row in self._rows], device=device),
            past_key_values=self._held.cache,
            use_cache=True,
            logits_to_keep=1,
            **self._held.inputs(device),
        )
        self._held.stepped()
        for row, logits in zip(self._rows, made.logits[:, -1].float(), strict=True):
            row.logits = logits

    def _fail(self, rows: Sequence[_Row], error: Exception) -> None:
        for row in rows:
            row.end(error)
        self._rows, self._held = [], RowMemory()


class _Row:
    """One answer on its way. All but `tokens` and `leave` is for the engine's thread."""

    def __init__(self, state: BatchedState, segments: Sequence[Segment], sampling: Sampling, ends: Finished):
        self.state = state
        self._segments, self._sampling, self._ends = segments, sampling, ends
        self._made: queue.SimpleQueue[int | Exception | None] = queue.SimpleQueue()
        self._left = threading.Event()
        self._new: list[int] = []
        self._picks: Iterator[int] = iter(())
        self.logits: Tensor | None = None
        self.token = 0

    def tokens(self) -> Iterator[int]:
        """The answer, token by token. Raises what its making raised."""
        while (token := self._made.get()) is not None:
            if isinstance(token, Exception):
                raise token
            yield token

    def leave(self) -> None:
        """Nobody wants more of it."""
        self._left.set()

    def is_over(self) -> bool:
        """Whether it was left or stopped, also before its turn came."""
        try:
            return self._left.is_set() or self._ends(self._new)
        except Exception as error:  # of whoever asks; the others go on
            self.end(error)
            return True

    def read(self, end_ids: frozenset[int]) -> None:
        """Read the prompt."""
        self._picks = answer_tokens(
            self.state.read(self._segments), self._following, self._sampling, end_ids, self._ends
        )

    def pick(self) -> bool:
        """Pick the next token, from the logits that the last step left; False where the answer is at its end."""
        try:
            token = next(self._picks, None)
        except Exception as error:
            self.end(error)
            return False
        if token is None:
            return False
        self.token = token
        self._new.append(token)
        self._made.put(token)
        return True

    def end(self, error: Exception | None = None) -> None:
        """Tell whoever waits for more."""
        self._made.put(error)

    def _following(self, _: int) -> Tensor:
        assert self.logits is not None
        return self.logits


class BatchedState(DecoderState):
    """The memory of one conversation, of its prompts; what is being answered is in the engine's."""

    def __init__(self, engine: BatchingEngine):
        super().__init__(engine)
        self._batch = engine

    @property
    def cache(self) -> object:
        """Keys and values of the last prompt."""
        return self._memory.cache

    def generate(self, segments: Sequence[Segment], sampling: Sampling, is_finished: Finished = never) -> Iterator[int]:
        """The answer's tokens as they come, together with those of other conversations; several beams alone."""
        if sampling.num_beams > 1:
            yield from super().generate(segments, sampling, is_finished)
            return
        row = self._batch.answer(self, segments, sampling, is_finished)
        try:
            yield from row.tokens()
        finally:
            row.leave()
