"""`demo.py` on the embedded default as a program of its own: what it turns to, starts, writes, tells, takes of memory.

`python demo_process.py` starts it, visits it and ends it, for a test that wants all of that in a network namespace.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
LISTENING = "socket.bind"
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.sendto")
PROGRAMS = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.fork")
FILES = ("os.rename", "os.link", "os.symlink", "os.mkdir", "shutil.copyfile", "tempfile.mkstemp")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/")


def note_events() -> None:
    """Python runs this, as `sitecustomize`, before the program and before every Python that the program starts."""
    notes = os.open(os.environ["DEMO_NOTES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    noted = {LISTENING, *NETWORK, *PROGRAMS, *FILES}

    def note(event: str, values: tuple[Any, ...]) -> None:
        if event in noted or (event == "open" and (values[2] or 0) & WRITING):
            os.write(notes, json.dumps([event, repr(values[:3])]).encode() + b"\n")

    sys.addaudithook(note)


@dataclass
class Server:
    """A running one. home: its HOME and TMPDIR, where its notes and what it told stay after its end."""

    process: subprocess.Popen[bytes]
    url: str
    home: Path

    def events(self, *names: str) -> list[str]:
        """Values of the events of these names, so far."""
        noted = [json.loads(line) for line in (self.home / "notes").read_text().splitlines()]
        return [values for event, values in noted if event in names]

    @property
    def written(self) -> list[str]:
        """What was opened for writing, made or renamed so far."""
        return self.events("open", *FILES)

    @property
    def logged(self) -> str:
        """All that it printed, on either stream."""
        return (self.home / "log").read_text()

    @property
    def folder(self) -> Path:
        """The private folder, found by who has it open."""
        opened = [Path(each).resolve() for each in Path(f"/proc/{self.process.pid}/fd").iterdir()]
        return next(place for place in opened if place.name.startswith("skingpt4-page-"))

    @property
    def memory_bytes(self) -> int:
        return int(self.status("VmRSS").split()[0]) * 1024

    @property
    def peak_bytes(self) -> int:
        """Of resident memory since `forget_peak`."""
        return int(self.status("VmHWM").split()[0]) * 1024

    def forget_peak(self) -> int:
        """Returns the memory that is taken now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self.memory_bytes

    def status(self, name: str) -> str:
        """What the kernel says of the process under this name."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(line for line in lines if line.startswith(f"{name}:")).partition(":")[2].strip()

    def end(self, number: int = signal.SIGTERM) -> int:
        """The exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def started(home: Path, *arguments: str, environment: Mapping[str, str] = {}) -> Iterator[Server]:
    """`python demo.py` with these arguments, on a free port, once it says where it is; ended unless it has ended."""
    (home / "sitecustomize.py").write_text("import demo_process\n\ndemo_process.note_events()\n")
    own = {
        "PYTHONPATH": os.pathsep.join(map(str, (home, ROOT, TESTS))),
        "PYTHONDONTWRITEBYTECODE": "1",  # else caches of modules were among the files that it writes
        "DEMO_NOTES": str(home / "notes"),
        "HOME": str(home),
        "TMPDIR": str(home),
    }
    command = [sys.executable, str(ROOT / "demo.py"), "--port", "0", *arguments]
    with (
        (home / "log").open("w") as log,
        subprocess.Popen(command, env={**os.environ, **own, **environment}, stdout=log, stderr=log) as process,
    ):
        server = Server(process, "", home)
        try:
            until(lambda: process.poll() is not None or ADDRESS.search(server.logged) is not None, 90)
            address = ADDRESS.search(server.logged)
            assert address, f"the program did not start: {server.logged}"
            server.url = address[0]
            yield server
        finally:
            process.terminate()
            try:
                process.wait(30)
            finally:
                process.kill()  # a program that hangs must not hang the tests


def until(true: Callable[[], bool], seconds: float = 30) -> bool:
    """Whether something becomes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.1)
    return False


def visit(url: str, picture_name: str = "photograph.jpg", question: str = "What is it?") -> str:
    """Add a picture and ask; returns all that the page was told to show at the end, as JSON."""
    from visitors import Tab, jpeg

    tab = Tab(url)
    tab.call("look", tab.upload(jpeg(), picture_name))
    config = tab.browser.get("/config").json()
    values = {each["id"]: each["props"].get("value") for each in config["components"]}  # as nobody touched them
    widgets = next(each["inputs"] for each in config["dependencies"] if each["id"] == tab.functions["ask"])
    return json.dumps(tab.steps("ask", question, *(values[number] for number in widgets[1:])))


def main() -> int:
    import tempfile

    sys.path.insert(0, str(TESTS / "demo"))  # for `visitors`, where no pytest has done it
    with tempfile.TemporaryDirectory() as home, started(Path(home)) as server:
        print(visit(server.url))
        return server.end()


if __name__ == "__main__":
    sys.exit(main())
