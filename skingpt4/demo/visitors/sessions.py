"""Whose page is whose: what visitors gave and got, in memory only, for nobody but them."""

from __future__ import annotations

import ctypes
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote
from weakref import WeakKeyDictionary

from starlette.requests import Request
from starlette.responses import PlainTextResponse

from skingpt4.demo.visitors.answers import COOKIE, answer_of, visitor_of, with_cookie
from skingpt4.demo.visitors.kept import FULL, SWEEP_SECONDS, Kept, KeptFiles
from skingpt4.demo.visitors.kept import SessionError as SessionError  # for those who use `Sessions`

if TYPE_CHECKING:
    import gradio as gr

VISITOR = "skingpt4.visitor"  # where the middleware puts who asks, in the ASGI scope; "" without a cookie
IDLE_SECONDS = 30 * 60
# A tab that holds a conversation takes some 16 MB. Who opens more tabs loses what the least used one held.
VISITOR_HELD = 8
ALL_HELD = 100
# Tabs whose owner is known; the oldest of those that hold nothing is forgotten first.
VISITOR_PAGES = 32
ALL_PAGES = 4096
VISITOR_STREAMS = 16  # answers without end that are open at one time; a tab has two

ELSEWHERE = "This page belongs to another browser. Load it again."
TOO_MANY_TABS = "This page is open in too many tabs. Close some of them."

WELL_FORMED = re.compile(r"[\w-]{43}", re.ASCII)
KEPT_PATH = re.compile(r"/kept/([\w-]{43})/[^/]*$", re.ASCII)
HEARTBEAT_PATH = re.compile(r"/gradio_api/heartbeat/([^/]+)/?$")
STREAM_PATH = re.compile(r"/gradio_api/(?:heartbeat/[^/]+|queue/data|upload_progress)/?$")


class Leaves(Protocol):
    """What a page holds between requests."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is lost with it."""

    def leave(self) -> None:
        """Called once when it is forgotten."""


Held = TypeVar("Held", bound=Leaves)


class Sessions:
    """The registry of one running server. A visitor is a browser (a cookie), a page one of its tabs (Gradio's session
    hash, which is bound to the first visitor that uses it).

    root_path: where a reverse proxy shows the page. What was not used for `idle_seconds` is forgotten; `close()`
    forgets everything.
    """

    def __init__(self, root_path: str = "", idle_seconds: float = IDLE_SECONDS):
        self._root_path = root_path.rstrip("/")
        self._idle_seconds = idle_seconds
        self._files = KeptFiles()
        self._owners: dict[str, str] = {}  # page -> visitor
        self._held: dict[str, Any] = {}  # page -> what a handler left there; the least recently used first
        self._begun: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()  # a handler's request -> what it was given
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
        visitor, page = _asking(request)
        if not self.owns(visitor, page):
            raise SessionError(ELSEWHERE)
        return visitor, page

    def owns(self, visitor: str, page: str) -> bool:
        """Whether a page is a visitor's own or nobody's; the first visitor (not "") to ask becomes the owner."""
        with self._lock:
            if visitor and page not in self._owners:
                self._make_room(visitor)
                self._owners[page] = visitor
                self._used[visitor] = time.monotonic()
            return self._owners.get(page, visitor) == visitor

    def hold(self, request: gr.Request, make: Callable[[], Held]) -> Held:
        """What the page holds between requests, made at its first; `leave()` is called when it is forgotten.

        Raises `SessionError` as `check` does, or where too many pages hold something. A visitor's least recently used
        page is forgotten where that visitor has too many; where all have, the one among those that hold nothing of use.
        """
        surplus: list[str] = []
        with self._lock:
            visitor, page = self.check(request)
            if page not in self._held:
                own = [other for other in self._held if self._owners[other] == visitor]
                surplus = own[: max(0, len(own) + 1 - VISITOR_HELD)]
                if len(self._held) - len(surplus) >= ALL_HELD:
                    surplus = [other for other, held in self._held.items() if held.is_empty][:1]
                    if not surplus:
                        raise SessionError(FULL)
            now: Held = self._held.pop(page) if page in self._held else make()
            self._held[page] = now  # the most recently used
            self._begun[request] = now
        if surplus:
            self._drop(lambda kept: kept.page in surplus, surplus)
        return now

    def held(self, request: gr.Request) -> Any:
        """What the page holds, None where nothing. Raises `SessionError` as `check` does."""
        with self._lock:
            _, page = self.check(request)
            return self._held.get(page)

    def keep(self, request: gr.Request, name: str, media_type: str, data: bytes) -> str:
        """Keep a file for this page and return its URL, which works for this visitor only.

        name: shown in the browser's downloads. Raises `SessionError` as `check` does, where memory is full, and where
        the page was forgotten since the request came: what is ready too late is kept for nobody.
        """
        visitor, page = _asking(request)
        with self._lock:
            held = self._held.get(page)
            if page not in self._owners or self._begun.get(request, held) is not held:
                raise SessionError("This page was closed or started again.")
            if self._owners[page] != visitor:
                raise SessionError(ELSEWHERE)
            token = self.add(visitor, page, name, media_type, data)
        return f"{self._root_path}/kept/{token}/{quote(name, safe='')}"

    def add(self, visitor: str, page: str | None, name: str, media_type: str, data: bytes) -> str:
        """The same for any owner, returning the token that `get` knows it by."""
        with self._lock:
            token = self._files.add(visitor, page, name, media_type, data)
            self._used[visitor] = time.monotonic()
            return token

    def get(self, token: str, visitor: str) -> Kept | None:
        """A visitor's own file; None for another's, as for one that is not there."""
        with self._lock:
            return self._files.get(token, visitor)

    def pop(self, token: str, visitor: str) -> Kept | None:
        """The same, which is then no longer kept."""
        with self._lock:
            return self._files.pop(token, visitor)

    @property
    def size(self) -> int:
        """Bytes of all that is kept."""
        with self._lock:
            return self._files.size

    def touch(self, visitor: str) -> None:
        """The visitor is there: the idle time starts again."""
        with self._lock:
            if visitor in self._used:
                self._used[visitor] = time.monotonic()

    def forget(self, request: gr.Request) -> None:
        """Forget all that this page gave and got, and the visitor's uploads that no page has asked for; other tabs of
        the same browser keep theirs. Raises `SessionError` where the page is another visitor's.
        """
        visitor, page = _asking(request)
        with self._lock:
            if self._owners.get(page, visitor) != visitor:
                raise SessionError(ELSEWHERE)
        self._drop(lambda kept: kept.visitor == visitor and kept.page in (page, None), [page])

    def forget_visitor(self, visitor: str) -> None:
        """Forget all pages of a browser."""
        with self._lock:
            pages = [page for page, owner in self._owners.items() if owner == visitor]
        self._drop(lambda kept: kept.visitor == visitor, pages)

    def close(self) -> None:
        """Forget everything."""
        self._closed.set()
        with self._lock:
            visitors = list(self._used)
        for visitor in visitors:
            self.forget_visitor(visitor)

    def _make_room(self, visitor: str) -> None:
        """For one more page, while the lock is held."""
        own = [page for page, owner in self._owners.items() if owner == visitor]
        if len(own) >= VISITOR_PAGES:
            candidates = own
        elif len(self._owners) >= ALL_PAGES:
            candidates = list(self._owners)
        else:
            return
        oldest = next(page for page in candidates if page not in self._held)
        self._drop(lambda kept: kept.page == oldest, [oldest])

    def _drop(self, chosen: Callable[[Kept], bool], pages: list[str]) -> None:
        with self._lock:
            dropped = self._files.drop(chosen)
            held = [self._held.pop(page) for page in pages if page in self._held]
            for page in pages:
                self._owners.pop(page, None)
            there = {*self._owners.values(), *self._files.visitors}
            self._used = {visitor: used for visitor, used in self._used.items() if visitor in there}
        dropped = dropped or bool(held)
        while held:  # outside of the lock: `leave` is another's code
            held.pop().leave()
        if dropped:
            _return_memory()

    def _sweep(self) -> None:
        while not self._closed.wait(min(SWEEP_SECONDS, self._idle_seconds / 4)):
            oldest = time.monotonic() - self._idle_seconds
            with self._lock:
                idle = [visitor for visitor, used in self._used.items() if used < oldest]
            for visitor in idle:
                self.forget_visitor(visitor)
            self._drop(lambda kept: kept.is_stale, [])


def _asking(request: gr.Request) -> tuple[str, str]:
    """Visitor and page that a handler's request names. Raises `SessionError` without a cookie."""
    scope = request.request.scope if request.request is not None else {}
    visitor, page = scope.get(VISITOR, ""), request.session_hash or ""
    if not visitor or not page:
        raise SessionError("This browser sent no cookie. Allow cookies for this page, then load it again.")
    return visitor, page


def _return_memory() -> None:
    """What is free goes back to the machine: glibc would keep some of it after every visitor, up to a tenth."""
    with suppress(OSError, AttributeError, TypeError):  # another system, another C library
        ctypes.CDLL(None).malloc_trim(0)


class SessionMiddleware:
    """ASGI middleware: gives a browser its cookie, serves what it keeps, and keeps it out of others' pages."""

    def __init__(self, app: Any, sessions: Sessions):
        self._app = app
        self._sessions = sessions
        self._streams: Counter[str] = Counter()  # visitor -> how many are open

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
            send = with_cookie(send, cookie, secure=scope["scheme"] == "https")
        visitor = visitor_of(cookie, request.headers.get("authorization", ""))
        scope[VISITOR] = visitor
        self._sessions.touch(visitor)
        if found := KEPT_PATH.search(path):
            kept = self._sessions.get(found[1], visitor)
            answer = answer_of(kept, lambda: self._sessions.get(found[1], visitor) is kept)
            await answer(scope, receive, send)
            return
        heartbeat = HEARTBEAT_PATH.search(path)
        page = heartbeat[1] if heartbeat else request.query_params.get("session_hash", "")
        if page and not self._sessions.owns(visitor, page):
            await PlainTextResponse(ELSEWHERE, 403)(scope, receive, send)
            return
        if STREAM_PATH.search(path) is None:
            await self._app(scope, receive, send)
        elif self._streams[visitor] >= VISITOR_STREAMS:
            await PlainTextResponse(TOO_MANY_TABS, 429)(scope, receive, send)
        else:
            await self._stream(visitor, scope, receive, send)

    async def _stream(self, visitor: str, scope: Any, receive: Any, send: Any) -> None:
        self._streams[visitor] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._streams[visitor] -= 1
            if not self._streams[visitor]:
                del self._streams[visitor]
