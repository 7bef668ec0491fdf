"""What stands between the network and the page: every measure is a small ASGI layer, the outermost first.

Gradio would fetch addresses that a client names, answer other web sites' requests and serve pages for developers;
none of that reaches it.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from skingpt4.demo.server.access import Access
from skingpt4.demo.server.headers import SafeHeaders
from skingpt4.web.address import origin_host

if TYPE_CHECKING:
    from starlette.middleware import Middleware
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

API = "/gradio_api"
# Of Gradio's routes, those that a visit needs. The rest (deep links, monitoring, OpenAPI, the proxy, the API for
# programs, the functions of components, the pages for developers, /file= with its paths and addresses) does not exist;
# the files of visitors are served by `SessionMiddleware` and `UploadMiddleware` in front of these.
PAGES = {"/", "/config", "/theme.css", "/favicon.ico", "/robots.txt", "/manifest.json"}
PAGES |= {f"{API}/{name}" for name in ("info", "theme.css", "queue/data", "upload_progress")}
FOLDERS = ("/assets/", "/static/", "/svelte/", f"{API}/heartbeat/")
CALLS = {f"{API}/{name}" for name in ("queue/join", "cancel", "reset")}
RUN = f"{API}/run/"  # what needs no queue

BODY_LIMIT_BYTES = 1 << 20  # questions and settings; pictures come by the upload
WRONG_PASSWORDS_PER_MINUTE = 10


def middlewares(access: Access, *inside: Middleware) -> list[Middleware]:
    """The layers for a page that listens and admits as `access` says; `inside`: layers that stand before Gradio's
    routes but behind everything that keeps strangers out.
    """
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    layers = [
        Middleware(SafeHeaders),
        Middleware(TrustedHostMiddleware, allowed_hosts=access.host_names, www_redirect=False),
        Middleware(SameOrigin, origins=access.origins),
    ]
    if access.accounts:
        layers.append(Middleware(Accounts, accounts=access.accounts))
    return [*layers, Middleware(OwnPath, prefix=access.path), *inside, Middleware(Routes, hosts=access.host_names)]


class SameOrigin:
    """Refuses what other web sites let a visitor's browser send here, and addresses that a client says it came by."""

    def __init__(self, app: ASGIApp, origins: list[str]):
        self._app, self._origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import Headers, MutableHeaders

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self._is_foreign(scope["method"], headers):
            await _refuse(scope, receive, send, 403, "This page answers no requests of other web sites.")
            return
        scope = {**scope, "headers": list(scope["headers"])}
        believed = MutableHeaders(scope=scope)  # Gradio would tell the browser to go where these say
        del believed["x-forwarded-host"], believed["x-gradio-server"]
        await self._app(scope, receive, send)

    def _is_foreign(self, method: str, headers: Any) -> bool:
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins and origin_host(origin) != headers.get("host"):
            return True
        a_link = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
        a_link = a_link and headers.get("sec-fetch-dest") == "document"
        return headers.get("sec-fetch-site") in ("cross-site", "same-site") and not a_link


class Accounts:
    """Names and passwords (HTTP Basic), asked before anything is shown.

    Ten wrong ones in a minute, and new visitors wait; who is in stays in.
    """

    def __init__(self, app: ASGIApp, accounts: dict[str, str]):
        self._app, self._accounts = app, accounts
        self._admitted: set[str] = set()
        self._wrong: deque[float] = deque(maxlen=WRONG_PASSWORDS_PER_MINUTE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import Headers

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("authorization", "")
        if given in self._admitted:
            await self._app(scope, receive, send)
        elif len(self._wrong) == WRONG_PASSWORDS_PER_MINUTE and monotonic() - self._wrong[0] < 60:
            await _refuse(scope, receive, send, 429, "Too many wrong passwords. Wait a minute and try again.")
        elif self._is_right(given):
            self._admitted.add(given)
            await self._app(scope, receive, send)
        else:
            if given:
                self._wrong.append(monotonic())
            ask = {"www-authenticate": 'Basic realm="SkinGPT-4", charset="UTF-8"'}
            await _refuse(scope, receive, send, 401, "A name and a password are needed.", ask)

    def _is_right(self, given: str) -> bool:
        scheme, _, encoded = given.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        expected = self._accounts.get(user, "")  # compared for unknown users too: the time tells nothing
        return secrets.compare_digest(password.encode(), expected.encode()) and user in self._accounts


class OwnPath:
    """A reverse proxy may pass on the path as the browser asked for it, e.g. /skin/config, or without /skin."""

    def __init__(self, app: ASGIApp, prefix: str):
        self._app, self._prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if self._prefix and (path == self._prefix or path.startswith(f"{self._prefix}/")):
            scope = {**scope, "path": path[len(self._prefix) :] or "/"}
        await self._app(scope, receive, send)


class Routes:
    """Lets through to Gradio what a visit needs, and nothing that would make this server fetch an address."""

    def __init__(self, app: ASGIApp, hosts: list[str]):
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http" or not _is_needed(scope["method"], scope["path"]):
            await _refuse(scope, receive, send, 404, "There is no such page.")
        elif scope["method"] == "POST":
            await self._call(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import Headers

        body = await _read(receive)
        asked = urlsplit(f"//{Headers(scope=scope).get('host', '')}").hostname or ""  # a trusted one by now
        if body is None:
            return  # nobody is there to be answered
        if len(body) > BODY_LIMIT_BYTES:
            await _refuse(scope, receive, send, 413, "That is too long. Shorten it and try again.")
        elif not _names_no_address(body, [*self._hosts, asked]):
            await _refuse(scope, receive, send, 400, "This page takes files that were added to it, and no addresses.")
        else:
            await self._app(scope, _replay(body, receive), send)


def _is_needed(method: str, path: str) -> bool:
    if method in ("GET", "HEAD"):
        return path in PAGES or path.startswith(FOLDERS)
    return method == "POST" and (path in CALLS or path.startswith(RUN))


def _is_address(text: str) -> bool:
    """Whether a file's path is no path: http://host, HTTP:/host (a proxy merges slashes), //host, data:…"""
    start = text.strip().lower()
    return start.startswith(("//", "\\\\")) or "://" in start or ":" in start.split("/")[0]


def _names_no_address(body: bytes, hosts: list[str]) -> bool:
    """Whether a call's JSON is well-formed and no file in it, however deep, lies on another computer."""
    clean = True

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:  # every pair: of two equal keys a parser may take either
        nonlocal clean
        for key, value in pairs:
            if key == "path":
                clean &= value is None or (isinstance(value, str) and not _is_address(value))
            if key == "url":
                clean &= value is None or (isinstance(value, str) and _is_own(value, hosts))
        return dict(pairs)

    try:
        json.loads(body, object_pairs_hook=look)
    except (ValueError, RecursionError):
        return False
    return clean


def _is_own(url: str, hosts: list[str]) -> bool:
    """Whether the address of a file, as the page's own script sends it back, leads to this page."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return (parts.scheme in ("", "blob") and not parts.netloc) or host in hosts or f"[{host}]" in hosts


async def _read(receive: Receive) -> bytes | None:
    """A request's body, of one that is too long its begin; None where the line broke or was cut before its end.

    `web/connections.py` cuts it where nothing more comes, so this does not wait for ever.
    """
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > BODY_LIMIT_BYTES or not message.get("more_body", False):
            return body


def _replay(body: bytes, receive: Receive) -> Receive:
    told = False

    async def replayed() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


async def _refuse(
    scope: Scope, receive: Receive, send: Send, status: int, why: str, headers: dict[str, str] | None = None
) -> None:
    from starlette.responses import PlainTextResponse

    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await PlainTextResponse(why, status, headers)(scope, receive, send)
