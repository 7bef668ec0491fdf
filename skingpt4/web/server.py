"""uvicorn as this package runs it."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

import uvicorn

from skingpt4.web.connections import ACCEPTED_AT_ONCE, ConnectionWithDeadlines

if TYPE_CHECKING:
    from starlette.types import ASGIApp

WAITING_TO_BE_ACCEPTED = 1024  # in the kernel


class Server(uvicorn.Server):
    """`should_exit` ends it; `started` once it answers."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, whose `backlog` would shorten the kernel's queue too: a crowd would wait a second and more."""
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(WAITING_TO_BE_ACCEPTED)


def server_of(app: ASGIApp, photographs: re.Pattern[str], closing_seconds: int) -> Server:
    """A server whose connections have deadlines, without a log of who asked what.

    photographs: the paths whose bodies may take long. closing_seconds: for answers that still stream at the end.
    """

    class Connection(ConnectionWithDeadlines):
        photograph_paths = photographs

    return Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, ws="none", lifespan="on",
            timeout_graceful_shutdown=closing_seconds, http=Connection, backlog=ACCEPTED_AT_ONCE,
        )
    )  # fmt: skip
