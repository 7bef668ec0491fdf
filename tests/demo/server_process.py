"""The demo in a process of its own, as a user starts it, with a note of every address that it turns to.

`python server_process.py run LOG demo …` is that process; `python server_process.py visit` starts it, visits it and
ends it, for a test that wants all of that in a network namespace.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.sendto")
PROGRAMS = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.fork")


def run_noted(log: str, arguments: list[str]) -> int:
    """`skingpt4` with these arguments; from before its first import to its end, events are written into `log`."""
    notes = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(event: str, values: tuple[Any, ...]) -> None:
        if event in NETWORK or event in PROGRAMS or event == "socket.bind":
            os.write(notes, json.dumps([event, repr(values[:3])]).encode() + b"\n")

    sys.addaudithook(note)
    from skingpt4.cli import main

    return main(arguments)


@dataclass
class Server:
    """A running one. log: what it turned to, see `events`."""

    process: subprocess.Popen[str]
    url: str
    told: list[str]
    log: Path

    def events(self, *names: str) -> list[str]:
        """Values of the events of these names, so far."""
        noted = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [values for event, values in noted if event in names]

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Exit code, the rest of its output, and its log, after a signal."""
        self.process.send_signal(number)
        out, error = self.process.communicate(timeout=60)
        return self.process.returncode, out, error


@contextmanager
def started(folder: Path, *arguments: str, environment: Mapping[str, str] = {}) -> Iterator[Server]:
    """`skingpt4 demo` with these arguments, on a free port, once it says where it is. folder: for its notes."""
    log = folder / "events.jsonl"
    command = [sys.executable, __file__, "run", str(log), "demo", "--port", "0", *arguments]
    with subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            told: list[str] = []
            for line in process.stdout:
                told.append(line)
                if "http" in line:
                    break
            else:
                assert process.stderr is not None
                raise AssertionError(process.stderr.read())
            url = next(word for word in told[-1].split() if word.startswith("http"))
            yield Server(process, url, told, log)
        finally:
            process.kill()


def visit(url: str, picture_name: str = "photograph.jpg", question: str = "What is it?") -> str:
    """Add a picture and ask; returns all that the page was told to show at the end, as JSON."""
    sys.path.insert(0, str(HERE))
    from visitors import Tab, jpeg

    tab = Tab(url)
    tab.call("look", tab.upload(jpeg(), picture_name))
    config = tab.browser.get("/config").json()
    values = {each["id"]: each["props"].get("value") for each in config["components"]}  # as nobody touched them
    widgets = next(each["inputs"] for each in config["dependencies"] if each["id"] == tab.functions["ask"])
    return json.dumps(tab.steps("ask", question, *(values[number] for number in widgets[1:])))


def main() -> int:
    import tempfile

    with tempfile.TemporaryDirectory() as folder, started(Path(folder)) as server:
        print(visit(server.url))
        return server.end()[0]


if __name__ == "__main__":
    sys.exit(run_noted(sys.argv[2], sys.argv[3:]) if sys.argv[1] == "run" else main())
