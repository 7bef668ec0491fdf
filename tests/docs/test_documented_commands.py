"""Every command that README and documentation name: its program takes it, and its files are there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest
from documented import ROOT, Command, documented_commands

from skingpt4.cli import build_parser
from skingpt4.config import load_settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

COMMANDS = documented_commands()
OURS = ("skingpt4", "python", "accelerate", "torchrun")
# What a page writes where a reader puts a name of their own.
PLACEHOLDERS = {"SOURCE …": "folder PLACE", "evaluate …": "evaluate --data DIR"}
SETTINGS = re.compile(r"(?:eval_)?configs/\S+\.yaml")


def arguments_of(words: str) -> list[str]:
    """What our program gets: a launcher's own options are left out."""
    for placeholder, meant in PLACEHOLDERS.items():
        words = words.replace(placeholder, meant)
    parts = shlex.split(words)
    script = {"train.py": "train", "demo.py": "demo"}
    for place, part in enumerate(parts):
        if part in script:
            return [script[part], *parts[place + 1 :]]
        if part == "skingpt4":
            return parts[place + 1 :]
    raise AssertionError(f"{words!r} starts none of this package's programs")


def of(*programs: str) -> list[Command]:
    return [command for command in COMMANDS if command.words.split(" ")[0] in programs]


OF_OTHERS = ("python -m fastchat",)  # and need what is not here


def test_there_are_commands() -> None:
    assert len(of(*OURS)) > 50
    assert len({command.place.split(":")[0] for command in COMMANDS}) > 10


def test_each_is_one_that_the_program_takes(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for command in of(*OURS):
        if command.words.startswith(OF_OTHERS):
            continue
        try:
            build_parser().parse_args(arguments_of(command.words))
        except SystemExit:
            wrong.append(f"{command.place}: {command.words}: {capsys.readouterr().err.strip().splitlines()[-1]}")
    assert not wrong, "\n".join(wrong)


def test_the_settings_that_they_name_are_there() -> None:
    named = {name for command in COMMANDS for name in SETTINGS.findall(command.words)}
    assert named
    for name in named:
        assert load_settings(ROOT / name), name


def test_make_knows_its_targets() -> None:
    for command in of("make"):
        targets = [word for word in shlex.split(command.words)[1:] if "=" not in word]
        assert subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True).returncode == 0, command


def test_the_extras_that_pip_is_told_are_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for command in of("pip"):
        for names in re.findall(r"\[([^\]]+)\]", command.words):
            assert set(names.split(",")) <= extras.keys(), command
