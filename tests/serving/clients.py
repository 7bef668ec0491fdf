"""A server in this process over real HTTP, and what its clients send."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import openai
from PIL import Image

from skingpt4.chat.conversation import Chat
from skingpt4.serving.app import Application
from skingpt4.serving.launch import server_for
from skingpt4.serving.service import Service
from skingpt4.settings import Settings
from skingpt4.web.address import Address, listen


class Running:
    """A server. url: without a path. chat: as the server uses it."""

    def __init__(self, app: Application, url: str):
        self.app, self.url = app, url

    @property
    def chat(self) -> Chat:
        assert self.app.service is not None
        return self.app.service.chat

    def openai(self, key: str = "none", **more: Any) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=120, **more)

    def http(self, **more: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, trust_env=False, timeout=120, **more)


@contextmanager
def running(chat: Chat | None, settings: Settings, key: str = "", **more: Any) -> Iterator[Running]:
    """Without a chat it is one whose model is not loaded yet."""
    at = Address(port=0)
    with listen(at) as listening:
        app = Application(at, key, **more)
        if chat is not None:
            app.service = Service(chat, settings, app.places, app.metrics)
        server = server_for(app)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                thread.join(0.01)
            yield Running(app, f"http://127.0.0.1:{listening.getsockname()[1]}")
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def picture(colour: tuple[int, int, int] = (200, 150, 130), side: int = 96) -> Image.Image:
    """Something like skin with a spot."""
    image = Image.new("RGB", (side, side), colour)
    image.paste((150, 60, 60), (side // 4, side // 4, side // 2, side // 2))
    return image


def png(image: Image.Image) -> bytes:
    with io.BytesIO() as file:
        image.save(file, "PNG")
        return file.getvalue()


def data_url(image: Image.Image | bytes | None = None) -> str:
    content = image if isinstance(image, bytes) else png(image or picture())
    return "data:image/png;base64," + base64.b64encode(content).decode()


def asks(text: str, *urls: str) -> dict[str, Any]:
    """A user's message with pictures."""
    shown = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"role": "user", "content": [*shown, {"type": "text", "text": text}]}


def body(text: str = "What is it?", **more: Any) -> dict[str, Any]:
    """A whole request."""
    return {"model": "skingpt4", "messages": [asks(text, data_url())], "max_tokens": 8, **more}
