"""The pictures of the page in `docs/`, on synthetic photographs.

`PYTHONPATH=tests python tests/browser/screenshots.py URL docs`
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from patient import PHONE, Patient, drawing, saved
from playwright.sync_api import sync_playwright
from system_browser import CHROMIUM, QUIET

from skingpt4.demo.page import words

LIGHT: dict[str, Any] = {"viewport": {"width": 1200, "height": 900}}
DARK = {**LIGHT, "color_scheme": "dark"}


def main(url: str, folder: Path) -> None:
    """Take them from a running page of the embedded default."""
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as files:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        picture = saved(drawing(disease="psoriasis"), Path(files) / "drawn.png")

        def visit(options: dict[str, Any]) -> Patient:
            patient = Patient(browser.new_context(**options).new_page(), url)
            patient.begin(picture)
            patient.describe()
            return patient

        def take(patient: Patient, name: str) -> None:
            patient.page.mouse.move(0, 0)
            patient.page.evaluate("window.scrollTo(0, 0)")
            patient.page.wait_for_timeout(800)
            patient.page.screenshot(path=folder / f"{name}.png", full_page=True)

        welcome = Patient(browser.new_context(**LIGHT).new_page(), url)
        welcome.accept()
        take(welcome, "demo_start")
        desk = visit(LIGHT)
        desk.button("What could be the cause?").click()
        desk.answer(2)
        take(desk, "demo")
        dark = visit(DARK)
        dark.ask("I also have a mole that has been bleeding.", 2)
        take(dark, "demo_red_flags")
        dark.report()
        dark.button(words.EXPERTS).click()
        dark.at("show_heatmap").click()
        dark.at("heatmap").wait_for()
        take(dark, "demo_experts")
        take(visit(PHONE), "demo_phone")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
