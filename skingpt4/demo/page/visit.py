"""One open page: what it shows and what was asked there, without any of the page's widgets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from skingpt4.chat.conversation import Chat, Conversation
from skingpt4.chat.notices import NO_ANSWER, better_picture, forgotten
from skingpt4.demo.page import words
from skingpt4.demo.page.line import Line, Place
from skingpt4.engines.sampling import Sampling
from skingpt4.errors import SkinGPTError
from skingpt4.report.content import readable
from skingpt4.report.red_flags import RedFlag, find_red_flags
from skingpt4.web.logs import LOGGER, places

if TYPE_CHECKING:
    from PIL.Image import Image

    from skingpt4.chat.photo_check import PhotoCheck
    from skingpt4.report.content import Report
    from skingpt4.settings import Settings

SHOW_SECONDS = 0.05  # at most so often is the page told of new words, which costs more than to make them
POLL_SECONDS = 0.5
LONGEST_QUESTION = 4000  # characters
ROLES = ("user", "assistant")


class StoppedError(SkinGPTError):
    """The visitor stopped what was still waiting for its turn."""


@dataclass(frozen=True)
class Shown:
    """A picture on the page. url: "" for none; alt: what it is, for those who do not see it."""

    url: str = ""
    alt: str = ""


class Visit:
    """A picture's conversation and what of it the page shows. Never shared between pages.

    advice: why a better photograph is needed, empty for a good one. messages: `{"role": "user" | "assistant",
    "content": text}`, as the chat area takes them. photo_status, status: one line beside the photograph and one beside
    the question. draft: a question that was not taken, to be put back where it was typed. files: of the report, what
    each is called -> its URL. busy: while the model works for this page, or is waited for. left: it is over. Its steps
    are generators: each step is worth showing; errors are told in the lines, never raised.
    """

    def __init__(
        self,
        chat: Chat,
        line: Line,
        forgotten_by: Callable[[], None] = lambda: None,
        check: PhotoCheck | None = None,
    ):
        """forgotten_by: called when the visit ends. check: of photographs; None says nothing about them."""
        self._chat, self._line, self._forgotten_by, self._check = chat, line, forgotten_by, check
        self._stopping = self.left = False
        self.picture: Image | None = None
        self.conversation: Conversation | None = None
        self.messages: list[dict[str, str]] = []
        self.flags: list[RedFlag] = []
        self.photograph = Shown()
        self.advice: tuple[str, ...] = ()
        self.heatmap = Shown()
        self.files: dict[str, str] = {}
        self.photo_status, self.status, self.draft = words.WAITING_FOR_PHOTOGRAPH, "", ""
        self.busy = False

    def look(self, take: Callable[[], Image], show: Callable[[Image], str], said: str, alt: str) -> Iterator[None]:
        """Begin with the picture that `take` gives (mode "RGB"); `show` makes it a URL. said: once it is there."""
        if self.busy:
            return

        def tell(text: str) -> None:
            self.photo_status = text

        tell(words.OPENING)
        with self._working(tell):
            yield
            picture = take()
            tell(words.LOOKING)
            with self._line.place() as place:
                yield from self._wait(place, tell)
                conversation = self._chat.start(picture)
            look = self._check.look(conversation.features[0], picture) if self._check else None
            self.advice = better_picture(look) if look else ()
            self.photograph, self.heatmap = Shown(show(picture), alt), Shown()
            self.picture, self.conversation = picture, conversation
            self.messages, self.flags, self.files, self.status, self.draft = [], [], {}, "", ""
            tell(said)

    def ask(self, question: str, sampling: Sampling) -> Iterator[None]:
        """Answer a question; `messages` grow."""
        question = readable(question).strip()
        if self.busy:
            return
        self.draft = ""
        if self.conversation is None or not question:
            self._tell(words.GONE if self.conversation is None else words.TYPE_FIRST)
            return
        if len(question) > LONGEST_QUESTION:  # before any work is done with it, for which others would wait
            self.draft = question
            self._tell(words.TOO_LONG)
            return
        conversation, asked = self.conversation, len(self.messages)
        dropped, known = conversation.dropped_turns, len(self.flags)
        self.messages.append({"role": "user", "content": question})
        self._tell(words.THINKING)
        with self._working(self._tell, lambda: self._take_back(asked, question)):
            self._look_for_flags()
            yield
            with self._line.place() as place:
                yield from self._wait(place, self._tell)
                yield from self._stream(conversation, question, sampling)
            gone = conversation.dropped_turns - dropped
            self._tell(forgotten(gone) if gone else words.STOPPED if conversation.stopped else words.ANSWERED)
        self._look_for_flags()
        if len(self.flags) > known:
            self._tell(words.SEE_FLAGS)

    def make_report(
        self, settings: Settings, sampling: Sampling, hand_out: Callable[[Report], dict[str, str]]
    ) -> Iterator[None]:
        """Write the report; `hand_out` makes it files: what each is called -> its URL."""
        if self.busy or self.picture is None or self.conversation is None:
            return
        from skingpt4.report.make import report_steps

        self.files = {}
        self._tell(words.REPORTING)
        with self._working(self._tell), self._line.place() as place:
            yield
            yield from self._wait(place, self._tell)
            with closing(report_steps(self._chat, self.picture, settings, sampling, self.conversation)) as steps:
                for step in steps:
                    self._stop_here(words.REPORT_STOPPED)
                    if step.report is not None:
                        self.files = hand_out(step.report)
                        self._tell(words.REPORT_READY)
                    elif self._told(words.section_of(step.section, step.sections)):
                        yield

    def look_closer(self, show: Callable[[Image], str]) -> Iterator[None]:
        """Make the heat-map; `show` makes it a URL."""
        if self.busy or self.picture is None:
            return
        from skingpt4.report.heatmap import heatmap

        with self._working(self._tell), self._line.place() as place:
            yield from self._wait(place, self._tell)
            overlay = heatmap(self._chat, self.picture)
            self.heatmap = Shown(show(overlay), words.HEATMAP_ALT) if overlay is not None else Shown()
            self._tell(words.SEE_HEATMAP if overlay is not None else words.NO_HEATMAP)

    def refuse(self, text: str) -> None:
        """Tell what was wrong with something that was asked for."""
        if not self.busy:  # else the line belongs to what is being made
            self._tell(f"⚠ {text}")

    def stop(self) -> None:
        """End what is being made or waited for, within one token; called from another thread."""
        self._stopping = True
        if self.conversation is not None:
            self.conversation.stop()

    @property
    def is_empty(self) -> bool:
        """Whether no photograph is here nor being looked at."""
        return self.conversation is None and not self.busy

    def leave(self) -> None:
        """The page is closed, started again, or was idle for long: nothing of it stays."""
        self.stop()
        self.left = True
        self.picture = self.conversation = None
        self.messages, self.flags, self.files, self.draft, self.advice = [], [], {}, "", ()
        self._forgotten_by()

    @property
    def conversation_shown(self) -> list[dict[str, str]]:
        """The chat area's messages: marks of HTML are shown as they were typed, never obeyed. While an answer is
        waited for, its place says what is going on.
        """
        waiting = self.busy and self.messages and self.messages[-1]["role"] == "user"
        messages = [*self.messages, {"role": "assistant", "content": self.status}] if waiting else self.messages
        return [{**message, "content": escape(message["content"], quote=False)} for message in messages]

    @property
    def speed(self) -> str:
        """What the last answer cost; "" before the first."""
        timing = self.conversation.timing if self.conversation is not None else None
        if timing is None:
            return ""
        return words.speed(timing.read_tokens, timing.new_tokens, timing.first_token_seconds, timing.tokens_per_second)

    def _tell(self, text: str) -> None:
        self.status = text

    def _told(self, text: str) -> bool:
        """Whether this is news."""
        before, self.status = self.status, text
        return text != before

    @contextmanager
    def _working(self, tell: Callable[[str], None], undo: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Busy until the block ends; what goes wrong in it is undone and told."""
        self.busy, self._stopping = True, False
        try:
            yield
        except SkinGPTError as error:
            undo()
            message = str(error)
            tell(message if isinstance(error, StoppedError) else f"⚠ {message[:1].upper()}{message[1:]}")
        except Exception as error:
            undo()
            tell(f"⚠ {words.FAULT}")
            LOGGER.error(places(error))
        except BaseException:  # the page went away
            undo()
            raise
        finally:
            self.busy = False

    def _wait(self, place: Place, tell: Callable[[str], None]) -> Iterator[None]:
        """Until the model is free, telling how many come before."""
        told = 0
        while ahead := place.ahead():
            self._stop_here(words.STOPPED)
            if ahead != told:
                told = ahead
                tell(words.waiting(ahead))
                yield
            place.wait(POLL_SECONDS)
        self._stop_here(words.STOPPED)

    def _stop_here(self, said: str) -> None:
        if self._stopping:
            raise StoppedError(said)

    def _stream(self, conversation: Conversation, question: str, sampling: Sampling) -> Iterator[None]:
        said = {"role": "assistant", "content": ""}
        shown = 0.0
        with closing(conversation.stream(question, sampling)) as pieces:
            for piece in pieces:
                said["content"] += piece
                if self._stopping:  # pressed before the conversation began to listen
                    conversation.stop()
                if not shown:
                    self.messages.append(said)
                    self._tell(words.ANSWERING)
                if time.monotonic() - shown >= SHOW_SECONDS:
                    shown = time.monotonic()
                    yield
        if not said["content"]:
            self._stop_here(words.STOPPED)
            self.messages.append(said)
            said["content"] = NO_ANSWER

    def _take_back(self, asked: int, question: str) -> None:
        """Remove a question that got no answer; one that got half of one stays with it."""
        if len(self.messages) == asked + 1:
            del self.messages[asked:]
            self.draft = question

    def _look_for_flags(self) -> None:
        texts = {role: [said["content"] for said in self.messages if said["role"] == role] for role in ROLES}
        self.flags = find_red_flags(texts["user"], texts["assistant"])
