"""What a client can reach of Gradio, and that nothing it sends makes the server fetch an address; over real HTTP."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from visitors import Tab, file_value, jpeg

from skingpt4.demo.server import guard
from skingpt4.demo.server.launch import OpenPage

turned_to: list[str] = []  # names and addresses that this process asked for while `noting`
noting = False


def _note(event: str, values: tuple[Any, ...]) -> None:
    if noting and event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        turned_to.append(repr(values))


sys.addaudithook(_note)


def reachable(page: OpenPage) -> set[tuple[str, str]]:
    """Of all routes of Gradio and of the application around it, those that the guard lets a request through to."""
    routes = list(page.blocks.app.routes)
    routes += [inner for route in routes for inner in getattr(getattr(route, "original_router", None), "routes", [])]
    routes = [route for route in routes if hasattr(route, "methods")]
    assert len(routes) > 70
    return {
        (method, route.path)
        for route in routes
        for method in route.methods
        if guard._is_needed(method, re.sub(r"{.*?}", "x", route.path))
    }


def test_of_gradios_routes_a_visit_reaches_these_alone(page: OpenPage) -> None:
    assert {path for method, path in reachable(page) if method == "POST"} == {
        "/gradio_api/queue/join",
        "/gradio_api/cancel",
        "/gradio_api/reset",
        "/gradio_api/run/{api_name}",
        "/gradio_api/run/{api_name}/",
    }
    assert {path for method, path in reachable(page) if method != "POST"} == {
        "/",
        "/assets/{path:path}",
        "/config",
        "/favicon.ico",
        "/gradio_api/heartbeat/{session_hash}",
        "/gradio_api/info",
        "/gradio_api/queue/data",
        "/gradio_api/theme.css",
        "/gradio_api/upload_progress",
        "/manifest.json",
        "/robots.txt",
        "/static/{path:path}",
        "/svelte/{path:path}",
        "/theme.css",
    }


@pytest.mark.parametrize(
    "path",
    [
        "openapi.json",
        "docs",
        "redoc",
        "gradio_api/openapi.json",
        "gradio_api/deep_link?session_hash=x",
        "monitoring",
        "monitoring/summary",
        "gradio_api/runs",
        "gradio_api/mcp/sse",
        "gradio_api/mcp/",
        "gradio_api/file=/etc/hostname",
        "gradio_api/file/etc/hostname",
        "gradio_api/proxy=https://x.hf.space/",
        "gradio_api/dev/reload",
        "pwa_icon",
        "gradio_api/queue/status",
        "gradio_api/token",
        "gradio_api/app_id",
        "gradio_api/startup-events",
        "gradio_api/vibe-code",
        "gradio_api/profiling/summary",
        "gradio_api/custom_component/x/client/component/index.js",
        "login_check",
        "gradio_api/call/ask/x",
        "gradio_api/stream/x/1/2/playlist.m3u8",
    ],
)
def test_what_is_for_developers_does_not_exist(stranger: httpx.Client, path: str) -> None:
    with stranger.stream("GET", path) as answer:  # some would never end
        assert answer.status_code == 404 and answer.read() == b"There is no such page."


@pytest.mark.parametrize("path", ["call/ask", "call/v2/ask", "api/ask", "component_server", "process_recording", "x"])
def test_no_other_call_is_taken(stranger: httpx.Client, path: str) -> None:
    answer = stranger.post(f"gradio_api/{path}", json={"data": []})
    assert (answer.status_code, answer.text) == (404, "There is no such page.")


def test_nothing_is_recorded_counted_or_offered_to_programs(stranger: httpx.Client) -> None:
    config = stranger.get("/config").json()
    expected = {
        "footer_links": [], "run_history": False, "analytics_enabled": False, "pwa": False, "mcp_server": False,
        "monitoring_enabled": False, "is_space": False,
    }  # fmt: skip
    shown = {name: config[name] for name in expected if name in config}
    assert shown == {name: expected[name] for name in shown} and len(shown) >= 4


@pytest.fixture
def watched() -> Iterator[list[str]]:
    """What this process turned to since, but for the test's own client."""
    global noting
    turned_to.clear()
    noting = True
    yield turned_to
    noting = False


FETCHES = [
    "http://fetched.invalid/x.png", "https://fetched.invalid/x.png", "HTTP://fetched.invalid/x.png",
    "http:/fetched.invalid/x.png", "http%3A//fetched.invalid/x.png", "%68ttp://fetched.invalid/x.png",
    "http:%2f%2ffetched.invalid/x", "//fetched.invalid/x.png", "../x/gradio_api/file=http://fetched.invalid/x",
]  # fmt: skip


@pytest.mark.parametrize("address", FETCHES)
def test_the_server_fetches_nothing_that_a_client_asks_for(
    stranger: httpx.Client, page: OpenPage, watched: list[str], address: str
) -> None:
    for route in ("file=", "file/", "proxy="):
        for way in (f"gradio_api/{route}{address}", f"//gradio_api/{route}{address}"):
            answer = stranger.get(httpx.URL(page.local_url).copy_with(raw_path=f"/{way}".encode()))
            assert answer.status_code in (307, 404), answer.text
    assert [event for event in watched if str(page.port) not in event] == []


BAD_FILES = [
    {"path": "http://fetched.invalid/x.png"},
    {"path": "https://fetched.invalid/x.png"},
    {"path": " HTTP://fetched.invalid/x.png"},
    {"path": "http:/fetched.invalid/x.png"},
    {"path": "//fetched.invalid/x.png"},
    {"path": "\\\\fetched.invalid\\x.png"},
    {"path": "data:image/png;base64,AAAA"},
    {"path": ["http://fetched.invalid/x.png"]},
    {"path": {"path": "http://fetched.invalid/x.png"}},
    {"path": "x", "url": "http://fetched.invalid/x.png"},
    {"path": "x", "url": "//fetched.invalid/x.png"},
    {"path": "x", "url": "http://127.0.0.1@fetched.invalid/x.png"},
    {"path": "x", "url": "http://[fetched"},
    {"path": None, "url": "ftp://fetched.invalid/x.png"},
]


@pytest.mark.parametrize("file", BAD_FILES, ids=str)
@pytest.mark.parametrize("deep", [False, True])
def test_a_file_value_cannot_name_an_address(
    tab: Tab, page: OpenPage, watched: list[str], file: dict[str, Any], deep: bool
) -> None:
    value: Any = {**file, "meta": {"_type": "gradio.FileData"}}
    if deep:
        value = [{"content": [{"files": [value]}]}]
    body = {"data": [value], "fn_index": tab.functions["look"], "session_hash": tab.page}
    for path in ("/gradio_api/queue/join", "/gradio_api/run/look"):
        answer = tab.browser.post(path, json=body)
        assert (answer.status_code, answer.text[:9]) == (400, "This page")
    assert [event for event in watched if str(page.port) not in event] == []


@pytest.mark.parametrize(
    "raw",
    [
        rb'{"data": [{"path": "\u0068ttp://fetched.invalid/x", "meta": {"_type": "gradio.FileData"}}]}',
        rb'{"data": [{"p\u0061th": "http://fetched.invalid/x", "meta": {"_type": "gradio.FileData"}}]}',
        b'{"data": [{"path": "http://fetched.invalid/x", "path": "x", "meta": {"_type": "gradio.FileData"}}]}',
        b'{"data": [{"path": "x", "path": "http://fetched.invalid/x", "meta": {"_type": "gradio.FileData"}}]}',
        '{"data": [{"path": "http://fetched.invalid/x"}]}'.encode("utf-16"),
        b"[" * 100_000,
        b'{"data": [',
        b"path=http://fetched.invalid/x",
        b"",
    ],
    ids=lambda raw: repr(raw[:40]),
)
def test_nor_in_another_writing_of_it(stranger: httpx.Client, raw: bytes) -> None:
    answer = stranger.post("/gradio_api/run/look", content=raw, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.text[:9]) == (400, "This page")


def test_a_picture_that_was_added_is_taken_and_a_link_in_a_question_is_text(tab: Tab, page: OpenPage) -> None:
    file = tab.upload(jpeg())
    assert tab.call("look", file)
    as_in_a_browser = {**file_value(file["path"]), "url": f"{page.local_url}gradio_api/file={file['path']}"}
    assert tab.call("look", as_in_a_browser)
    assert guard._names_no_address(json.dumps({"data": ["see http://fetched.invalid/x"]}).encode(), [])


def test_a_call_has_an_end(stranger: httpx.Client) -> None:
    answer = stranger.post("/gradio_api/queue/join", json={"data": ["a" * guard.BODY_LIMIT_BYTES]})
    assert (answer.status_code, answer.text) == (413, "That is too long. Shorten it and try again.")
