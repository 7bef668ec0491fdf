"""Clients that read no answer, or hold their connections all the time, over real sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from demo_process import until
from test_connections import CALL, HEAD, answering, closed_after
from visitors import Tab

from skingpt4.demo.server.launch import OpenPage, _serve
from skingpt4.demo.visitors import sessions as sessions_module
from skingpt4.web import connections


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)


@contextmanager
def serving(app: Any) -> Iterator[socket.socket]:
    """A line to this application, whose kernel takes little of what it does not read."""
    with ExitStack() as stack:
        line = stack.enter_context(socket.socket())
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        listening = socket.create_server(("127.0.0.1", 0))
        _serve(app, SimpleNamespace(close=lambda **_: None), listening, stack)  # type: ignore[arg-type]
        line.connect(listening.getsockname())
        yield line


@pytest.mark.parametrize("reads", [True, False])
def test_who_reads_an_answer_slowly_gets_it_all_and_who_does_not_read_is_closed(reads: bool) -> None:
    size = 16 << 20  # more than the kernel takes
    with serving(answering(b"x" * size)) as line:
        line.sendall(HEAD)
        if not reads:
            time.sleep(3)
        got, start = 0, time.monotonic()
        with suppress(ConnectionResetError):
            while part := line.recv(1 << 20):
                got += len(part)
                time.sleep(max(0, start + 3 * got / size - time.monotonic()))  # three times what a head has
        assert (got > size) == reads


@pytest.mark.parametrize("reads", [True, False])
def test_an_answer_in_slices_waits_for_its_reader_but_not_for_ever(
    reads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "READ_SECONDS", 2.0)
    sent, size = [0], 8 << 20

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await answering(b"")(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        while sent[0] < size:
            sent[0] += 65536
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": sent[0] < size})

    with serving(app) as line:
        line.sendall(HEAD)
        got = 0
        if reads:
            while got < size:
                got += len(line.recv(1 << 20))
        else:
            time.sleep(1)
            assert sent[0] < 1 << 20  # what it does not read costs next to nothing, also in the kernel
        assert until(lambda: sent[0] >= size)  # what is sent on a line that was cut goes nowhere


def test_the_silent_make_room_for_who_asks(page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 60.0)
    monkeypatch.setattr(connections, "most_connections", lambda: 20)
    with ExitStack() as stack:
        lines = [stack.enter_context(socket.create_connection(("127.0.0.1", page.port))) for _ in range(60)]
        assert httpx.get(page.local_url, trust_env=False, timeout=5).status_code == 200
        assert closed_after(lines[0]) < 4
        with pytest.raises(TimeoutError):
            closed_after(lines[-1], within=2)


def taken_connections(monkeypatch: pytest.MonkeyPatch) -> list[connections.ConnectionWithDeadlines]:
    """Every connection that is made from here on, once it is."""
    taken: list[connections.ConnectionWithDeadlines] = []
    made = connections.ConnectionWithDeadlines.connection_made

    def connection_made(self: connections.ConnectionWithDeadlines, transport: Any) -> None:
        made(self, transport)
        taken.append(self)

    monkeypatch.setattr(connections.ConnectionWithDeadlines, "connection_made", connection_made)
    return taken


@pytest.mark.parametrize("awaited", [connections.BODY, connections.NOTHING])
def test_when_nobody_is_silent_the_oldest_makes_room(
    page: OpenPage, awaited: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HEAD_SECONDS", "BODY_SECONDS"):
        monkeypatch.setattr(connections, name, 60.0)
    monkeypatch.setattr(connections, "most_connections", lambda: 20)
    monkeypatch.setattr(sessions_module, "VISITOR_STREAMS", 100)
    request = CALL + b"900000\r\n\r\n{"
    taken = taken_connections(monkeypatch)
    with ExitStack() as stack:
        lines = []
        for number in range(20):
            lines.append(stack.enter_context(socket.create_connection(("127.0.0.1", page.port))))
            if awaited == connections.NOTHING:
                request = f"GET /gradio_api/heartbeat/{awaited}{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            lines[-1].sendall(request)
            assert until(lambda: [each._awaited for each in taken] == [awaited] * len(lines))
        assert httpx.get(page.local_url, trust_env=False, timeout=5).status_code == 200
        assert closed_after(lines[0]) < 4
        with pytest.raises(TimeoutError):
            closed_after(lines[-1], within=1)


def test_one_browser_holds_so_many_streams_and_no_more(page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    tab = Tab(page.local_url)
    with ExitStack() as stack:

        def code(path: str) -> int:
            return stack.enter_context(tab.browser.stream("GET", path)).status_code

        held = [code(f"/gradio_api/heartbeat/{tab.page}{number}") for number in range(20)]
        assert held == [200] * sessions_module.VISITOR_STREAMS + [429] * 4
        other = Tab(page.local_url)
        with other.browser.stream("GET", f"/gradio_api/heartbeat/{other.page}") as answered:
            assert answered.status_code == 200
    assert until(lambda: opens(tab))  # the others are closed by now


def opens(tab: Tab) -> bool:
    with tab.browser.stream("GET", f"/gradio_api/heartbeat/{tab.page}") as answered:
        return answered.status_code == 200
