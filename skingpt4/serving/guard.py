"""What stands between the network and the answers: small ASGI layers, the outermost first."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import anyio

from skingpt4.serving.faults import RefusedError, busy, failure, fault, refusal
from skingpt4.vocabulary import NOT_A_DIAGNOSIS
from skingpt4.web.address import origin_host
from skingpt4.web.connections import ARRIVING_SECONDS

if TYPE_CHECKING:
    from starlette.middleware import Middleware
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from skingpt4.web.address import Address

OPEN_PATHS = ("/healthz", "/readyz")  # for whoever watches the server; they tell nothing else
BODY_LIMIT_BYTES = 32_000_000  # a photograph of 20 MB in base64, and words
DRAINED_BYTES = 128_000_000  # read and thrown away, so that the client hears the answer instead of a broken line
HELD_BYTES = 256_000_000  # of all requests that are here at one time
TOO_SLOW = "The request did not arrive in time. Send smaller pictures, or try a better connection."
HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-notice": NOT_A_DIAGNOSIS,
}


def layers(at: Address, key: str) -> list[Middleware]:
    """With a key, whoever has it; without one, programs of this computer, and no web page that its user visits."""
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    strangers = [
        Middleware(TrustedHostMiddleware, allowed_hosts=at.host_names, www_redirect=False),
        Middleware(NoWebPages),
    ]
    return [Middleware(SafeAnswers), *([Middleware(Key, key=key)] if key else strangers), Middleware(WholeBody)]


class SafeAnswers:
    """The notice in the head of every answer, nothing kept on the way, and words of our own where something failed."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import MutableHeaders

        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            answer = failure(error)
            if not begun:  # else the line breaks
                await answer(scope, receive, send_with_headers)


class Key:
    """`Authorization: Bearer KEY`, asked before anything is read."""

    def __init__(self, app: ASGIApp, key: str):
        self._app, self._key = app, key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import Headers

        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not secrets.compare_digest(given.strip().encode(), self._key):
                refused = fault(401, "A valid API key is needed: Authorization: Bearer KEY.", code="invalid_api_key")
                await refused(scope, receive, send)
                return
        await self._app(scope, receive, send)


class NoWebPages:
    """Refuses what a web site lets a visitor's browser send here; programs send no `Origin`."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import Headers

        if scope["type"] == "http":
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin is not None and origin_host(origin) != headers.get("host"):
                await fault(403, "Without an API key no requests of web sites are answered.")(scope, receive, send)
                return
        await self._app(scope, receive, send)


class WholeBody:
    """Reads a request's body, of bounded size, before anything is done with it; and ends what is being done as soon as
    the client goes. `web/connections.py` ends bodies of which nothing more comes.
    """

    def __init__(self, app: ASGIApp):
        self._app = app
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        chunks: list[bytes] = []
        try:
            try:
                with anyio.fail_after(ARRIVING_SECONDS):
                    whole = await self._read(receive, chunks)
            except TimeoutError:
                await fault(408, TOO_SLOW)(scope, receive, send)
                return
            except RefusedError as error:
                await refusal(error)(scope, receive, send)
                return
            if whole:
                with anyio.CancelScope() as work:
                    watch = asyncio.create_task(_cancel_when_gone(receive, work))
                    try:
                        await self._app(scope, _replay(b"".join(chunks)), send)
                    finally:
                        watch.cancel()
        finally:
            self._held_bytes -= sum(map(len, chunks))

    async def _read(self, receive: Receive, chunks: list[bytes]) -> bool:
        """Whether all of it came; else nobody is there to be answered. Raises `RefusedError` for too much."""
        arrived = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            chunk = message.get("body", b"")
            arrived += len(chunk)
            if arrived <= BODY_LIMIT_BYTES:
                if self._held_bytes + len(chunk) > HELD_BYTES:
                    raise busy("Too many pictures are arriving at this moment.")
                chunks.append(chunk)
                self._held_bytes += len(chunk)
            if arrived > DRAINED_BYTES or (arrived > BODY_LIMIT_BYTES and not message.get("more_body", False)):
                raise RefusedError(
                    413, f"The request has more than {BODY_LIMIT_BYTES // 1_000_000} MB. Send smaller pictures."
                )
            if not message.get("more_body", False):
                return True


async def _cancel_when_gone(receive: Receive, work: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    work.cancel()


def _replay(body: bytes) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        if not messages:
            await anyio.sleep_forever()  # the end of the line is watched outside
        return messages.pop()

    return replayed
