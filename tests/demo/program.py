"""`demo.py` on the embedded default as a program of its own, and what it writes, logs and takes of memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
# Python runs this before the program. Every file that is opened for writing, made or renamed is told in a list.
WATCH = """
import os, sys
told = os.open(os.environ["WRITTEN"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
def tell(event, arguments):
    if event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        os.write(told, f"{arguments[0]}\\n".encode())
    elif event in ("os.rename", "os.link", "os.symlink", "os.mkdir", "shutil.copyfile", "tempfile.mkstemp"):
        os.write(told, f"{arguments}\\n".encode())
sys.addaudithook(tell)
"""


@dataclass
class Program:
    """A running one. home: where its HOME and TMPDIR are."""

    process: subprocess.Popen[str]
    url: str
    home: Path

    @property
    def folder(self) -> Path:
        """The private folder, found by who has it open."""
        places = [Path(link) for link in open_files(self.process.pid)]
        return next(place for place in places if place.name.startswith("skingpt4-page-"))

    @property
    def memory_bytes(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    @property
    def peak_bytes(self) -> int:
        """Of resident memory since `forget_peak`."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    @property
    def written(self) -> list[str]:
        """What was opened for writing, made or renamed so far."""
        return (self.home / "written").read_text().splitlines()

    @property
    def logged(self) -> str:
        return (self.home / "log").read_text()


def open_files(pid: int) -> list[str]:
    links = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(os.readlink(each))
        except OSError:
            continue
    return links


@contextmanager
def running(home: Path) -> Iterator[Program]:
    """Started, on a free port; ended by SIGTERM unless it has ended."""
    (home / "sitecustomize.py").write_text(WATCH)
    environment = os.environ | {
        "PYTHONPATH": f"{home}{os.pathsep}{ROOT}",
        "HOME": str(home),
        "TMPDIR": str(home),
        "WRITTEN": str(home / "written"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(ROOT / "demo.py"), "--device", "cpu"]
    with (
        (home / "log").open("w") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, text=True) as process,
    ):
        try:
            yield Program(process, _url(process, home / "log"), home)
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(30)


def until(true: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether something becomes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.1)
    return False


def _url(process: subprocess.Popen[str], log: Path) -> str:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        for word in log.read_text().split():
            if word.startswith("http://127.0.0.1:"):
                return word
        time.sleep(0.05)
    raise AssertionError(f"the program did not start: {log.read_text()}")
