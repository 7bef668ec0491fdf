"""`skingpt4 serve` as a program of its own: what it prints, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from clients import asks, body, data_url
from demo_process import ROOT, until

KEY = "a-key-that-is-secret"
WORD = "hippopotamus"


@contextmanager
def serving(log: Path, *arguments: str, key: str = KEY) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The program and its address, once it is ready."""
    environment = {**os.environ, "SKINGPT4_API_KEY": key, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "skingpt4", "serve", "--port", "0", *arguments]
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file, env=environment) as process:
        try:
            assert until(lambda: process.poll() is not None or "Ready." in log.read_text(), 90)
            found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
            assert process.poll() is None and found, log.read_text()
            yield process, found[0]
        finally:
            process.kill()


@pytest.mark.slow
def test_nothing_of_a_request_is_printed_whatever_becomes_of_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(log) as (process, url):
        with httpx.Client(base_url=url, headers={"authorization": f"Bearer {KEY}"}, timeout=60) as client:
            statuses = [
                client.post("/v1/chat/completions", json=request).status_code
                for request in (
                    body(f"Is it {WORD}?"),
                    body(messages=[asks(f"Is it {WORD}?", data_url(WORD.encode()))]),
                    body(model=WORD),
                    body(**{WORD: WORD}),
                    body(messages=[asks("What is it?", f"https://{WORD}.example/")]),
                )
            ]
            statuses.append(client.get(f"/{WORD}?q={WORD}").status_code)
            statuses.append(client.get("/v1/models", headers={"authorization": f"Bearer {WORD}"}).status_code)
            statuses.append(client.post("/v1/report", content=WORD.encode()).status_code)
        assert statuses == [200, 400, 404, 400, 400, 404, 401, 400]
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as line:
            line.sendall(f"{WORD}\r\n\r\n".encode())
            assert line.recv(1000).startswith(b"HTTP/1.1 400")
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    told = log.read_text()
    assert WORD not in told and KEY not in told
    assert told.splitlines() == [f"Listening at {url}/v1 with an API key. Loading the model …", "Ready."]


@pytest.mark.slow
def test_what_cannot_be_loaded_ends_the_program_with_the_reason() -> None:
    command = [sys.executable, "-m", "skingpt4", "serve", "--port", "0", "--options", "model.ckpt=/nowhere.pth"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 2
    assert "/nowhere.pth" in done.stderr and "Traceback" not in done.stderr


def test_another_host_without_a_key_is_refused_before_anything_is_loaded() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "SKINGPT4_API_KEY"}
    command = [sys.executable, "-m", "skingpt4", "serve", "--host", "0.0.0.0"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**environment, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 2 and "SKINGPT4_API_KEY" in done.stderr and "Loading" not in done.stdout
