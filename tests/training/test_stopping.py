"""SIGTERM and SIGUSR1: everything is saved, and the exit code says "again later"."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from train_process import last_step, same_weights, start_training, wait_until
from training_runs import write_yaml

from skingpt4.cli import main
from skingpt4.config import load_settings
from skingpt4.settings import Settings
from skingpt4.training import loop
from skingpt4.training.reports.log import RunLog
from skingpt4.training.reports.run_folder import read_lines
from skingpt4.training.runner import train
from skingpt4.training.stopping import EXIT_PREEMPTED, StopSignals


def signal_at(step: int, number: int, patch: pytest.MonkeyPatch, method: str = "step") -> None:
    """Have this process receive a signal when the run logs this step."""
    before = getattr(RunLog, method)

    def log(self: RunLog, at: int, *given: Any, **named: Any) -> None:
        before(self, at, *given, **named)
        if at == step:
            os.kill(os.getpid(), number)

    patch.setattr(RunLog, method, log)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_at_the_next_step_and_exits_with_75(
    number: signal.Signals, tiny_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_yaml(tiny_settings, tmp_path, threads=1)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(load_settings(config, [f"run.output_dir={whole}"]))
    command = ["train", "--cfg-path", str(config), "--options", f"run.output_dir={broken}"]
    handler = signal.getsignal(number)
    with pytest.MonkeyPatch.context() as patch:
        signal_at(4, number, patch)
        assert main(command) == EXIT_PREEMPTED == 75
    assert signal.getsignal(number) is handler
    assert f"{number.name} stopped the run after step 5; it is saved in {broken}. Go on with --resume." in " ".join(
        capsys.readouterr().err.split()
    )
    assert (broken / "checkpoints" / "step_00000005").is_dir()
    assert main([*command, "--resume"]) == 0
    assert same_weights(whole / "last", broken / "last")


def test_a_signal_during_validation_loses_nothing(tiny_settings: Settings, tmp_path: Path) -> None:
    """What was trained is saved before it is validated; the run does not wait, and validates when it goes on."""
    tiny_settings.data.validation_fraction = 0.25
    config = write_yaml(tiny_settings, tmp_path, threads=1, max_epoch=2)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(load_settings(config, [f"run.output_dir={whole}"]))
    command = ["train", "--cfg-path", str(config), "--options", f"run.output_dir={broken}"]
    evaluate = loop.evaluate
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "evaluate", lambda *given: (os.kill(os.getpid(), signal.SIGTERM), evaluate(*given))[1])
        assert main(command) == EXIT_PREEMPTED
    assert not (broken / "best").exists() and (broken / "checkpoints" / "step_00000003").is_dir()
    assert main([*command, "--resume"]) == 0
    of_runs = [
        [
            (line["step"], line["validation_loss"])
            for line in read_lines(run / "metrics.jsonl")
            if "validation_loss" in line
        ]
        for run in (whole, broken)
    ]
    assert of_runs[0] == of_runs[1] and len(of_runs[0]) == 2
    assert same_weights(whole / "last", broken / "last") and same_weights(whole / "best", broken / "best")


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    before, inside = signal.getsignal(signal.SIGTERM), []

    def body() -> None:
        with StopSignals() as stop:
            inside.append((signal.getsignal(signal.SIGTERM), stop.wanted_by_any()))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert inside == [(before, False)]


@pytest.mark.slow
def test_two_processes_stop_at_the_same_step(tiny_settings: Settings, tmp_path: Path) -> None:
    """One of them alone is told to stop."""
    tiny_settings.data.feature_cache = str(tmp_path / "features")
    config = write_yaml(tiny_settings, tmp_path, threads=1, batch_size_train=2, max_epoch=200)
    output = tmp_path / "output"
    process = start_training(config, output, ranks=2)
    wait_until(lambda: last_step(output) >= 4, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [int(pid) for pid in children if b"train.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(workers) == 2
    os.kill(workers[-1], signal.SIGTERM)
    errors = process.stderr.read()
    assert process.wait() != 0  # torchrun has a code of its own; those of its processes are in its report
    assert "exitcode  : 75" in errors, errors[-3000:]
    assert "A signal to another process stopped the run" in errors and "SIGTERM stopped the run" in errors
    steps = set(re.findall(r"stopped the run after step (\d+)", errors))
    assert steps == {str(last_step(output))}, "both at one step"
    assert (output / "checkpoints" / f"step_{last_step(output):08d}" / "checksums.json").is_file()
