"""What visitors leave behind, and how much: each may keep something, nobody all of the memory."""

from __future__ import annotations

import pytest
from demo_process import until
from test_sessions import Talk, asking

from skingpt4.demo.visitors import kept as kept_module
from skingpt4.demo.visitors import sessions as sessions_module
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
