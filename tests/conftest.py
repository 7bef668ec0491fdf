"""What every test may ask for: a small random model in the published formats."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from system_browser import CHROMIUM, QUIET

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from skingpt4.model.skingpt4 import SkinGPT4
    from skingpt4.processor import Processor
    from skingpt4.settings import Settings


@pytest.fixture(scope="session")
def tiny_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with random `eva_vit.pth`, `blip2_qformer.pth`, `llm/` and `skingpt4.pth`; do not write to it."""
    from tiny_models import write_checkpoints

    folder = tmp_path_factory.mktemp("tiny_checkpoints")
    write_checkpoints(folder)
    return folder


@pytest.fixture
def tiny_settings(tiny_checkpoints: Path, tmp_path: Path) -> Settings:
    """Fresh settings of those checkpoints: fp32 on the CPU, output below `tmp_path`."""
    from tiny_models import settings_for

    settings = settings_for(tiny_checkpoints)
    settings.run.output_dir = str(tmp_path / "output")
    return settings


@pytest.fixture
def tiny_model(tiny_settings: Settings) -> tuple[SkinGPT4, Processor]:
    """The model of `tiny_settings` with its processor, loaded through the normal path; a new one for each test."""
    from skingpt4.weights.build import build_model

    return build_model(tiny_settings)


@pytest.fixture
def terminal_signals() -> Iterator[None]:
    """SIGINT and SIGHUP as on a terminal. A shell's background job is started with the first ignored, one under `nohup`
    with the second, and so are that job's children.
    """
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB, or of what the parameter says. (Mounting one needs root.)"""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = f"size={getattr(request, 'param', '256k')}"
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], capture_output=True, text=True)
    if mount.returncode:
        pytest.skip(f"no small file system can be mounted here: {mount.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="session", autouse=True)
def no_real_user_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the file of `skingpt4 weights use` that belongs to whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One per module: while it runs, the thread has an event loop, which other tests would stumble over."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: `apt-get install chromium`)")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()
