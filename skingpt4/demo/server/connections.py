"""Connections that wait for their client: how long, and how many. Below HTTP's requests, so nobody needs a password
to take a connection; without limits a few hundred silent ones leave no room for visitors.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0  # for the whole head of a request, from the connection's begin or the last answer's end
BODY_SECONDS = 60.0  # for the next bytes of a request's body
OPEN_FILES = 65536  # more than visitors need; where there is no limit at all, some libraries loop over all numbers
OWN_FILES = 128  # of them for anything but connections: files that are read, and those accepted but not counted yet
ACCEPTED_AT_ONCE = 16  # asyncio goes on for as many after files ran out, and logs each one that fails
WAITING_TO_BE_ACCEPTED = 1024  # in the kernel

HEAD, BODY, NOTHING = "head", "body", ""


def allow_many_files() -> None:
    """Connections are files; the limit that a process starts with is often 1024, and may be raised by itself."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS allows fewer than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections() -> int:
    """As many as leave files for everything else."""
    try:
        import resource
    except ImportError:
        return OPEN_FILES
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return OPEN_FILES
    return max(soft - OWN_FILES, soft // 4)


class ConnectionWithDeadlines(H11Protocol):
    """uvicorn waits for a request without end: its keep-alive time ends with the first byte.

    Here a connection is closed whose request does not come in time. One that waits for its answer, however long that
    streams, has no deadline. Where there are too many, the one that has waited longest for a request makes room.
    """

    _awaited = NOTHING
    _since = 0.0
    _unsent = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > most_connections():
            self._make_room()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """To be called after anything that may change what is awaited."""
        if self.cycle is None or self.cycle.response_complete:
            awaited = HEAD
        else:
            awaited = BODY if self.cycle.more_body else NOTHING
        if awaited == HEAD == self._awaited:
            return  # a head that comes byte by byte has no more time
        self._forget()
        if awaited:
            self._wait(awaited)

    def _wait(self, awaited: str) -> None:
        self._awaited, self._since = awaited, self.loop.time()
        self._unsent = self.transport.get_write_buffer_size()
        self._deadline = self.loop.call_later(HEAD_SECONDS if awaited == HEAD else BODY_SECONDS, self._late)

    def _forget(self) -> None:
        self._awaited = NOTHING
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        slow_but_reading = 0 < self.transport.get_write_buffer_size() < self._unsent  # the answer before
        we_let_it_wait = self._awaited == BODY and self.flow.read_paused
        if slow_but_reading or we_let_it_wait:
            self._wait(self._awaited)
        else:
            self._end()

    def _end(self) -> None:
        self._forget()
        self.transport.abort()  # `close` would wait for a client that does not read

    def _make_room(self) -> None:
        open_ones = [each for each in self.connections if isinstance(each, ConnectionWithDeadlines)]
        min((each for each in open_ones if each._awaited == HEAD), key=lambda each: each._since, default=self)._end()
