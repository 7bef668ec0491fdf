"""The headers of every answer, and the answer where the page failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skingpt4.demo.page.words import FAULT
from skingpt4.web.logs import LOGGER, places

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Nothing is loaded from elsewhere, whatever an answer or a question contains.
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "object-src 'none'; frame-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'self'"
)
HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=(), display-capture=(), usb=(), payment=()",
}


class SafeHeaders:
    """The browser is told to load nothing from other computers, to keep nothing, and to show the page in no frame.
    Answers to what failed inside are no exception.
    """

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import MutableHeaders
        from starlette.responses import PlainTextResponse

        begun = ended = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun, ended
            begun, ended = True, message["type"] == "http.response.body" and not message.get("more_body", False)
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                del headers["etag"], headers["last-modified"]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            if scope["type"] != "http" or (begun and not ended):
                raise  # the line breaks
            LOGGER.error(places(error))
            if not begun:
                await PlainTextResponse(FAULT, 500)(scope, receive, send_with_headers)
