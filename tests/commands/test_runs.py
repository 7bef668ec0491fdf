"""`skingpt4 runs`: training runs side by side."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skingpt4.cli import main

GONE = 2**22 + 1  # no process has a number above Linux's limit


def make_run(folder: Path, *, record: dict[str, Any] | None = None, rate: float = 0.1, losses: int = 4) -> Path:
    """A run's folder as training leaves it. record: laid over what `run.json` says; None = no such file."""
    folder.mkdir(parents=True)
    run = {"init_lr": rate, "max_epoch": 2, "iters_per_epoch": 2, "batch_size_train": 4, "accum_grad_iters": 2}
    settings = {"run": {**run, "output_dir": str(folder)}, "data": {"train": [{"source": "table", "path": "a.csv"}]}}
    lines: list[dict[str, Any]] = [
        {"step": step, "loss": rate + 1 / step, "samples_per_second": 10.0 * step, "seconds": 50.0 * step}
        for step in range(1, losses + 1)
    ]
    lines += [{"step": step, "validation_loss": 1 + abs(step - 2)} for step in range(2, losses + 1, 2)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    if record is not None:
        values = {
            "state": "finished",
            "settings": settings,
            "devices": {"processes": 2},
            "data": {"training_pairs": 1200, "validation_pairs": 30, "sources": [{"sha256": "ab" * 32}]},
            "git": {"revision": "1234567890", "dirty": True},
            "packages": {"torch": "2.10.0"},
        }
        (folder / "run.json").write_text(json.dumps(values | record), encoding="utf-8")
    return folder


def rows(text: str) -> dict[str, list[str]]:
    """First cell -> the others, of tables without a frame."""
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines() if line.strip()]
    return {first: rest for first, *rest in cells}


def test_runs_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "all" / "one", record={})
    make_run(tmp_path / "all" / "deep" / "two", record={"state": "stopped", "git": None}, rate=0.25, losses=2)
    assert main(["runs", str(tmp_path / "all")]) == 0
    found = rows(capsys.readouterr().out)
    assert found["one"] == ["finished", "4/4", "0.3500", "1.0000 at 2", "3:20"]
    assert found["deep/two"] == ["stopped", "2/4", "0.7500", "1.0000 at 2", "1:40"]
    assert found["setting"] == ["deep/two", "one"]
    assert found["run.init_lr"] == ["0.25", "0.1"] and found["batch"] == ["16", "16"]
    assert found["pairs"] == ["1,200 + 30", "1,200 + 30"] and found["samples/s"] == ["15.0", "25.0"]
    assert found["code"] == ["?", "12345678, changed"]
    assert not {"run.output_dir", "run.max_epoch", "data.train", "torch", "SHA-256 of the data"} & found.keys()


def test_a_changed_table_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "a", record={})
    changed = {"training_pairs": 1200, "validation_pairs": 30, "sources": [{"sha256": "cd" * 32}]}
    make_run(tmp_path / "b", record={"data": changed})
    assert main(["runs", str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path)]) == 0  # each is shown once
    found = rows(capsys.readouterr().out)
    assert found["SHA-256 of the data"] == ["abababab", "cdcdcdcd"] and found["setting"] == ["a", "b"]


def test_many_runs_have_a_row_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(7):
        make_run(tmp_path / f"run{number}", record={}, rate=0.1 * (number + 1))
    assert main(["runs", str(tmp_path)]) == 0
    second = capsys.readouterr().out.split("\n\n")[1]
    lines = rows(second)
    assert lines["run"] == ["samples/s", "run.init_lr", "batch", "pairs"]
    assert [lines[f"run{number}"][1] for number in range(3)] == ["0.1", "0.2", "0.3"]


@pytest.mark.parametrize(
    ("process", "state"),
    [
        ({"host": socket.gethostname(), "pid": os.getpid()}, "running"),
        ({"host": socket.gethostname(), "pid": GONE}, "killed"),
        ({"host": "another machine", "pid": GONE}, "running"),  # nobody here can tell
    ],
)
def test_a_process_that_is_gone_was_killed(
    process: dict[str, Any], state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "run", record={"state": "running", "process": process})
    assert main(["runs", str(tmp_path)]) == 0
    assert rows(capsys.readouterr().out)["run"][0] == state


def test_broken_and_old_runs_are_shown_as_far_as_they_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "failed", record={"state": "failed", "error": "TrainingError: The loss is nan.\nLook."})
    old = make_run(tmp_path / "old")
    (old / "settings.yaml").write_text("run: {init_lr: 0.5, gone: 1}\n")
    with (make_run(tmp_path / "torn", record={}) / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    (tmp_path / "torn" / "run.json").write_text('{"state": "fin')
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "metrics.jsonl").touch()
    assert main(["runs", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    found = rows(text)
    assert "failed: TrainingError: The loss is nan.\n" in text
    assert found["empty"] == ["?", "0", "?", "?", "?"] and found["torn"][:2] == ["?", "4"]
    assert found["run.init_lr"] == ["?", "0.1", "0.5", "?"] and found["run.gone"] == ["?", "?", "1", "?"]


def test_where_there_is_no_run_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(tmp_path)]) == 2
    assert f"No run in {tmp_path}: a folder with run.json or metrics.jsonl" in capsys.readouterr().err
    assert main(["runs", str(tmp_path / "nowhere")]) == 2
    assert "nowhere is no folder" in capsys.readouterr().err


def test_the_table_needs_no_torch() -> None:
    code = "import sys, skingpt4.commands.runs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
