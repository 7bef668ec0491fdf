"""`skingpt4 predict`, in this process or in processes of its own."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skingpt4.commands import predict
from skingpt4.prediction import parts
from skingpt4.prediction.asking import Asker

ROOT = Path(__file__).resolve().parents[2]
LAUNCHERS = {
    "": [],
    "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
    "accelerate": [
        "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
    ],  # without a GPU `--multi_gpu` only means: several processes
}  # fmt: skip

QUICK = ("--max-new-tokens", "4", "--question", "What is it?", "--diagnoses", "none")


def run(*arguments: object) -> int:
    """In this process, errors raised."""
    parser = argparse.ArgumentParser()
    predict.add(parser)
    parsed = parser.parse_args([str(argument) for argument in arguments])
    return int(parsed.run(parsed))


def started(*arguments: object, launcher: str = "") -> subprocess.Popen:
    """In a process of its own, or the two of a launcher, which write each batch at once."""
    command = [sys.executable, *LAUNCHERS[launcher], __file__, *map(str, arguments)]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def rows_of(file: Path) -> list[dict[str, Any]]:
    """The lines of a JSONL file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def break_off(monkeypatch: pytest.MonkeyPatch, error: BaseException, after: int) -> list[int]:
    """`ask` raises after so many calls; returns a list that grows by the number of pictures of each call."""
    asked: list[int] = []
    ask = Asker.ask

    def breaking(self: Asker, given: Any) -> Any:
        if len(asked) == after:
            raise error
        asked.append(len(given))
        return ask(self, given)

    monkeypatch.setattr(Asker, "ask", breaking)
    return asked


def same(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    """Equal but for the seconds."""
    return [{**row, "seconds": 0} for row in one] == [{**row, "seconds": 0} for row in other]


if __name__ == "__main__":
    parts.SECONDS_PER_PART = 0.0
    raise SystemExit(run(*sys.argv[1:]))
