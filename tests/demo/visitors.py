"""Visitors of a running page over real HTTP, as browsers are: with a cookie jar and a session hash per tab."""

from __future__ import annotations

import html
import io
import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
import httpx
from PIL import Image
from starlette.middleware import Middleware

from skingpt4.demo.visitors.sessions import SessionMiddleware, Sessions
from skingpt4.demo.visitors.uploads import UploadMiddleware, Uploads
from skingpt4.errors import ImageError


class Tab:
    """One open tab. browser: the HTTP client with the cookies, which several tabs may share."""

    def __init__(self, url: str, browser: httpx.Client | None = None):
        self.browser = browser or httpx.Client(base_url=url, trust_env=False, timeout=180)
        self.page = uuid.uuid4().hex
        self.browser.get("/", headers={"accept": "text/html"}).raise_for_status()
        public = [
            each for each in self.browser.get("/config").json()["dependencies"] if each["api_visibility"] == "public"
        ]
        self.functions = {re.sub(r"_\d+$", "", each["api_name"]): each["id"] for each in public}

    def upload(self, data: bytes, name: str = "IMG_0001.JPG") -> dict[str, Any]:
        """A file value, as the page's script makes it of the server's answer."""
        answer = self.browser.post("/gradio_api/upload", files={"files": (name, data)})
        assert answer.status_code == 200, answer.text
        return file_value(answer.json()[0], name)

    def told(self, function: str, *values: Any) -> str:
        """What the page's lines of state say in the end."""
        return last_told(self.steps(function, *values))

    def call(self, function: str, *values: Any) -> list[Any]:
        """What a handler of the page returned at the end."""
        return self.steps(function, *values)[-1]

    def steps(self, function: str, *values: Any) -> list[list[Any]]:
        """All that it yielded; only the last of it is whole. Raises `RuntimeError` with what the visitor is told."""
        body = {"data": list(values), "fn_index": self.functions[function], "session_hash": self.page}
        event = self.browser.post("/gradio_api/queue/join", json=body).raise_for_status().json()["event_id"]
        shown = []
        with self.browser.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.page}) as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
                if message.get("event_id") != event or message["msg"] not in (
                    "process_generating",
                    "process_completed",
                ):
                    continue
                if not message["success"]:
                    raise RuntimeError(message["output"]["error"])
                shown.append(message["output"]["data"])
                if message["msg"] == "process_completed":
                    return shown
        raise RuntimeError("the line broke")


def last_told(steps: list[list[Any]]) -> str:
    """The last line of status; the advice on a photograph is a section of its own, not such a line."""
    return html.unescape(re.findall(r'<div class="line" role="status">([^<]*)<', str(steps))[-1])


def file_value(path: str, name: str = "IMG_0001.JPG") -> dict[str, Any]:
    return {
        "path": path,
        "url": f"/gradio_api/file={path}",
        "orig_name": name,
        "meta": {"_type": "gradio.FileData"},
    }


def jpeg(size: tuple[int, int] = (64, 48), colour: tuple[int, int, int] = (200, 120, 90), **named: Any) -> bytes:
    """A JPEG of one colour; named: of `PIL.Image.save`."""
    with io.BytesIO() as file:
        Image.new("RGB", size, colour).save(file, "JPEG", **{"quality": 95, **named})
        return file.getvalue()


@contextmanager
def served(page: gr.Blocks, *layers: Middleware) -> Iterator[str]:
    """The URL of a page behind these layers, on a free port of this computer."""
    page.launch(prevent_thread_lock=True, quiet=True, share=False, ssr_mode=False, app_kwargs={"middleware": [*layers]})
    try:
        yield page.local_url
    finally:
        page.close(verbose=False)


@contextmanager
def upload_page(sessions: Sessions, uploads: Uploads) -> Iterator[str]:
    """The URL of a page in this process that takes uploads and tells a picture's size, or what is wrong with it."""

    def look(path: str, request: gr.Request) -> str:
        try:
            return str(uploads.take({"path": path}, request).size)
        except ImageError as error:
            return str(error)

    with gr.Blocks(analytics_enabled=False) as blocks:
        gr.Textbox().submit(look, blocks.children[0], gr.Textbox(), api_name="look")
    layers = Middleware(SessionMiddleware, sessions=sessions), Middleware(UploadMiddleware, uploads=uploads)
    with served(blocks, *layers) as url:
        yield url
