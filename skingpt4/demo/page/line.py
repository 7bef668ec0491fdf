"""Who may use the model now: one visitor at a time, in the order of arrival, and no more than so many waiting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from skingpt4.errors import SkinGPTError


class BusyError(SkinGPTError):
    """So many wait already that one more would wait too long."""


class Line:
    """A queue in front of the model. Gradio's own one tells a full queue in words for programmers and cannot be asked
    for one's place.
    """

    def __init__(self, places: int, busy: str):
        """places: how many may wait. busy: the words of `BusyError`."""
        self._places, self._busy = places, busy
        self._waiting: list[object] = []  # the first of them uses the model
        self._changed = Condition()

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Stand in line; leaving the block makes room for the next one. Raises `BusyError` where the line is full."""
        ticket = object()
        with self._changed:
            if len(self._waiting) > self._places:
                raise BusyError(self._busy)
            self._waiting.append(ticket)
        try:
            yield Place(self._waiting, ticket, self._changed)
        finally:
            with self._changed:
                self._waiting.remove(ticket)
                self._changed.notify_all()


class Place:
    """Somebody's place in the line."""

    def __init__(self, line: list[object], ticket: object, changed: Condition):
        self._line, self._ticket, self._changed = line, ticket, changed

    def ahead(self) -> int:
        """How many come first; 0: the model is free for this one."""
        with self._changed:
            return self._line.index(self._ticket)

    def wait(self, seconds: float) -> None:
        """Until the line moves, at most so long."""
        with self._changed:
            if self._line[0] is not self._ticket:
                self._changed.wait(seconds)
