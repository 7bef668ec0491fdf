"""Every Python and YAML block of README and documentation does what its page says, word for word.

Each runs in a folder with what its reader would have: a photograph, an exported model, a server.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from documented import PAGES, ROOT
from PIL import Image

from skingpt4.cli import main
from skingpt4.config import load_settings
from skingpt4.tiny.renderer import disease_description, render

SERVED = "http://localhost:8000/v1"  # where a page says that the server is; a test takes a free port
# Text of a block -> what it prints.
PRINTS = {
    "import OpenAI": "skin disease image of psoriasis",
    "image-text-to-text": "skin disease image of psoriasis",
    "make_report": "Plaque",
    "load_model": "skin disease image of psoriasis",
}


@dataclass(frozen=True)
class Block:
    """place: page and line."""

    place: str
    text: str


def blocks(language: str) -> list[Block]:
    """Those of README and documentation that are marked as this language."""
    found = []
    for pattern in PAGES:
        for page in sorted(ROOT.glob(pattern)):
            text = page.read_text(encoding="utf-8")
            for block in re.finditer(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
                line = text.count("\n", 0, block.start()) + 1
                found.append(Block(f"{page.relative_to(ROOT).as_posix()}:{line}", block[1]))
    return found


def by_place(block: Block) -> str:
    return block.place


def exported_model(here: Path) -> None:
    assert main(["export", "--to", "transformers", "--out", str(here / "my-model")]) == 0


# What a block names -> what makes it.
MAKERS: dict[str, Callable[[Path], None]] = {"my-model": exported_model}


@contextmanager
def serving(here: Path) -> Iterator[str]:
    """The address of a server of the small model."""
    command = [sys.executable, "-m", "skingpt4", "serve", "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if name != "SKINGPT4_API_KEY"}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with (
        (here / "log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as process,
    ):
        try:
            assert process.stdout
            said = ""
            for line in process.stdout:
                said += line
                if line.startswith("Ready"):
                    break
            listening = re.search(r"http://\S+/v1", said)
            assert listening, said + (here / "log").read_text()
            yield listening[0]
        finally:
            process.terminate()
            process.communicate()


def run(block: Block, text: str) -> None:
    """As typed into Python: what an expression gives is printed."""
    typed = ast.Interactive(ast.parse(text).body)
    exec(compile(typed, block.place, "single"), {"__name__": "__main__"})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a photograph."""
    rng = np.random.default_rng(3)
    Image.fromarray(render(disease_description("psoriasis", rng), rng).image).save(tmp_path / "photo.jpg", quality=95)
    for name in ("after.jpg", "arm.jpg"):
        shutil.copy(tmp_path / "photo.jpg", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_blocks() -> None:
    assert len(blocks("python")) >= 5 and len(blocks("yaml")) >= 3
    assert all(any(words in block.text for words in PRINTS) for block in blocks("python"))


@pytest.mark.slow
@pytest.mark.parametrize("block", blocks("python"), ids=by_place)
def test_python_runs(block: Block, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, make in MAKERS.items():
        if name in block.text:
            make(here)
    if SERVED in block.text:
        pytest.importorskip("openai", reason="the client of OpenAI is not installed (extra `test`)")
        with serving(here) as address:
            run(block, block.text.replace(SERVED, address))
    else:
        run(block, block.text)
    expected = next(text for words, text in PRINTS.items() if words in block.text)
    assert expected in capsys.readouterr().out


@pytest.mark.parametrize("block", blocks("yaml"), ids=by_place)
def test_settings_are_those_that_there_are(block: Block, tmp_path: Path) -> None:
    """In a folder beside the shipped ones, as a page says."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "vicuna13b").symlink_to(ROOT / "configs" / "vicuna13b")
    (tmp_path / "mine" / "own.yaml").write_text(block.text, encoding="utf-8")
    assert load_settings(tmp_path / "mine" / "own.yaml")
