"""Files that do not arrive, and pictures that take too long: nobody else waits for them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from upload_files import many_scans
from visitors import Tab, jpeg, upload_page

from skingpt4.demo.visitors import uploads as uploads_module
from skingpt4.demo.visitors.sessions import Sessions
from skingpt4.demo.visitors.uploads import TOO_MANY, Uploads
from skingpt4.errors import ImageError
from skingpt4.web.decoding import TOO_SLOW, Decoder, as_png


def test_a_picture_that_takes_too_long_ends_the_decoder() -> None:
    decoder = Decoder(seconds=3)
    try:
        with pytest.raises(ImageError, match=TOO_SLOW):
            decoder.decode(many_scans(10_000, 90))
        assert decoder.decode(jpeg()) == as_png(jpeg())
    finally:
        decoder.close()


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a page in this process that takes uploads, with little patience."""
    monkeypatch.setattr(uploads_module, "SILENT_SECONDS", 1.5)
    with Sessions() as sessions, Uploads(sessions) as uploads, upload_page(sessions, uploads) as url:
        yield url


def begun(tab: Tab, url: str) -> socket.socket:
    """A line on which all but the end of a form was sent."""
    address = httpx.URL(url)
    line = socket.create_connection((address.host, address.port or 80), 30)
    cookies = "; ".join(f"{name}={value}" for name, value in tab.browser.cookies.items())
    head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {address.host}\r\nCookie: {cookies}\r\nContent-Length: 9000\r\n"
    line.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode())
    line.sendall(b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n' + bytes(5000))
    return line


def test_a_stalled_upload_is_ended_and_a_third_one_waits(page: str) -> None:
    tab, other = Tab(page), Tab(page)
    with begun(tab, page) as first, begun(tab, page) as second:
        time.sleep(0.5)
        assert tab.call("look", tab.upload(jpeg())["path"]) == [TOO_MANY]
        assert other.call("look", other.upload(jpeg())["path"]) == ["(64, 48)"]
        for line in (first, second):
            answer = line.makefile("rb").read()
            assert answer.startswith(b"HTTP/1.1 408") and answer.endswith(uploads_module.TOO_SLOW.encode())
    assert tab.call("look", tab.upload(jpeg())["path"]) == ["(64, 48)"]


def test_an_upload_that_drips_is_ended_too(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads_module, "ARRIVING_SECONDS", 2.0)
    with begun(Tab(page), page) as line:
        for _ in range(5):
            time.sleep(0.3)
            line.sendall(b"x")
        assert line.makefile("rb").read().startswith(b"HTTP/1.1 408")
