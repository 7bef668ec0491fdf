"""Clients that take connections and send nothing, over real sockets, and the log while faults repeat themselves."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from visitors import Tab

from skingpt4.demo.server.launch import OpenPage
from skingpt4.web import connections, logs

HEAD = b"GET /robots.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"
CALL = b"POST /gradio_api/cancel HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(connections, "BODY_SECONDS", 1.0)


@pytest.fixture
def line(page: OpenPage) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", page.port), timeout=10) as opened:
        yield opened


def closed_after(line: socket.socket, drip: bytes = b"", within: float = 8) -> float:
    """Seconds until the server closed, while `drip` is sent byte by byte. Raises `TimeoutError` where it does not."""
    start = time.monotonic()
    line.settimeout(0.2)
    while time.monotonic() - start < within:
        try:
            if drip:
                line.sendall(drip[:1])
                drip = drip[1:] or drip
            if not line.recv(65536):
                return time.monotonic() - start
        except TimeoutError:
            continue
        except (ConnectionResetError, BrokenPipeError):
            return time.monotonic() - start
    raise TimeoutError


def answer(line: socket.socket, request: bytes) -> bytes:
    """The answer to a whole request, read to its last byte."""
    line.sendall(request)
    head, _, body = b"", b"", b""
    while b"\r\n\r\n" not in head:
        head += line.recv(1)
    length = next(
        int(each.split(b":")[1]) for each in head.split(b"\r\n") if each.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += line.recv(length - len(body))
    return head


def test_who_sends_nothing_is_closed(line: socket.socket) -> None:
    assert 0.8 < closed_after(line) < 4


def test_a_head_in_drops_gets_no_more_time(line: socket.socket) -> None:
    assert 0.8 < closed_after(line, drip=HEAD[:-4] + b"\r\nX-Slow: " + b"x" * 1000) < 4


def test_a_byte_after_an_answer_does_not_hold_the_connection(line: socket.socket) -> None:
    assert b" 200 " in answer(line, HEAD)
    line.sendall(b"G")  # it ends uvicorn's keep-alive time
    assert closed_after(line) < 4


def test_a_connection_that_is_used_stays(line: socket.socket) -> None:
    for _ in range(4):
        assert b" 200 " in answer(line, HEAD)
        time.sleep(0.6)


def test_a_body_that_stops_is_cut(line: socket.socket) -> None:
    line.sendall(CALL + b'20\r\n\r\n{"event_id"')
    assert 0.8 < closed_after(line) < 4


def test_a_photograph_that_stops_is_cut(page: OpenPage, line: socket.socket, tab: Tab) -> None:
    cookies = "; ".join(f"{name}={value}" for name, value in tab.browser.cookies.items())
    form = b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000\r\n\r\n--b\r\n"
    line.sendall(f"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n".encode() + form)
    assert 0.8 < closed_after(line) < 4


def test_a_slow_body_is_read_to_its_end(line: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BODY_SECONDS", 30.0)
    body = json.dumps({"event_id": "x", "fn_index": 0, "session_hash": "x"}).encode()
    line.sendall(CALL.replace(b"cancel", b"reset") + f"{len(body)}\r\n\r\n".encode())
    for start in range(0, len(body), 15):
        line.sendall(body[start : start + 15])
        time.sleep(0.2)
    assert b" 200 " in answer(line, b"")


def test_a_body_in_drops_gets_no_more_time(line: socket.socket) -> None:
    line.sendall(CALL + b"900000\r\n\r\n{")
    assert closed_after(line, drip=b" ") < 6


def test_a_photograph_in_drops_is_left_to_the_upload(line: socket.socket, tab: Tab) -> None:
    cookies = "; ".join(f"{name}={value}" for name, value in tab.browser.cookies.items())
    form = b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000\r\n\r\n--b\r\n"
    line.sendall(f"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n".encode() + form)
    with pytest.raises(TimeoutError):
        closed_after(line, drip=b"x", within=3)


def test_a_call_that_was_cut_off_is_not_made(line: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    from skingpt4.demo.server import guard

    judged: list[bytes] = []
    monkeypatch.setattr(guard, "_names_no_address", lambda body, _: bool(judged.append(body)))
    line.sendall(CALL + b"20\r\n\r\n{}")  # well-formed as far as it came
    closed_after(line)
    time.sleep(0.2)
    assert judged == []


def test_an_answer_that_takes_long_is_not_cut(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BODY_SECONDS", 0.5)
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)
    heartbeat = tab.browser.stream("GET", f"/gradio_api/heartbeat/{tab.page}", timeout=3)
    with pytest.raises(httpx.ReadTimeout), heartbeat as opened:  # silent, and open still; a cut one ends
        for _ in opened.iter_raw():
            pass


def answering(body: bytes) -> Any:
    """The smallest server of one answer."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                await send({"type": f"{(await receive())['type']}.complete"})
            return
        length = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": body})

    return app


LITTLE_ROOM = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from contextlib import ExitStack
from types import SimpleNamespace
from skingpt4.web.logs import keep_out_of_logs
from skingpt4.demo.server.launch import _serve
from test_connections import answering
keep_out_of_logs()
listening = socket.create_server(("127.0.0.1", 0))
with ExitStack() as stack:
    _serve(answering(b"ok"), SimpleNamespace(close=lambda **_: None), listening, stack)
    print(listening.getsockname()[1], flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_with_few_files_four_hundred_silent_ones_shut_nobody_out() -> None:
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    server = subprocess.Popen(
        [sys.executable, "-c", LITTLE_ROOM],
        env=paths,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert server.stdin and server.stdout
    port = int(server.stdout.readline())
    with ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False, timeout=3).text == "ok"
    _, told = server.communicate(timeout=30)
    assert told == b""  # files never ran out


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_the_limit_of_files_is_raised() -> None:
    script = """
import resource
from skingpt4.web.connections import most_connections
from skingpt4.web.process import allow_many_files
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
assert most_connections() == 72
allow_many_files()
print(resource.getrlimit(resource.RLIMIT_NOFILE) == (8192 if hard < 0 else min(8192, hard), hard))
"""
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).stdout == b"True\n"


def test_equal_lines_of_the_log_are_told_once_in_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(logs, "monotonic", lambda: now)
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    monkeypatch.setattr(logging, "StreamHandler", lambda _: handler)
    before, level = logging.root.handlers[:], logging.root.level
    logging.root.handlers[:] = []  # `force=True` closes those that are there
    excepthook, unraisablehook = logs.threading.excepthook, sys.unraisablehook
    try:
        logs.keep_out_of_logs()
        for _ in range(1000):
            logging.getLogger("asyncio").error("socket.accept() out of system resource", exc_info=OSError(24, "x"))
            logs.LOGGER.error("elsewhere")
        now = 61.0
        logging.getLogger("asyncio").error("another", exc_info=OSError(24, "y"))
    finally:
        logging.root.handlers[:] = before
        logging.root.setLevel(level)
        logs.threading.excepthook, sys.unraisablehook = excepthook, unraisablehook
    assert out.getvalue().count("builtins.OSError") == 2 and out.getvalue().count("elsewhere") == 1
    assert "(and 999 times since it was last told)" in out.getvalue()
