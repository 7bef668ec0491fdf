"""What HTTP says of a visitor: the cookie that tells browsers apart, and the files that they are handed."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from skingpt4.demo.visitors.kept import Kept

COOKIE = "skingpt4_visitor"
SLICE_BYTES = 64 << 10
SHOWN_IN_PAGE = ("image/jpeg", "image/png", "image/webp")  # anything else is offered as a download, never opened


def visitor_of(cookie: str, account: str) -> str:
    """Who asks. Another account in the same browser (a clinic's shared computer) is somebody else."""
    return hashlib.sha256(f"{cookie}\n{account}".encode()).hexdigest() if cookie else ""


def with_cookie(send: Any, visitor: str, secure: bool) -> Any:
    """ASGI's `send`, which adds the cookie to the answer."""
    # "Lax", since with "Strict" a link to the page (from the clinic's intranet) would come without the cookie,
    # get another one, and so part the visitor from the tabs that are open. Posts from elsewhere lack it under both.
    cookie = f"{COOKIE}={visitor}; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")

    async def send_with_cookie(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"set-cookie", cookie.encode())]}
        await send(message)

    return send_with_cookie


def answer_of(kept: Kept | None, is_there: Callable[[], bool]) -> Response:
    """A file as an HTTP answer, which breaks off once the file is forgotten; for another's, and for an upload that no
    page has asked for, the same "not found" as for none.
    """
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    if kept is None or kept.page is None:
        return PlainTextResponse("This file is not here (any more).", 404, headers)
    way = "inline" if kept.media_type in SHOWN_IN_PAGE else "attachment"
    headers["content-disposition"] = f"{way}; filename*=UTF-8''{quote(kept.name, safe='')}"
    headers["content-length"] = str(len(kept.data))
    return StreamingResponse(_slices(kept.data, is_there), 200, headers, kept.media_type)


async def _slices(data: bytes, is_there: Callable[[], bool]) -> AsyncIterator[memoryview]:
    """A client that does not read costs one slice, where a whole file would be copied for each connection."""
    for start in range(0, len(data), SLICE_BYTES):
        if not is_there():
            raise ClientDisconnect
        yield memoryview(data)[start : start + SLICE_BYTES]
