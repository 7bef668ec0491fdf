"""An answer's pieces as one JSON object, or as a stream of server-sent events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field

from skingpt4.errors import SkinGPTError
from skingpt4.serving.faults import failure, refusal
from skingpt4.serving.service import Piece
from skingpt4.serving.wire import Choice, Chunk, ChunkChoice, Completion, Delta, FinishReason, Said, Usage

LAST = b"data: [DONE]\n\n"


@dataclass
class Answered:
    """What all parts of one answer have in common, and what it took so far."""

    id: str
    model: str
    created: int
    notice: str
    prompt_tokens: int = 0
    new_tokens: int = 0
    texts: defaultdict[int, str] = field(default_factory=lambda: defaultdict(str))
    ends: dict[int, FinishReason] = field(default_factory=dict)

    def add(self, piece: Piece) -> None:
        """One more piece came."""
        self.texts[piece.index] += piece.text
        if piece.finish is not None:
            self.ends[piece.index] = piece.finish
            self.prompt_tokens = piece.prompt_tokens
            self.new_tokens += piece.new_tokens

    @property
    def usage(self) -> Usage:
        """Tokens; the prompt counts once for all choices."""
        total = self.prompt_tokens + self.new_tokens
        return Usage(prompt_tokens=self.prompt_tokens, completion_tokens=self.new_tokens, total_tokens=total)

    async def whole(self, pieces: AsyncIterator[Piece]) -> Completion:
        """All of it at the end."""
        async for piece in pieces:
            self.add(piece)
        choices = [
            Choice(index=index, message=Said(content=self.texts[index]), finish_reason=end)
            for index, end in sorted(self.ends.items())
        ]
        return Completion(
            id=self.id, created=self.created, model=self.model, choices=choices, usage=self.usage, notice=self.notice
        )

    def event(self, choices: list[ChunkChoice], usage: Usage | None = None, notice: str | None = None) -> bytes:
        """One chunk as an event."""
        chunk = Chunk(
            id=self.id, created=self.created, model=self.model, choices=choices, usage=usage, notice=notice
        )  # fmt: skip
        return b"data: " + chunk.model_dump_json(exclude_none=True).encode() + b"\n\n"


async def events(
    answered: Answered, pieces: AsyncGenerator[Piece, None], with_usage: bool
) -> AsyncGenerator[bytes, None]:
    """The pieces as events. What fails after the first one is told as an event, and the stream ends."""
    begun: set[int] = set()
    async with aclosing(pieces):
        try:
            async for piece in pieces:
                answered.add(piece)
                notice = None if begun else answered.notice
                delta = Delta(role=None if piece.index in begun else "assistant", content=piece.text or None)
                begun.add(piece.index)
                yield answered.event(
                    [ChunkChoice(index=piece.index, delta=delta, finish_reason=piece.finish)], notice=notice
                )
        except Exception as error:
            if not begun:
                raise
            told = refusal(error) if isinstance(error, SkinGPTError) else failure(error)
            yield b"data: " + bytes(told.body) + b"\n\n"
            return
    if with_usage:
        yield answered.event([], answered.usage)
    yield LAST
