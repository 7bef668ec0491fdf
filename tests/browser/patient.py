"""What a visitor does in front of the page, in a real browser."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from skingpt4.demo.page import words

PATIENCE_MS = 60_000
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
PHOTOGRAPHS = Path(__file__).parents[3] / "shared" / "data" / "isic" / "images"


def photograph(folder: Path, number: int = 0) -> Path:
    """A real one where there are some, else one drawn by the package."""
    real = sorted(PHOTOGRAPHS.glob("*.jpg"))
    if real:
        return real[number]
    return saved(drawing(number), folder / f"drawn_{number}.jpg")


def drawing(number: int = 0, disease: str = "melanoma") -> Image.Image:
    """A synthetic picture, 448 x 448."""
    from skingpt4.tiny.renderer import disease_description, render

    rng = np.random.default_rng([7, number])
    return Image.fromarray(render(disease_description(disease, rng), rng).image).resize((448, 448))


def saved(image: Image.Image, path: Path, **named: Any) -> Path:
    image.save(path, **named)
    return path


def encoded(image: Image.Image, kind: str, **named: Any) -> bytes:
    with io.BytesIO() as file:
        image.save(file, kind, **named)
        return file.getvalue()


expect.set_options(timeout=PATIENCE_MS)  # what is expected comes; when, is for the machine to say

# The photograph stands there, or the place for one is empty again.
_ANSWERED = """() => document.querySelector('#photograph img')?.checkVisibility()
    || document.querySelector('#upload input[type=file]:not([data-given])')"""


class Patient:
    """One visitor with one open tab. requests: the addresses that the tab turned to; faults: what its console told."""

    def __init__(self, page: Page, url: str):
        self.page, self.url = page, url
        self.requests: list[str] = []
        self.faults: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda told: self.faults.append(told.text) if told.type == "error" else None)

    def open(self) -> None:
        self.page.goto(self.url)
        expect(self.button(words.ACCEPT)).to_be_visible()

    def accept(self) -> None:
        """Open the page and accept what must be read first."""
        self.open()
        self.button(words.ACCEPT).click()
        expect(self.at("upload")).to_be_visible()

    def add(self, file: Path) -> None:
        """Give a photograph; waits until it is there, or refused."""
        given = self.page.locator("#upload input[type=file]")
        given.evaluate("input => input.dataset.given = 'yes'")
        given.set_input_files(file)
        self.page.wait_for_function(_ANSWERED, timeout=PATIENCE_MS)

    def begin(self, file: Path) -> None:
        """Accept, and give a photograph that is taken."""
        self.accept()
        self.add(file)
        expect(self.at("photo_status")).to_have_text(words.READY)

    def describe(self) -> str:
        """Press the one button; returns the answer."""
        self.at("start").click()
        return self.answer(1)

    def ask(self, question: str, number: int) -> str:
        """Type a question; returns its answer, the conversation's `number`-th."""
        self.type(question)
        return self.answer(number)

    def type(self, question: str) -> None:
        self.page.fill("#question textarea", question)
        self.page.press("#question textarea", "Enter")

    @property
    def box(self) -> Locator:
        """Where questions are typed."""
        return self.page.locator("#question textarea")

    def answer(self, number: int) -> str:
        """The conversation's `number`-th answer, once it is whole."""
        expect(self.at("chat").locator(".message.bot")).to_have_count(number)
        self.wait()
        return self.said("bot")[-1]

    def wait(self) -> None:
        """Until nothing is being made."""
        expect(self.at("stop")).to_be_hidden()
        expect(self.at("ask")).to_be_visible()

    def said(self, role: str) -> list[str]:
        """All messages of "user" or "bot"."""
        return [text.strip() for text in self.at("chat").locator(f".message.{role}").all_inner_texts()]

    def set(self, **numbers: float) -> None:
        """Settings of the expert drawer, by their label."""
        if not self.page.get_by_label("Seed").is_visible():
            self.button(words.EXPERTS).click()
        for label, number in numbers.items():
            box = self.page.locator("#experts input[type=number]").nth(SETTINGS.index(label))
            # A drawer that has just been opened puts its defaults in once more; and Gradio's script takes a number up a
            # moment later, by the page's own clock.
            for _ in range(20):
                box.fill(str(number))
                box.press("Tab")
                self.page.evaluate("() => new Promise(done => setTimeout(() => setTimeout(done, 350), 350))")
                if float(box.input_value()) == number:
                    break

    def report(self) -> dict[str, bytes]:
        """Press the button for the report; returns its files by the labels of their links."""
        self.at("report").click()
        links = self.at("downloads").get_by_role("link")
        expect(links.first).to_be_visible()
        self.wait()
        files = {}
        for link in links.all():
            with self.page.expect_download() as download:
                link.click()
            files[link.inner_text()] = Path(download.value.path()).read_bytes()
        return files

    def restart(self) -> None:
        self.at("restart").click()
        expect(self.at("upload")).to_be_visible()

    def shown(self, name: str) -> list[int]:
        """Width and height in pixels of the picture that `name` shows, once the browser has loaded it."""
        picture = self.at(name).locator("img")
        loaded = "image => image.complete && image.naturalWidth > 0"
        self.page.wait_for_function(loaded, arg=picture.element_handle(), timeout=PATIENCE_MS)
        size: list[int] = picture.evaluate("image => [image.naturalWidth, image.naturalHeight]")
        return size

    def at(self, name: str) -> Locator:
        return self.page.locator(f"#{name}")

    def button(self, text: str) -> Locator:
        return self.page.get_by_role("button", name=text)

    def stored(self) -> list[str]:
        """What the page left in the browser."""
        if self.page.is_closed():
            return []
        script = """async () => [...Object.keys(localStorage), ...Object.keys(sessionStorage),
            ...(await indexedDB.databases()).map(each => each.name), ...await caches.keys(), document.cookie]"""
        return [left for left in self.page.evaluate(script) if left]


SETTINGS: Sequence[str] = ("temperature", "top_p", "longest", "penalty", "beams", "seed")
