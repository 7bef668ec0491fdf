"""Connections that wait for their client: how long, and how many. Below HTTP's requests, so nobody needs a password
to take a connection; without limits a few hundred silent ones leave no room for visitors.
"""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import suppress

from uvicorn.protocols.http.h11_impl import H11Protocol

from skingpt4.web.process import OPEN_FILES

HEAD_SECONDS = 10.0  # for the whole head of a request, from the connection's begin or the last answer's end
BODY_SECONDS = 60.0  # for a request's body; of a photograph, for its next bytes
ARRIVING_SECONDS = 300.0  # for a whole photograph; kept by those who read it
READ_SECONDS = 30.0  # for a client to take what waits of an answer, some 100 KB
UNREAD_BYTES = 128 << 10  # of an answer, in the kernel, which would take megabytes for each connection
OWN_FILES = 128  # of them for anything but connections: files that are read, and those accepted but not counted yet
ACCEPTED_AT_ONCE = 16  # asyncio goes on for as many after files ran out, and logs each one that fails

HEAD, BODY, READING, NOTHING = "head", "body", "reading", ""
MAKE_ROOM = (HEAD, BODY, READING, NOTHING)  # who goes first


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

    Here a connection is closed whose request does not come in time, or that does not read its answer. One that waits
    for its answer, however long that streams, has no deadline. Where there are too many, one makes room: that which has
    waited longest for its request, else that which has had its answer longest.
    """

    photograph_paths: re.Pattern[str]
    _awaited = NOTHING
    _since = 0.0
    _unsent = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        with suppress(OSError):  # it is gone again
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)
        self._watch()
        if len(self.connections) > most_connections():
            self._make_room()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch(more=True)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _watch(self, more: bool = False) -> None:
        """To be called after anything that may change what is awaited. more: bytes came."""
        if self.cycle is None or self.cycle.response_complete:
            awaited = HEAD
        elif self.cycle.more_body:
            awaited = BODY
        else:
            awaited = READING if self.flow.write_paused else NOTHING
        if awaited == self._awaited and not (awaited == BODY and more and self._brings_a_photograph):
            return  # what comes byte by byte has no more time
        self._forget()
        self._awaited, self._since = awaited, self.loop.time()
        if awaited:
            self._wait()

    @property
    def _brings_a_photograph(self) -> bool:
        return self.photograph_paths.search(self.cycle.scope["path"]) is not None

    def _wait(self) -> None:
        seconds = {HEAD: HEAD_SECONDS, BODY: BODY_SECONDS, READING: READ_SECONDS}[self._awaited]
        self._unsent = self.transport.get_write_buffer_size()
        self._deadline = self.loop.call_later(seconds, self._late)

    def _forget(self) -> None:
        self._awaited = NOTHING
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        slow_but_reading = self._awaited == HEAD and 0 < self.transport.get_write_buffer_size() < self._unsent
        we_let_it_wait = self._awaited == BODY and self.flow.read_paused and self._brings_a_photograph
        if slow_but_reading or we_let_it_wait:
            self._wait()
        else:
            self._end()

    def _end(self) -> None:
        self._forget()
        self.transport.abort()  # `close` would wait for a client that does not read

    def _make_room(self) -> None:
        others = [each for each in self.connections if isinstance(each, ConnectionWithDeadlines) and each is not self]
        open_ones = [each for each in others if not each.transport.is_closing()]
        if open_ones:
            min(open_ones, key=lambda each: (MAKE_ROOM.index(each._awaited), each._since))._end()
