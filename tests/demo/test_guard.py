"""What stands between the network and the page, over real HTTP: a test for each measure. See also `test_fetches`."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import anyio
import httpx
import pytest
from demo_process import until
from visitors import Tab, jpeg

from skingpt4.chat.conversation import Chat
from skingpt4.demo.page.words import FAULT
from skingpt4.demo.server import guard
from skingpt4.demo.server.access import Access
from skingpt4.demo.server.headers import HEADERS, SafeHeaders
from skingpt4.demo.server.launch import OpenPage, open_page
from skingpt4.settings import Settings

# As the issue asks for it; more may be forbidden, nothing may be missing.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "object-src 'none'; frame-src 'none'; form-action 'self'; frame-ancestors 'none'"
)
ACCOUNTS = {"ann": "secret", "björn": "a:b ä"}
PROXY = "https://clinic.example/skin"


@pytest.fixture(scope="module")
def locked(chat: Chat, settings: Settings) -> Iterator[OpenPage]:
    """Behind a reverse proxy, with accounts."""
    with open_page(chat, settings, Access(accounts=ACCOUNTS, root_path=PROXY)) as opened:
        yield opened


def client(page: OpenPage, user: str = "") -> httpx.Client:
    auth = (user.encode(), ACCOUNTS[user].encode()) if user else None
    return httpx.Client(base_url=page.local_url, auth=auth, trust_env=False, timeout=30)


def an_asset(browser: httpx.Client) -> str:
    found = re.search(r"\./(assets/[\w./-]+\.js)", browser.get("/").text)
    assert found is not None
    return found[1]


def a_picture_of_its_own(tab: Tab) -> str:
    found = re.search(r"/kept/[\w-]+/[\w.%-]+", str(tab.steps("look", tab.upload(jpeg()))))
    assert found is not None
    return found[0]


def test_it_listens_on_this_computer_and_is_not_published(page: OpenPage, tunnels: list[int]) -> None:
    import psutil

    listening = [each for each in psutil.Process().net_connections("tcp") if each.status == "LISTEN"]
    assert [each.laddr.ip for each in listening if each.laddr.port == page.port] == ["127.0.0.1"]
    assert page.local_url == f"http://127.0.0.1:{page.port}/"
    assert tunnels == []


@pytest.mark.parametrize("kind", ["page", "asset", "nothing", "kept", "refused"])
def test_the_browser_may_load_nothing_from_elsewhere_and_keep_nothing(
    stranger: httpx.Client, tab: Tab, kind: str
) -> None:
    answer = {
        "page": lambda: stranger.get("/"),
        "asset": lambda: stranger.get(an_asset(stranger)),
        "nothing": lambda: stranger.get("/nothing"),
        "kept": lambda: tab.browser.get(a_picture_of_its_own(tab)),
        "refused": lambda: stranger.get("/", headers={"host": "evil.example"}),
    }[kind]()
    assert answer.status_code == {"nothing": 404, "refused": 400}.get(kind, 200)
    assert set(POLICY.split("; ")) <= set(answer.headers["content-security-policy"].split("; "))
    assert "unsafe-eval" not in answer.headers["content-security-policy"]
    assert answer.headers.get_list("cache-control") == ["no-store"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert not {"etag", "last-modified", "server"} & set(answer.headers)


FAULTY = {
    "no such function": ("POST", "/gradio_api/queue/join", {"data": [], "fn_index": 10**6, "session_hash": "f"}),
    "a name that is no file's": ("GET", f"/static/{'x' * 5000}", None),
}


@pytest.mark.parametrize("kind", FAULTY)
def test_an_answer_to_what_fails_in_gradio_has_the_same_headers(
    stranger: httpx.Client, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    method, path, body = FAULTY[kind]
    answer = stranger.request(method, path, json=body)
    assert answer.status_code == 500
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert until(lambda: "raised by way of" in caplog.text)  # logged after the answer
    assert "xxxxx" not in caplog.text + answer.text


def test_what_fails_in_a_layer_is_told_without_its_words_and_with_the_headers(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("Jane Doe")

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(SafeHeaders(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/")

    answer = anyio.run(ask)
    assert (answer.status_code, answer.text) == (500, FAULT)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "builtins.ValueError, raised by way of" in caplog.text and "Jane" not in caplog.text


def test_a_font_is_a_name_and_comes_from_nowhere(stranger: httpx.Client) -> None:
    for path in ("/", "/theme.css"):
        assert "fonts.g" not in stranger.get(path).text


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", "localhost.", "[::2]", "192.0.2.7:7860"])
def test_a_name_that_somebody_made_to_lead_here_is_refused(stranger: httpx.Client, name: str) -> None:
    assert stranger.get("/", headers={"host": name}).status_code == 400
    assert stranger.post("/gradio_api/queue/join", json={}, headers={"host": name}).status_code == 400


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
def test_its_own_names_are_answered_with_any_port(stranger: httpx.Client, name: str) -> None:
    assert stranger.get("/", headers={"host": f"{name}:8080"}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost", "file://", "http://["]
)
def test_other_web_sites_cannot_post_here_nor_read(stranger: httpx.Client, origin: str) -> None:
    for method, path in (("POST", "/gradio_api/cancel"), ("GET", "/config"), ("OPTIONS", "/gradio_api/queue/join")):
        answer = stranger.request(method, path, headers={"origin": origin, "access-control-request-method": "POST"})
        assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers


def test_its_own_scripts_can_post(stranger: httpx.Client, page: OpenPage) -> None:
    headers = {"origin": page.local_url.rstrip("/"), "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
    assert stranger.post("/gradio_api/reset", json={"event_id": "x"}, headers=headers).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_web_sites_may_link_here_but_not_embed(stranger: httpx.Client, site: str) -> None:
    link = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert stranger.get("/", headers=link).status_code == 200
    for embedded in ({"sec-fetch-dest": "iframe"}, {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}):
        assert stranger.get("/", headers=link | embedded).status_code == 403
    assert stranger.post("/gradio_api/reset", json={"event_id": "x"}, headers=link).status_code == 403


def test_a_client_does_not_choose_where_the_page_says_that_it_is(stranger: httpx.Client, page: OpenPage) -> None:
    for name in ("x-forwarded-host", "x-gradio-server"):
        config = stranger.get("/config", headers={name: "http://evil.example"}).json()
        assert config["root"] == page.local_url.rstrip("/")


@pytest.mark.parametrize("path", ["/", "/config", "/theme.css", "/kept/x", "/gradio_api/heartbeat/x", "/nothing"])
def test_without_a_password_nothing_is_shown(locked: OpenPage, path: str) -> None:
    with client(locked) as stranger, stranger.stream("GET", path) as answer:  # a heartbeat would never end
        assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Basic ")
        assert answer.read() == b"A name and a password are needed."


def test_whoever_has_one_comes_in_and_after_ten_wrong_ones_nobody_new_does(
    locked: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = [
        base64.b64encode(given).decode() for given in (b"ann:", b"ann:wrong", b":", b"eve:secret", b"ann", b"\xff:x")
    ]
    with client(locked) as stranger, client(locked, "ann") as ann, client(locked, "björn") as bjoern:
        assert ann.get("/").status_code == 200
        for given in [f"Basic {each}" for each in headers] + ["Basic ?", "Bearer secret", "basic", "x"]:
            assert stranger.get("/", headers={"authorization": given}).status_code == 401
        assert stranger.get("/", headers={"authorization": "Basic eA=="}).status_code == 429
        assert bjoern.get("/").status_code == 429  # the right one, but it might be a guess
        assert ann.get("/").status_code == 200
        monkeypatch.setattr(guard, "monotonic", lambda: float("inf"))
        assert bjoern.get("/").status_code == 200


def test_behind_a_reverse_proxy_its_name_and_path_are_the_pages_own(locked: OpenPage) -> None:
    with client(locked, "ann") as ann:
        for prefix in ("", "/skin"):  # as it passes the path on or cuts it
            headers = {"host": "clinic.example", "origin": "https://clinic.example"}
            config = ann.get(f"{prefix}/config", headers=headers)
            assert config.status_code == 200 and config.json()["root"] == PROXY
            assert ann.get(f"{prefix}/gradio_api/deep_link").status_code == 404
            assert ann.get(f"{prefix}/gradio_api/file=http://fetched.invalid/x").status_code == 404
            bad = {"data": [{"path": "http://fetched.invalid/x"}]}
            assert ann.post(f"{prefix}/gradio_api/run/look", json=bad).status_code == 400
        headers = {"host": f"127.0.0.1:{locked.port}", "origin": "https://clinic.example"}
        assert ann.get("/config", headers=headers).status_code == 200  # a proxy that puts its own name for the host
        assert ann.get("/config", headers={"origin": "https://clinic.example.evil"}).status_code == 403
        assert ann.get("/skinny/config").status_code == 404
