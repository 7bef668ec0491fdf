"""One browser session in front of the page: what it sees and what it asked, without any of the page's widgets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from skingpt4.chat.conversation import Chat, Conversation
from skingpt4.chat.notices import NO_ANSWER, forgotten
from skingpt4.engines.sampling import Sampling
from skingpt4.errors import SkinGPTError

READY = "The picture is ready. Ask something, or press one of the questions."
WAITING = "Add a photograph to begin."
STOPPED = "(stopped)"


@dataclass
class Visit:
    """A picture's conversation and what of it the page shows. Never shared between browser sessions.

    messages: `{"role": "user" | "assistant", "content": text}`, as the chat area takes them. status: one line.
    pending: a question that waits for its answer. busy: from the question to the end of its answer.
    """

    conversation: Conversation | None = None
    messages: list[dict[str, str]] = field(default_factory=list)
    status: str = WAITING
    pending: str | None = None
    busy: bool = False
    stopping: bool = False

    @classmethod
    def of(cls, chat: Chat, file: str | Path) -> Visit:
        """A visit with the picture in a file; one that is no picture is told in `status`."""
        try:
            # Bytes, not the path: an error then speaks of "the picture", not of a folder of this server.
            return cls(chat.start(Path(file).read_bytes()), status=READY)
        except SkinGPTError as error:
            message = str(error)
            return cls(status=f"⚠ {message[:1].upper()}{message[1:]}")

    def question(self, text: str) -> bool:
        """Take a question, which `answer` then answers; returns False where it cannot be asked now."""
        if self.busy:
            return False
        if self.conversation is None or not text.strip():
            self.status = WAITING if self.conversation is None else "Type a question first."
            return False
        self.messages.append({"role": "user", "content": text.strip()})
        self.pending, self.busy, self.stopping, self.status = text.strip(), True, False, "Looking at the picture …"
        return True

    def answer(self, sampling: Sampling) -> Iterator[None]:
        """Answer the pending question; `messages` grow, and each step is worth showing. `status` tells errors."""
        question, self.pending = self.pending, None
        if question is None or self.conversation is None:
            return
        asked = len(self.messages)
        try:
            yield from self._stream(self.conversation, question, sampling)
        except SkinGPTError as error:
            del self.messages[asked - 1 :]
            self.status = f"⚠ {error}"
        except BaseException:  # the page went away, or a fault: take the question back, so that the next one works
            if self.messages[-1]["role"] == "user":
                self.messages.pop()
            self.status = "⚠ Something went wrong; please ask again."
            raise
        finally:
            self.busy = False

    def _stream(self, conversation: Conversation, question: str, sampling: Sampling) -> Iterator[None]:
        dropped = conversation.dropped_turns
        said = {"role": "assistant", "content": ""}
        with closing(conversation.stream(question, sampling)) as pieces:
            for piece in pieces:
                if not said["content"]:
                    self.messages.append(said)
                said["content"] += piece
                yield
                if self.stopping:
                    break
        if not said["content"]:
            self.messages.append(said)
            said["content"] = NO_ANSWER
        self.status = f"{READY} {STOPPED}" if self.stopping else READY
        if conversation.dropped_turns > dropped:
            self.status = forgotten(conversation.dropped_turns - dropped)
        yield

    def leave(self) -> None:
        """Let a running answer end after its next token."""
        self.stopping = True
