"""What a run notes and shows while it goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from skingpt4.errors import SettingsError, TrainingError
from skingpt4.training.reports import log as log_module
from skingpt4.training.reports.log import RunLog, with_progress
from skingpt4.training.reports.run_folder import keep_until, read_lines


def steps_of(folder: Path) -> list[int]:
    return [line["step"] for line in read_lines(folder / "metrics.jsonl")]


def scalars(folder: Path, name: str) -> dict[int, float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {event.step: event.value for event in events.Scalars(name)}


def note(log: RunLog, first: int, last: int) -> None:
    for step in range(first, last + 1):
        log.step(step, step / 4, 1 / step, 0.1, 20.0)


def test_figures_go_to_the_file_and_to_tensorboard(tmp_path: Path) -> None:
    with RunLog(tmp_path, "run", 4, trackers=["tensorboard"]) as log:
        note(log, 1, 4)
        log.validation(4, 1, 0.5)
        log.step(4, 1.0, 0.25, 0.1, 20.0, skipped_steps=2)
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert steps_of(tmp_path) == [1, 2, 3, 4, 4, 4]
    assert lines[1]["loss"] == 0.5 and lines[1]["lr"] == 0.1 and lines[1]["epoch"] == 0.5
    assert lines[4]["validation_loss"] == 0.5 and lines[5]["skipped_steps"] == 2
    assert all(0 <= line["seconds"] < 60 for line in lines)
    assert scalars(tmp_path, "loss")[2] == 0.5 and scalars(tmp_path, "validation_loss") == {4: 0.5}
    assert Image.open(tmp_path / "curves.png").size[0] > 800


def test_each_step_is_there_once_after_a_resume(tmp_path: Path) -> None:
    with RunLog(tmp_path, "run", 9, trackers=["tensorboard"]) as log:
        note(log, 1, 7)
    path = tmp_path / "metrics.jsonl"
    seconds = read_lines(path)[4]["seconds"]
    path.write_text(path.read_text() + '{"step": 8, "lo')  # killed in the middle of a line
    with RunLog(tmp_path, "run", 9, first_step=5, trackers=["tensorboard"]) as log:
        note(log, 6, 9)
    assert steps_of(tmp_path) == list(range(1, 10))
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == list(range(1, 10))  # none is torn
    assert read_lines(path)[5]["seconds"] >= seconds  # the clock goes on
    assert sorted(scalars(tmp_path, "loss")) == list(range(1, 10))
    with RunLog(tmp_path, "run", 9) as log:  # from the start again
        note(log, 1, 2)
    assert steps_of(tmp_path) == [1, 2]


def test_only_the_main_process_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunLog(tmp_path, "run", 2, enabled=False, trackers=["tensorboard"]) as log:
        note(log, 1, 2)
        log.validation(2, 1, 0.5)
        log.show(2)
    captured = capsys.readouterr()
    assert list(tmp_path.iterdir()) == [] and captured.out == captured.err == ""


def test_a_log_file_gets_plain_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "PLAIN_LINE_SECONDS", 0.0)
    with RunLog(tmp_path, "my [red] run", 1200) as log:
        log.step(300, 1.0, 0.5, 1e-4, 20.0)
        log.validation(300, 1, 0.25)
        log.step(1200, 4.0, 0.5, 1e-4, 20.0)
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.startswith("my [red] run: step 300/1,200  loss 0.500  lr 1.0e-04  20.0 samples/s  0:0")
    assert first.endswith(" left")
    assert second == "my [red] run: epoch 1, validation loss 0.2500"
    assert third.endswith("samples/s  in 0:00") and "\x1b" not in first


def test_a_loop_outside_a_terminal_says_when_it_begins_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(with_progress(range(3), "reading [bold]", 3)) == [0, 1, 2]
    assert capsys.readouterr().err.splitlines() == ["reading [bold] …", "reading [bold]: done in 0:00"]


def test_trackers_that_are_unknown_or_missing_are_said_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match=r"names 'tensorbord'; it must be some of aim, .*wandb"):
        RunLog(tmp_path, "run", 1, trackers=["tensorbord"]).__enter__()
    monkeypatch.setattr("skingpt4.training.reports.trackers.get_available_trackers", list)
    with pytest.raises(SettingsError, match=r"comet_ml, which is not installed: pip install comet-ml"):
        RunLog(tmp_path, "run", 1, trackers=["comet_ml"]).__enter__()


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with RunLog(tmp_path, "run", 2) as log:
        note(log, 1, 1)
        assert log._file is not None
        log._file.close()
        log._file = full.open("a")
        with pytest.raises(TrainingError, match=r"metrics\.jsonl cannot be written: .*No space left"):
            note(log, 2, 2)
        log._file = (tmp_path / "metrics.jsonl").open("a")


def test_lines_are_kept_up_to_a_step(tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    assert keep_until(path, 3) == [] and not path.exists()
    path.write_text('{"step": 2}\n[1]\n\n{"step": 3, "text": "é"}\n{"step": 4}\n{"st', encoding="utf-8")
    assert [line["step"] for line in read_lines(path)] == [2, 3, 4]
    assert keep_until(path, 3) == [{"step": 2}, {"step": 3, "text": "é"}]
    assert path.read_text(encoding="utf-8") == '{"step": 2}\n{"step": 3, "text": "é"}\n'
    assert [each.name for each in tmp_path.iterdir()] == ["some.jsonl"]
