"""Nobody reads what another one gave or got, and it is forgotten in time: through Gradio's real server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import httpx
import pytest
from demo_process import until
from starlette.middleware import Middleware
from visitors import Tab, served

from skingpt4.demo.visitors import kept as kept_module
from skingpt4.demo.visitors import sessions as sessions_module
from skingpt4.demo.visitors.sessions import COOKIE, SessionError, SessionMiddleware, Sessions

ELSEWHERE = "This page belongs to another browser. Load it again."


class Talk:
    """What a page holds in these tests."""

    is_empty = False

    def __init__(self) -> None:
        self.said: list[str] = []
        self.left = 0

    def leave(self) -> None:
        self.left += 1


@pytest.fixture(scope="module")
def sessions() -> Iterator[Sessions]:
    with Sessions() as opened:
        yield opened


@pytest.fixture(scope="module")
def talks() -> list[Talk]:
    """Every talk that was begun."""
    return []


@pytest.fixture(scope="module")
def url(sessions: Sessions, talks: list[Talk]) -> Iterator[str]:
    with served(page_of(sessions, talks), Middleware(SessionMiddleware, sessions=sessions)) as opened:
        yield opened


def asking(visitor: str, page: str) -> gr.Request:
    """A handler's request."""
    request = gr.Request(session_hash=page)
    request.request = type("Request", (), {"scope": {sessions_module.VISITOR: visitor}})()
    return request


def page_of(sessions: Sessions, talks: list[Talk]) -> gr.Blocks:
    """A page with handlers that use sessions as the demo's do."""

    def begin() -> Talk:
        talks.append(Talk())
        return talks[-1]

    def keep(name: str, media_type: str, text: str, request: gr.Request) -> str:
        sessions.check(request)  # the page is known from here on
        return sessions.keep(request, name, media_type, text.encode())

    def report(again: str, request: gr.Request) -> str:
        """What is ready only after the tab was closed, which may have begun anew."""
        talk = sessions.hold(request, begin)
        until(lambda: talk.left > 0)
        if again:
            sessions.hold(asking(*sessions.check(request)), begin)
        try:
            return sessions.keep(request, "report.html", "text/html", b"a report")
        except SessionError as error:
            return str(error)

    def say(text: str, request: gr.Request) -> str:
        try:
            talk = sessions.hold(request, begin)
        except SessionError as error:
            return str(error)
        talk.said.append(text)
        return ", ".join(talk.said)

    def forget(request: gr.Request) -> None:
        sessions.forget(request)

    with gr.Blocks(analytics_enabled=False) as page:
        boxes, shown = [gr.Textbox() for _ in range(3)], gr.Textbox()
        boxes[0].submit(keep, boxes, shown, api_name="keep")
        boxes[1].submit(say, boxes[0], shown, api_name="say")
        boxes[2].submit(forget, None, None, api_name="restart")
        boxes[0].change(report, boxes[0], shown, api_name="report")
        page.unload(forget)
    return page


@pytest.fixture
def tab(url: str) -> Tab:
    return Tab(url)


def kept(tab: Tab, name: str = "report.html", media_type: str = "text/html", text: str = "a report") -> str:
    """The URL of a file that the page made."""
    return tab.call("keep", name, media_type, text)[0]


def test_the_owner_gets_a_file_as_a_download_that_no_cache_keeps(tab: Tab) -> None:
    answer = tab.browser.get(kept(tab, "Bericht für Ärzte.html", text="<b>ä</b>"))
    assert answer.text == "<b>ä</b>"
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''Bericht%20f%C3%BCr%20%C3%84rzte.html"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_pictures_are_shown_and_a_drawing_that_may_hold_a_script_is_not(tab: Tab) -> None:
    ways = [
        tab.browser.get(kept(tab, "x", media_type)).headers["content-disposition"].split(";")[0]
        for media_type in ("image/png", "image/jpeg", "image/svg+xml", "application/pdf")
    ]
    assert ways == ["inline", "inline", "attachment", "attachment"]


def test_a_line_end_in_a_name_makes_no_header(tab: Tab) -> None:
    answer = tab.browser.get(kept(tab, "x\r\nSet-Cookie: a=b"))
    assert answer.status_code == 200 and "set-cookie" not in answer.headers


def test_a_url_is_of_no_use_to_another_browser_or_none(tab: Tab, url: str) -> None:
    path = kept(tab)
    assert tab.browser.get(path).status_code == 200
    assert Tab(url).browser.get(path).status_code == 404
    assert httpx.get(f"{url.rstrip('/')}{path}", trust_env=False).status_code == 404


def test_another_account_in_the_same_browser_is_somebody_else(tab: Tab) -> None:
    path = kept(tab)
    assert tab.browser.get(path, headers={"authorization": "Basic b3RoZXI6cHc="}).status_code == 404


def test_another_browser_cannot_use_a_page_whose_hash_it_knows(tab: Tab, url: str) -> None:
    assert tab.call("say", "mine") == ["mine"]
    stranger = Tab(url)
    stranger.page = tab.page
    body = {"data": ["and mine"], "fn_index": stranger.functions["say"], "session_hash": tab.page}
    called = stranger.browser.post("/gradio_api/run/say", json=body)
    assert called.json().get("data") == [ELSEWHERE]
    # the end of a heartbeat would make the page forget
    for path in (f"/gradio_api/queue/data?session_hash={tab.page}", f"/gradio_api/heartbeat/{tab.page}"):
        with stranger.browser.stream("GET", path) as heard:  # of a line that never ends only the beginning is read
            assert heard.status_code == 403
    assert tab.call("say", "again") == ["mine, again"]


def test_a_handler_refuses_a_page_of_another_browser_on_its_own(tab: Tab, url: str, sessions: Sessions) -> None:
    """A call's body holds the hash as well, where the layer before Gradio does not look."""
    tab.call("say", "mine")
    stranger = Tab(url)
    body = {"data": ["x"], "fn_index": stranger.functions["say"], "session_hash": tab.page}
    stranger.browser.post("/gradio_api/queue/join", json=body).raise_for_status()
    with tab.browser.stream("GET", "/gradio_api/queue/data", params={"session_hash": tab.page}) as stream:
        assert any(ELSEWHERE in line for line in stream.iter_lines())
    assert tab.call("say", "again") == ["mine, again"]


def test_without_a_cookie_nothing_is_kept(url: str) -> None:
    tab = Tab(url)
    tab.browser.cookies.clear()
    assert tab.call("say", "x") == ["This browser sent no cookie. Allow cookies for this page, then load it again."]


def test_the_cookie_is_for_the_server_only_and_stays_the_same(url: str) -> None:
    browser = httpx.Client(base_url=url, trust_env=False)
    assert "set-cookie" not in browser.get("/config").headers
    first = browser.get("/", headers={"accept": "text/html"}).headers["set-cookie"]
    assert first.startswith(f"{COOKIE}=") and first.split("; ")[1:] == ["Path=/", "HttpOnly", "SameSite=Lax"]
    assert "set-cookie" not in browser.get("/", headers={"accept": "text/html"}).headers
    through_https = {"accept": "text/html", "x-forwarded-proto": "https"}
    assert httpx.get(url, headers=through_https, trust_env=False).headers["set-cookie"].endswith("; Secure")


def test_starting_again_forgets_this_tab_and_leaves_the_other(tab: Tab, url: str, talks: list[Talk]) -> None:
    other = Tab(url, tab.browser)
    paths = [kept(each) for each in (tab, other)]
    tab.call("say", "a")
    mine = talks[-1]
    other.call("say", "b")
    tab.call("restart")
    assert [tab.browser.get(path).status_code for path in paths] == [404, 200]
    assert mine.left == 1
    assert (tab.call("say", "c"), other.call("say", "d")) == (["c"], ["b, d"])


def test_a_closed_tab_is_forgotten(tab: Tab, talks: list[Talk]) -> None:
    path = kept(tab)
    tab.call("say", "a")
    mine = talks[-1]
    with tab.browser.stream("GET", f"/gradio_api/heartbeat/{tab.page}") as heartbeat:
        lines = heartbeat.iter_lines()  # while it lives, the line is open
        assert next(lines) == "data: ALIVE"
        assert tab.browser.get(path).status_code == 200
    assert until(lambda: tab.browser.get(path).status_code == 404)
    assert mine.left == 1


@pytest.mark.parametrize("again", ["", "again"])
def test_what_is_ready_after_the_tab_was_closed_is_kept_for_nobody(
    again: str, tab: Tab, sessions: Sessions, talks: list[Talk]
) -> None:
    before, begun = sessions.size, len(talks)
    with tab.browser.stream("GET", f"/gradio_api/heartbeat/{tab.page}") as heartbeat, ThreadPoolExecutor(1) as pool:
        lines = heartbeat.iter_lines()
        assert next(lines) == "data: ALIVE"
        told = pool.submit(tab.call, "report", again)
        assert until(lambda: len(talks) > begun)
        heartbeat.close()
    assert told.result() == ["This page was closed or started again."]
    assert sessions.size == before


def test_a_visitor_holds_few_pages_and_all_together_not_too_many(
    url: str, talks: list[Talk], sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, begun = Tab(url), len(talks)
    tabs = [first, *[Tab(url, first.browser) for _ in range(sessions_module.VISITOR_HELD)]]
    path = None
    for number, tab in enumerate(tabs):
        assert tab.call("say", "a") == ["a"]
        if number == 1:
            path = kept(tab)
            first.call("say", "b")  # so the second is the least recently used
    assert [talk.left for talk in talks[begun:]] == [0, 1, *[0] * (len(tabs) - 2)]
    assert path is not None and first.browser.get(path).status_code == 404
    monkeypatch.setattr(sessions_module, "ALL_HELD", len(sessions._held))
    assert Tab(url).call("say", "a") == [kept_module.FULL]
    assert Tab(url, first.browser).call("say", "a") == ["a"]  # in the place of another one of theirs


def test_an_idle_browser_is_forgotten_and_one_in_use_is_not(talks: list[Talk]) -> None:
    with (
        Sessions(idle_seconds=1.5) as sessions,
        served(page_of(sessions, talks), Middleware(SessionMiddleware, sessions=sessions)) as url,
    ):
        idle, used = Tab(url), Tab(url)
        paths = [kept(tab) for tab in (idle, used)]
        idle.call("say", "a")
        mine = talks[-1]
        assert until(lambda: used.browser.get(paths[1]).status_code == 200 and mine.left == 1)
        assert sessions.size == len("a report")
        assert idle.browser.get(paths[0]).status_code == 404


def test_closing_forgets_everything(talks: list[Talk]) -> None:
    sessions = Sessions()
    with served(page_of(sessions, talks), Middleware(SessionMiddleware, sessions=sessions)) as url:
        tabs = [Tab(url), Tab(url)]
        paths = [kept(tab) for tab in tabs]
        for tab in tabs:
            tab.call("say", "a")
        sessions.close()
        assert [tab.browser.get(path).status_code for tab, path in zip(tabs, paths, strict=True)] == [404, 404]
        assert sessions.size == 0
        assert [talk.left for talk in talks[-2:]] == [1, 1]


def test_the_urls_lie_below_the_path_of_a_proxy() -> None:
    with Sessions("/skin/") as sessions:
        request = asking("a", "page")
        sessions.hold(request, Talk)
        assert sessions.keep(request, "a b.pdf", "application/pdf", b"x").startswith("/skin/kept/")
