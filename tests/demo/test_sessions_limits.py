"""What visitors leave behind, and how much: each may keep something, nobody all of the memory."""

from __future__ import annotations

import anyio
import pytest
from demo_process import until
from starlette.requests import ClientDisconnect
from test_sessions import Talk, asking
from visitors import Tab

from skingpt4.demo.server.launch import OpenPage
from skingpt4.demo.visitors import kept as kept_module
from skingpt4.demo.visitors import sessions as sessions_module
from skingpt4.demo.visitors.answers import SLICE_BYTES, answer_of
from skingpt4.demo.visitors.sessions import SessionError, Sessions


def test_what_no_tab_asked_for_goes_with_the_tab_or_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "SWEEP_SECONDS", 0.1)
    with Sessions() as sessions:
        sessions.hold(asking("a", "page"), Talk)
        sessions.add("a", None, "x", "image/png", b"photograph")
        sessions.add("b", None, "x", "image/png", b"of another")
        sessions.forget(asking("a", "page"))
        assert sessions.size == len(b"of another")
        monkeypatch.setattr(kept_module, "UNCLAIMED_SECONDS", 0.3)
        assert until(lambda: sessions.size == 0)


def test_names_of_pages_are_not_collected_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "ALL_PAGES", 50)
    with Sessions() as sessions:
        talk = sessions.hold(asking("a", "held"), Talk)
        for number in range(100):
            assert sessions.owns("a", f"page {number}")
        assert len(sessions._owners) == sessions_module.VISITOR_PAGES
        for number in range(100):
            assert sessions.owns(f"visitor {number}", f"page of {number}")
        assert (len(sessions._owners), len(sessions._used)) == (50, 50)
        assert sessions.hold(asking("a", "held"), Talk) is talk


def test_one_visitor_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_module, "VISITOR_BYTES", 100)
    monkeypatch.setattr(kept_module, "ALL_BYTES", 250)
    with Sessions() as sessions:
        tokens = [sessions.add("a", "page", "x", "text/plain", bytes(40)) for _ in range(5)]
        assert [sessions.get(token, "a") is not None for token in tokens] == [False] * 3 + [True] * 2
        sessions.add("b", "page of b", "x", "text/plain", bytes(100))
        with pytest.raises(SessionError, match=r"nothing more can be kept. Try again later"):
            sessions.add("c", "page of c", "x", "text/plain", bytes(100))
        assert sessions.get(tokens[-1], "a") is not None


def test_pages_that_hold_nothing_of_use_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "ALL_HELD", 3)
    with Sessions() as sessions:
        talks = [sessions.hold(asking(f"visitor {number}", f"page {number}"), Talk) for number in range(3)]
        for talk in talks[1:]:
            talk.is_empty = True
        assert sessions.held(asking("visitor 1", "page 1")) is talks[1]
        sessions.hold(asking("visitor 1", "page 1"), Talk)  # now page 2 was used the longest ago
        sessions.hold(asking("new", "page"), Talk)
        assert [talk.left for talk in talks] == [0, 0, 1]
        assert sessions.held(asking("visitor 2", "page 2")) is None
        sessions.hold(asking("newer", "another page"), Talk)
        assert [talk.left for talk in talks] == [0, 1, 1]
        with pytest.raises(SessionError, match="nothing more can be kept"):
            sessions.hold(asking("newest", "a third page"), Talk)


def test_to_ask_what_a_page_holds_makes_it_hold_nothing() -> None:
    with Sessions() as sessions:
        for number in range(10):
            assert sessions.held(asking("a", f"page {number}")) is None
        assert sessions._held == {}
        with pytest.raises(SessionError, match="another browser"):
            sessions.held(asking("b", "page 0"))


def test_a_kept_file_goes_out_in_slices_until_it_is_forgotten() -> None:
    data = bytes(range(256)) * (SLICE_BYTES // 100)
    sent: list[bytes] = []

    with Sessions() as sessions:
        sessions.hold(asking("a", "page"), Talk)
        token = sessions.add("a", "page", "x.html", "text/html", data)
        kept = sessions.get(token, "a")

        async def fetch(forgotten_after: int) -> None:
            answer = answer_of(kept, lambda: sessions.get(token, "a") is kept)
            assert answer.headers["content-length"] == str(len(data))
            async for part in answer.body_iterator:  # type: ignore[attr-defined]
                sent.append(bytes(part))
                if len(sent) == forgotten_after:
                    sessions.forget(asking("a", "page"))

        anyio.run(fetch, 0)
        assert b"".join(sent) == data and max(map(len, sent)) == SLICE_BYTES
        sent.clear()
        with pytest.raises(ClientDisconnect):
            anyio.run(fetch, 1)
        assert len(sent) == 1


@pytest.mark.parametrize("function", ["stop", "restart"])
def test_whoever_has_no_photograph_takes_no_place(page: OpenPage, function: str) -> None:
    other = Tab(page.local_url)
    before = len(page.sessions._held)
    body = {"data": [], "fn_index": other.functions[function], "session_hash": other.page}
    other.browser.post("/gradio_api/run/predict", json=body).raise_for_status()
    assert len(page.sessions._held) == before
