"""How many are answered at one time, and how many wait."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from skingpt4.serving.faults import busy


@dataclass(eq=False)
class _Ticket:
    wanted: int
    turn: anyio.Event = field(default_factory=anyio.Event)


class Places:
    """For `at_once` answers; requests that find none stand in a line of at most `waiting`, the others are sent away."""

    def __init__(self, at_once: int, waiting: int):
        self.at_once, self._most = at_once, waiting
        self._free = at_once
        self._line: deque[_Ticket] = deque()

    @property
    def taken(self) -> int:
        """Answers that are being made."""
        return self.at_once - self._free

    @property
    def waiting(self) -> int:
        """Requests in the line."""
        return len(self._line)

    @asynccontextmanager
    async def take(self, wanted: int) -> AsyncIterator[None]:
        """So many places, in turn. At most `at_once`. Raises `RefusedError` where the line is full."""
        if (self._line or wanted > self._free) and len(self._line) >= self._most:
            raise busy("Too many requests are waiting.")
        ticket = _Ticket(wanted)
        self._line.append(ticket)
        self._call()
        try:
            await ticket.turn.wait()
            self._free -= wanted
        finally:
            self._line.remove(ticket)
            self._call()
        try:
            yield
        finally:
            self._free += wanted
            self._call()

    def _call(self) -> None:
        """Whoever stands first goes when there is room; a large request is not passed by small ones for ever."""
        if self._line and self._line[0].wanted <= self._free:
            self._line[0].turn.set()
