"""Whose page is whose: what visitors gave and got, in memory only, for nobody but them."""

from __future__ import annotations

import ctypes
import hashlib
import re
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from skingpt4.errors import SkinGPTError

if TYPE_CHECKING:
    import gradio as gr

COOKIE = "skingpt4_visitor"
VISITOR = "skingpt4.visitor"  # where the middleware puts who asks, in the ASGI scope; "" without a cookie
IDLE_SECONDS = 30 * 60
VISITOR_BYTES = 64 << 20  # what one visitor may keep; the oldest goes first
VISITOR_FILES = 100
ALL_BYTES = 512 << 20

WELL_FORMED = re.compile(r"[\w-]{43}", re.ASCII)
KEPT_PATH = re.compile(r"/kept/([\w-]{43})/[^/]*$", re.ASCII)
HEARTBEAT_PATH = re.compile(r"/gradio_api/heartbeat/([^/]+)/?$")
SHOWN_IN_PAGE = ("image/jpeg", "image/png", "image/webp")  # anything else is offered as a download, never opened


class SessionError(SkinGPTError):
    """A request comes from another browser than the page it speaks for, or nothing more can be kept."""


class Leaves(Protocol):
    """What a page holds between requests."""

    def leave(self) -> None:
        """Called once when it is forgotten."""


Held = TypeVar("Held", bound=Leaves)


@dataclass(frozen=True)
class Kept:
    """One file in memory. visitor: the owner's browser. page: the owner's tab; None for what no tab has asked for."""

    name: str
    media_type: str
    data: bytes
    visitor: str
    page: str | None


class Sessions:
    """The registry of one running server. A visitor is a browser (a cookie), a page one of its tabs (Gradio's session
    hash, which is bound to the first visitor that uses it).

    root_path: where a reverse proxy shows the page. What was not used for `idle_seconds` is forgotten; `close()`
    forgets everything.
    """

    def __init__(self, root_path: str = "", idle_seconds: float = IDLE_SECONDS):
        self._root_path = root_path.rstrip("/")
        self._idle_seconds = idle_seconds
        self._kept: dict[str, Kept] = {}
        self._owners: dict[str, str] = {}  # page -> visitor
        self._held: dict[str, Any] = {}  # page -> what a handler left there
        self._used: dict[str, float] = {}  # visitor -> time of the last request
        self._lock = threading.RLock()
        self._closed = threading.Event()
        threading.Thread(target=self._sweep, name="idle visitors", daemon=True).start()

    def __enter__(self) -> Sessions:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check(self, request: gr.Request) -> tuple[str, str]:
        """Visitor and page of a handler's request. Raises `SessionError` where the page is another visitor's."""
        scope = request.request.scope if request.request is not None else {}
        visitor, page = scope.get(VISITOR, ""), request.session_hash or ""
        if not visitor or not page:
            raise SessionError("This browser sent no cookie. Allow cookies for this page, then load it again.")
        if not self.owns(visitor, page):
            raise SessionError("This page belongs to another browser. Load it again.")
        return visitor, page

    def owns(self, visitor: str, page: str) -> bool:
        """Whether a page is a visitor's own or nobody's; the first visitor (not "") to ask becomes the owner."""
        with self._lock:
            if visitor and page not in self._owners:
                self._owners[page] = visitor
                self._used[visitor] = time.monotonic()
            return self._owners.get(page, visitor) == visitor

    def hold(self, request: gr.Request, make: Callable[[], Held]) -> Held:
        """What the page holds between requests, made at its first; `leave()` is called when it is forgotten.

        Raises `SessionError` as `check` does.
        """
        _, page = self.check(request)
        with self._lock:
            if page not in self._held:
                self._held[page] = make()
            return self._held[page]

    def keep(self, request: gr.Request, name: str, media_type: str, data: bytes) -> str:
        """Keep a file for this page and return its URL, which works for this visitor only.

        name: shown in the browser's downloads. Raises `SessionError` as `check` does, or where memory is full.
        """
        visitor, page = self.check(request)
        token = self.add(visitor, page, name, media_type, data)
        return f"{self._root_path}/kept/{token}/{quote(name, safe='')}"

    def add(self, visitor: str, page: str | None, name: str, media_type: str, data: bytes) -> str:
        """The same for any owner, returning the token that `get` knows it by."""
        with self._lock:
            own = [token for token, kept in self._kept.items() if kept.visitor == visitor]
            size = len(data) + sum(len(self._kept[token].data) for token in own)
            while own and (size > VISITOR_BYTES or len(own) >= VISITOR_FILES):
                size -= len(self._kept.pop(own.pop(0)).data)
            if len(data) + self.size > ALL_BYTES:
                raise SessionError("So many visitors are here that nothing more can be kept. Try again later.")
            token = secrets.token_urlsafe(32)
            self._kept[token] = Kept(name, media_type, data, visitor, page)
            self._used[visitor] = time.monotonic()
            return token

    def get(self, token: str, visitor: str) -> Kept | None:
        """A visitor's own file; None for another's, as for one that is not there."""
        with self._lock:
            kept = self._kept.get(token)
        return kept if kept is not None and kept.visitor == visitor else None

    def pop(self, token: str, visitor: str) -> Kept | None:
        """The same, which is then no longer kept."""
        with self._lock:
            kept = self.get(token, visitor)
            return self._kept.pop(token) if kept is not None else None

    @property
    def size(self) -> int:
        """Bytes of all that is kept."""
        with self._lock:
            return sum(len(kept.data) for kept in self._kept.values())

    def touch(self, visitor: str) -> None:
        """The visitor is there: the idle time starts again."""
        with self._lock:
            if visitor in self._used:
                self._used[visitor] = time.monotonic()

    def forget(self, request: gr.Request) -> None:
        """Forget all that this page gave and got; other tabs of the same browser keep theirs."""
        visitor, page = self.check(request)
        self._drop(lambda kept: (kept.visitor, kept.page) == (visitor, page), [page])

    def forget_visitor(self, visitor: str) -> None:
        """Forget all pages of a browser."""
        with self._lock:
            pages = [page for page, owner in self._owners.items() if owner == visitor]
            self._used.pop(visitor, None)
        self._drop(lambda kept: kept.visitor == visitor, pages)

    def close(self) -> None:
        """Forget everything."""
        self._closed.set()
        with self._lock:
            visitors = {*self._used, *self._owners.values()}
        for visitor in visitors:
            self.forget_visitor(visitor)

    def _drop(self, chosen: Callable[[Kept], bool], pages: list[str]) -> None:
        with self._lock:
            self._kept = {token: kept for token, kept in self._kept.items() if not chosen(kept)}
            held = [self._held.pop(page) for page in pages if page in self._held]
            for page in pages:
                self._owners.pop(page, None)
        while held:  # outside of the lock: `leave` is another's code
            held.pop().leave()
        _return_memory()

    def _sweep(self) -> None:
        while not self._closed.wait(min(60.0, self._idle_seconds / 4)):
            oldest = time.monotonic() - self._idle_seconds
            with self._lock:
                idle = [visitor for visitor, used in self._used.items() if used < oldest]
            for visitor in idle:
                self.forget_visitor(visitor)


def _return_memory() -> None:
    """What is free goes back to the machine: glibc would keep some of it after every visitor, up to a tenth."""
    with suppress(OSError, AttributeError, TypeError):  # another system, another C library
        ctypes.CDLL(None).malloc_trim(0)


class SessionMiddleware:
    """ASGI middleware: gives a browser its cookie, serves what it keeps, and keeps it out of others' pages."""

    def __init__(self, app: Any, sessions: Sessions):
        self._app = app
        self._sessions = sessions

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, path = Request(scope), scope["path"]
        cookie = request.cookies.get(COOKIE, "")
        # Whatever is well-formed is taken, whoever issued it: two servers on one host (8000, 8001) share cookies.
        if not WELL_FORMED.fullmatch(cookie):
            cookie = ""
        if not cookie and "text/html" in request.headers.get("accept", ""):
            # Only with a document, which comes before all else: parallel answers would overwrite each other's cookie.
            cookie = secrets.token_urlsafe(32)
            send = _with_cookie(send, cookie, secure=scope["scheme"] == "https")
        visitor = _visitor(cookie, request.headers.get("authorization", ""))
        scope[VISITOR] = visitor
        self._sessions.touch(visitor)
        if found := KEPT_PATH.search(path):
            await _reply(self._sessions, found[1], visitor)(scope, receive, send)
            return
        heartbeat = HEARTBEAT_PATH.search(path)
        page = heartbeat[1] if heartbeat else request.query_params.get("session_hash", "")
        if page and not self._sessions.owns(visitor, page):
            await PlainTextResponse("This page belongs to another browser. Load it again.", 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _visitor(cookie: str, account: str) -> str:
    """Who asks. Another account in the same browser (a clinic's shared computer) is somebody else."""
    return hashlib.sha256(f"{cookie}\n{account}".encode()).hexdigest() if cookie else ""


def _with_cookie(send: Any, visitor: str, secure: bool) -> Any:
    # "Lax", since with "Strict" a link to the page (from the clinic's intranet) would come without the cookie,
    # get another one, and so part the visitor from the tabs that are open. Posts from elsewhere lack it under both.
    cookie = f"{COOKIE}={visitor}; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")

    async def send_with_cookie(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"set-cookie", cookie.encode())]}
        await send(message)

    return send_with_cookie


def _reply(sessions: Sessions, token: str, visitor: str) -> Response:
    """The file as an HTTP answer; for another's the same "not found" as for none."""
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    kept = sessions.get(token, visitor)
    if kept is None:
        return PlainTextResponse("This file is not here (any more).", 404, headers)
    way = "inline" if kept.media_type in SHOWN_IN_PAGE else "attachment"
    headers["content-disposition"] = f"{way}; filename*=UTF-8''{quote(kept.name, safe='')}"
    return Response(kept.data, 200, headers, kept.media_type)
