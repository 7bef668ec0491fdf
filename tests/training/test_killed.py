"""`kill -9` of a real training process, at any moment, then `--resume`."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from train_process import last_step, same_weights, start_training, wait_until
from training_runs import write_yaml

from skingpt4.config import load_settings
from skingpt4.settings import Settings
from skingpt4.training.reports.run_folder import read_lines
from skingpt4.training.runner import train

EPOCHS, STEPS = 10, 12  # steps per epoch


@pytest.mark.slow
def test_killed_at_random_steps_and_resumed_equals_uninterrupted(tiny_settings: Settings, tmp_path: Path) -> None:
    tiny_settings.data.validation_fraction = 0.25
    tiny_settings.data.feature_cache = str(tmp_path / "features")
    config = write_yaml(
        tiny_settings,
        tmp_path,
        batch_size_train=1,
        max_epoch=EPOCHS,
        iters_per_epoch=STEPS,
        save_every_steps=5,
        threads=1,
    )
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(load_settings(config, [f"run.output_dir={whole}"]))
    draw = random.Random()  # other moments every time: what is claimed holds for all
    moments = sorted(draw.sample(range(1, (EPOCHS - 1) * STEPS), 3))
    for moment in moments:
        process = start_training(config, broken, resume=True)
        wait_until(lambda moment=moment: last_step(broken) >= moment, process)  # type: ignore[misc]
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, process.stderr.read()
    train(load_settings(config, [f"run.output_dir={broken}"]), resume=True)
    for name in ("last", "best", f"checkpoints/step_{EPOCHS * STEPS:08d}"):
        assert same_weights(whole / name, broken / name), f"killed at {moments}: {name} differs"
    for key in ("loss", "validation_loss"):
        lines = [
            [(line["step"], line[key]) for line in read_lines(run / "metrics.jsonl") if key in line]
            for run in (whole, broken)
        ]
        assert lines[0] == lines[1], f"killed at {moments}"
