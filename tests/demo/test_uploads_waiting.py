"""Pictures that have arrived and wait to be decoded: not without end, and not for visitors who went away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from demo_process import until
from test_uploads_slow import begun
from visitors import Tab, jpeg, upload_page

from skingpt4.demo.visitors.sessions import Sessions
from skingpt4.demo.visitors.uploads import BUSY, WAITING_PICTURES, Uploads


class Slow:
    """A page whose decoder waits until `go_on` before each picture. decoded: how many it began with."""

    def __init__(self, sessions: Sessions, uploads: Uploads):
        self.sessions, self.uploads = sessions, uploads
        self.go_on = threading.Event()
        self.decoded = 0
        self._decode = uploads._decoder.decode
        uploads._decoder.decode = self.decode  # type: ignore[method-assign]
        self.url = ""

    def decode(self, data: bytes) -> bytes:
        self.decoded += 1
        assert self.go_on.wait(60)
        return self._decode(data)

    @property
    def waiting(self) -> int:
        return self.uploads._turn.statistics().tasks_waiting


@pytest.fixture
def page() -> Iterator[Slow]:
    with Sessions() as sessions, Uploads(sessions) as uploads:
        slow = Slow(sessions, uploads)
        with upload_page(sessions, uploads) as slow.url:
            try:
                yield slow
            finally:
                slow.go_on.set()


def test_a_picture_whose_sender_went_away_is_not_decoded(page: Slow) -> None:
    first, tab = Tab(page.url), Tab(page.url)
    with ThreadPoolExecutor(1) as pool, ExitStack() as gone:
        value = pool.submit(first.upload, jpeg())
        assert until(lambda: page.decoded == 1)
        for _ in range(5):
            line = gone.enter_context(begun(Tab(page.url), page.url))
            sent = len(b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n') + 5000
            line.sendall(bytes(9000 - sent - len(b"\r\n--x--\r\n")) + b"\r\n--x--\r\n")
        assert until(lambda: page.waiting == 5)
        gone.close()
        page.go_on.set()
        assert first.call("look", value.result()["path"]) == ["(64, 48)"]
    assert tab.call("look", tab.upload(jpeg())["path"]) == ["(64, 48)"]
    assert page.decoded == 2


def test_beyond_so_many_that_wait_a_picture_is_refused(page: Slow) -> None:
    tabs = [Tab(page.url) for _ in range(WAITING_PICTURES + 2)]
    with ThreadPoolExecutor(len(tabs)) as pool:
        values = [pool.submit(tab.upload, jpeg()) for tab in tabs[:-1]]
        assert until(lambda: page.waiting == WAITING_PICTURES)
        assert tabs[-1].call("look", tabs[-1].upload(jpeg())["path"]) == [BUSY]
        page.go_on.set()
        seen = [tab.call("look", value.result()["path"]) for tab, value in zip(tabs, values, strict=False)]
    assert seen == [["(64, 48)"]] * (WAITING_PICTURES + 1)


def test_what_no_page_has_asked_for_cannot_be_fetched(page: Slow) -> None:
    page.go_on.set()
    tab = Tab(page.url)
    path = tab.upload(jpeg())["path"]
    (kept,) = page.sessions._files._kept.values()
    answer: httpx.Response = tab.browser.get(f"/kept/{Path(path).stem}/photograph.png")
    assert answer.status_code == 404 and kept.data.startswith(b"\x89PNG")
