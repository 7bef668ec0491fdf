"""From the click to the first word: the demo page in Chromium, beside the model alone.

Starts `demo.py` on the embedded default, adds drawn photographs in a headless Chromium and presses "Describe this
photograph"; the time ends when the first word of the answer stands on the page. Baseline: `Chat`'s own time to the
first token for the same photographs, in this process.

Command: python benchmarks/first_word.py [--visits N]
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from skingpt4 import Chat, load_model
from skingpt4.demo.page import words
from skingpt4.vocabulary import CLINICAL_PROMPTS

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "browser")]

from patient import Patient, drawing, saved  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FIRST_WORD = """([thinking]) => new Promise(resolve => {
    const start = performance.now(), said = () => document.querySelector('#chat .message.bot')?.innerText.trim()
    new MutationObserver((_, observer) => {
        if (said() && said() !== thinking) { observer.disconnect(); resolve(performance.now() - start) }
    }).observe(document.body, {subtree: true, childList: true, characterData: true})
    document.querySelector('#start').click()
})"""


@contextmanager
def demo() -> Iterator[str]:
    """The page's address."""
    command = [sys.executable, str(ROOT / "demo.py"), "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        try:
            yield next(word for line in program.stdout for word in line.split() if word.startswith("http://"))
        finally:
            program.terminate()


def page_seconds(pictures: list[Path]) -> list[float]:
    """Click to first word, one for each picture, all in one tab."""
    with demo() as url, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        patient = Patient(browser.new_page(), url)
        patient.accept()
        seconds = []
        for picture in pictures:
            patient.add(picture)
            expect(patient.at("start")).to_be_enabled()
            seconds.append(patient.page.evaluate(FIRST_WORD, [words.THINKING]) / 1000)
            patient.wait()
            patient.restart()
        browser.close()
    return seconds


def model_seconds(pictures: list[Path]) -> list[float]:
    """`Chat`'s own time to the first token."""
    chat = Chat(*load_model())
    seconds = []
    for picture in pictures:
        conversation = chat.start(picture)
        conversation.ask(CLINICAL_PROMPTS[0])
        assert conversation.timing is not None
        seconds.append(conversation.timing.first_token_seconds)
    return seconds


def main() -> None:
    """Print both, and the ratio of their medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visits", type=int, default=12)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pictures = [saved(drawing(number), Path(folder) / f"{number}.png") for number in range(arguments.visits)]
        page, model = page_seconds(pictures), model_seconds(pictures)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {arguments.visits} photographs")
    for name, seconds in {"click to first word, on the page": page, "first token, the model alone": model}.items():
        shown = f"median {statistics.median(seconds):.3f} s, longest {max(seconds):.3f} s"
        print(f"{name:34} {shown}, first {seconds[0]:.3f} s")
    print(f"ratio of the medians: {statistics.median(page) / statistics.median(model):.1f}")


if __name__ == "__main__":
    main()
