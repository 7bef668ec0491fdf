"""What docs/deploy says, run as far as it can be here."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from clients import picture, running
from demo_process import ROOT

from skingpt4.chat.conversation import Chat
from skingpt4.cli import build_parser
from skingpt4.settings import Settings

DEPLOY = ROOT / "docs" / "deploy"


def commands_of(name: str, pattern: str) -> str:
    found = re.search(pattern, (DEPLOY / name).read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{name} has no {pattern}"
    return found[1]


def test_the_program_of_the_page_runs_as_it_stands(chat: Chat, settings: Settings, tmp_path: Path) -> None:
    program = commands_of("README.md", r"```python\n(.*?)```")
    picture().save(tmp_path / "arm.jpg")
    with running(chat, settings, key="the-key") as server:
        program = program.replace("http://localhost:8000", server.url).replace("the key", "the-key")
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
        )
    answer, notice = done.stdout.rstrip("\n").rsplit("\n", 1)
    assert answer == chat.start(str(tmp_path / "arm.jpg")).ask(
        "Could you describe the skin disease in this image for me?"
    )
    assert "not a diagnosis" in notice


def test_the_commands_of_container_and_service_are_those_of_the_program() -> None:
    entry = json.loads(commands_of("Dockerfile", r"^ENTRYPOINT (\[.*?\])$"))
    start = shlex.split(commands_of("skingpt4.service", r"^ExecStart=(.*?)$"))
    for command in (entry, start):
        assert Path(command[0]).name == "skingpt4"
        assert build_parser().parse_args(command[1:]).run.__module__ == "skingpt4.commands.serve"


def test_the_containers_health_is_whether_the_model_is_loaded(chat: Chat, settings: Settings) -> None:
    command = json.loads(commands_of("Dockerfile", r"^HEALTHCHECK [^\n]*CMD (\[.*?\])$"))
    for loaded, code in ((None, 1), (chat, 0)):
        with running(loaded, settings, key="the-key") as server:
            program = command[-1].replace("8000", server.url.rsplit(":", 1)[1])
            environment = {**os.environ, "http_proxy": "http://127.0.0.1:9"}  # as Docker passes a clinic's proxy on
            done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, timeout=60)
            assert done.returncode == code and done.stderr == b""


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "skingpt4.service"
    text = (DEPLOY / "skingpt4.service").read_text()
    unit.write_text(text.replace("/srv/skingpt4/venv/bin/skingpt4", sys.executable))  # it must be there
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Unknown" not in done.stderr, done.stderr
