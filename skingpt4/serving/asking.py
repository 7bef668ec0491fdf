"""A request's messages as a conversation, and its answers as they are made."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from skingpt4.chat.conversation import Chat, Conversation
from skingpt4.prompts import until_stop, without_open_end
from skingpt4.serving.faults import RefusedError
from skingpt4.serving.wire import AssistantMessage, ImagePart, TextPart, UserMessage
from skingpt4.web.decoding import Decoder

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

MOST_PICTURES = 8  # of one request; each takes a place in what the decoder reads
PICTURE_LIMIT_BYTES = 20_000_000
_NO_PICTURE = (
    "There is no picture in the conversation, and this model answers questions about pictures only. Add an image_url "
    "part with a data URL to a user message."
)
_NO_DATA_URL = "The picture is no data URL. Send it as data:image/jpeg;base64,…; no other address is fetched."

T = TypeVar("T")


@dataclass(frozen=True)
class Shown:
    """A user's message, and the answer that it had. pictures: data URLs."""

    question: str
    pictures: tuple[str, ...]
    reply: str | None = None


def turns_of(messages: Sequence[UserMessage | AssistantMessage]) -> list[Shown]:
    """Messages as turns. Raises `RefusedError` unless users and answers take turns, a user's message is the last one,
    and there is a picture.
    """
    turns: list[Shown] = []
    for index, message in enumerate(messages):
        if (message.role == "user") == (index % 2 == 1):
            raise RefusedError(400, "Messages of user and assistant must take turns, the user's first.", "messages")
        if isinstance(message, UserMessage):
            turns.append(_shown(message))
        else:
            turns[-1] = Shown(turns[-1].question, turns[-1].pictures, _text(message.content))
    if turns[-1].reply is not None:
        raise RefusedError(400, "The last message must be the user's question.", "messages")
    pictures = sum(len(turn.pictures) for turn in turns)
    if not pictures:
        raise RefusedError(400, _NO_PICTURE, "messages")
    if pictures > MOST_PICTURES:
        raise RefusedError(400, f"There are {pictures} pictures; at most {MOST_PICTURES} are looked at.", "messages")
    return turns


def _shown(message: UserMessage) -> Shown:
    parts = [] if isinstance(message.content, str) else message.content
    pictures = tuple(part.image_url.url for part in parts if isinstance(part, ImagePart))
    return Shown(_text(message.content), pictures)


def _text(content: str | Sequence[TextPart | ImagePart]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.text for part in content if isinstance(part, TextPart))


def picture_bytes(url: str) -> bytes:
    """The file in a data URL. Raises `RefusedError` for any other address, for what is no base64 and for too much."""
    head, comma, data = url.partition(",")
    if not (comma and head[:5].lower() == "data:" and head.lower().endswith(";base64")):
        raise RefusedError(400, _NO_DATA_URL, "image_url")
    if len(data) > PICTURE_LIMIT_BYTES * 4 // 3 + 4:
        raise RefusedError(
            413, f"A picture has more than {PICTURE_LIMIT_BYTES // 1_000_000} MB. Send a smaller copy.", "image_url"
        )
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedError(400, "The picture's base64 is damaged.", "image_url") from error


class Eyes:
    """Opens what clients send: one picture at a time, in a process of its own that ends where a picture does harm."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._one = CapacityLimiter(1)  # decoding 100 million pixels takes about a gigabyte

    async def open(self, url: str) -> Image:
        """The picture of a data URL, upright, mode "RGB". Raises `RefusedError` or `ImageError`."""
        from PIL import Image as PILImage

        png = await to_thread.run_sync(self._decoder.decode, picture_bytes(url), limiter=self._one)
        with PILImage.open(io.BytesIO(png)) as picture:
            return picture.convert("RGB")

    def close(self) -> None:
        """End the process."""
        self._decoder.close()


async def stepwise(work: Generator[T, None, object], threads: CapacityLimiter) -> AsyncGenerator[T, None]:
    """What a generator yields, made in a thread. Left early, the generator is closed before anything else is done."""
    done = object()
    try:
        while (piece := await to_thread.run_sync(next, work, done, limiter=threads)) is not done:
            yield piece  # type: ignore[misc]
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(work.close, limiter=threads)


def until(pieces: Generator[str, None, None], stops: Sequence[str]) -> Generator[str, None, None]:
    """Pieces of an answer as far as the first of a caller's stop strings."""
    text = shown = ""
    with closing(pieces):
        for piece in pieces:
            text += piece
            ended = until_stop(text, stops)
            safe = without_open_end(text, stops) if ended is None else ended
            if len(safe) > len(shown):
                yield safe[len(shown) :]
                shown = safe
            if ended is not None:
                return
    yield text[len(shown) :]


def conversation_of(chat: Chat, turns: Sequence[Shown], features: Iterable[Tensor]) -> Conversation:
    """Everything but the last question. features: float[Q, 768] of every picture, in order. Raises `QuestionError`."""
    conversation, of_pictures = Conversation(chat), iter(features)
    for turn in turns:
        for _ in turn.pictures:
            conversation.add_features(next(of_pictures))
        if turn.reply is not None:
            conversation.add_turn(turn.question, chat.clean(turn.reply))  # it came from outside too
    return conversation
