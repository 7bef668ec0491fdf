"""Connections, bodies that come slowly, and what the program sees to before it serves."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from clients import Running, body
from demo_process import until
from huggingface_hub import constants, is_offline_mode

from skingpt4.serving import guard
from skingpt4.serving.app import routes
from skingpt4.serving.launch import PHOTOGRAPH_PATHS
from skingpt4.web.process import fetch_nothing


def connected(server: Running) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=30)


def test_a_crowd_is_let_in_while_the_server_is_busy(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel keeps them; with uvicorn's short queue it would drop what comes after the first few."""
    busy, go_on = threading.Event(), threading.Event()

    def slow() -> bytes:
        busy.set()
        go_on.wait(60)
        return b""

    monkeypatch.setattr(server.app.metrics, "text", slow)
    with ExitStack() as stack:
        stack.callback(go_on.set)
        asking = stack.enter_context(connected(server))
        asking.sendall(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert busy.wait(30)
        crowd = [stack.enter_context(connected(server)) for _ in range(200)]
        go_on.set()
        crowd[-1].sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert crowd[-1].recv(100).startswith(b"HTTP/1.1 200")


def test_photographs_may_take_their_time() -> None:
    posted = {route.path for route in routes.routes if "POST" in route.methods}  # type: ignore[attr-defined]
    assert len(posted) == 2 and all(map(PHOTOGRAPH_PATHS.search, posted))


def test_a_request_that_does_not_arrive_is_told_so(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "ARRIVING_SECONDS", 0.1)
    with connected(server) as line:
        head = (
            b"POST /v1/report HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99\r\n"
        )
        line.sendall(head + b'\r\n{"image": ')
        assert line.recv(1000).startswith(b"HTTP/1.1 408")
    monkeypatch.undo()
    with server.http() as client:
        assert client.post("/v1/chat/completions", json=body()).status_code == 200
    assert until(lambda: server.app.places.taken == 0)


def test_nothing_is_fetched_though_the_hub_was_imported_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    fetch_nothing()
    assert is_offline_mode() and os.environ["HF_HUB_OFFLINE"] == "1"
