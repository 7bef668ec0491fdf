"""A run that goes on from any of its checkpoints ends where the uninterrupted one does."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pytest
from train_process import same_weights
from training_runs import write_yaml

from skingpt4.config import load_settings
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.settings import Settings
from skingpt4.training import runner
from skingpt4.training.reports.run_folder import read_lines
from skingpt4.training.runner import train
from skingpt4.weights.build import build_model
from skingpt4.weights.files import read_tensors


def values(folder: Path, key: str) -> list[tuple[int, float]]:
    """(step, value) of the lines of a run's metrics that have this key."""
    return [(line["step"], line[key]) for line in read_lines(folder / "metrics.jsonl") if key in line]


def test_from_any_step_mid_epoch_too_the_end_is_the_same(tiny_settings: Settings, tmp_path: Path) -> None:
    tiny_settings.data.validation_fraction = 0.25
    tiny_settings.data.feature_cache = str(tmp_path / "features")
    config = write_yaml(
        tiny_settings,
        tmp_path,
        threads=1,
        save_every_steps=1,
        keep_checkpoints=0,
        batch_size_train=2,
        accum_grad_iters=2,
    )
    whole = tmp_path / "whole"
    train(load_settings(config, [f"run.output_dir={whole}"]))
    assert len(list((whole / "checkpoints").iterdir())) == 9  # 3 epochs of 3 steps
    for step in (2, 3, 9):
        resumed = tmp_path / f"from_{step}"
        start = whole / "checkpoints" / f"step_{step:08d}"
        train(load_settings(config, [f"run.output_dir={resumed}", f"run.resume_ckpt_path={start}"]))
        if step < 9:
            assert same_weights(whole / "last", resumed / "last")
            assert values(resumed, "loss") == values(whole, "loss")[step:]
            # the validation of a step that was validated before it was left is not repeated
            assert values(resumed, "validation_loss") == [v for v in values(whole, "validation_loss") if v[0] > step]
        else:
            assert not values(resumed, "loss"), "a finished run has nothing left to do"


def test_each_step_is_in_the_metrics_once(tiny_settings: Settings, tmp_path: Path) -> None:
    config = write_yaml(tiny_settings, tmp_path, save_every_steps=2, keep_checkpoints=0)
    output = Path(tiny_settings.run.output_dir)
    train(load_settings(config))
    train(load_settings(config, [f"run.resume_ckpt_path={output / 'checkpoints' / 'step_00000004'}"]))
    assert [step for step, _ in values(output, "loss")] == list(range(1, 10))


def test_early_stopping_and_the_best_weights(
    tiny_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_settings.data.validation_fraction = 0.25
    tiny_settings.data.feature_cache = str(tmp_path / "features")
    whole = tmp_path / "whole"
    train(load_settings(write_yaml(tiny_settings, tmp_path, output_dir=str(tmp_path / "first"), max_epoch=10)))
    tiny_settings.model.ckpt = str(tmp_path / "first")
    # Hotter and hotter, so that the loss rises again at some time.
    hot = {"init_lr": 1.0, "min_lr": 0.0, "warmup_lr": 0.0, "warmup_steps": 60}
    config = write_yaml(
        tiny_settings, tmp_path, **hot, max_epoch=30, early_stopping_epochs=2, keep_checkpoints=0, output_dir=str(whole)
    )
    built: list[SkinGPT4] = []

    def build(*given: Any, **named: Any) -> Any:
        model, processor = build_model(*given, **named)
        built.append(model)
        return model, processor

    monkeypatch.setattr(runner, "build_model", build)
    train(load_settings(config))
    losses = values(whole, "validation_loss")
    lowest = min(range(len(losses)), key=lambda number: losses[number][1])
    assert len(losses) == lowest + 1 + 2 < 30
    best = losses[lowest][0]
    assert same_weights(whole / "best", whole / "checkpoints" / f"step_{best:08d}")
    assert same_weights(whole / "last", whole / "checkpoints" / f"step_{losses[-1][0]:08d}")
    # What Python has in its hands afterwards is the best, too.
    assert built[0].llama_proj.weight.equal(read_tensors(whole / "best" / "skingpt4.safetensors")["llama_proj.weight"])
    said = " ".join(capsys.readouterr().err.split())
    assert (
        f"ends at step {losses[-1][0]} with the weights of step {best}, which have the lowest validation loss" in said
    )
    # A run that is interrupted while it waits for a lower loss stops at the same epoch, and then for good.
    start = whole / "checkpoints" / f"step_{losses[-2][0]:08d}"
    train(load_settings(config, [f"run.resume_ckpt_path={start}"]))
    assert values(whole, "validation_loss") == losses
    train(load_settings(config), resume=True)
    assert values(whole, "validation_loss") == losses


def test_in_another_folder_the_best_is_sought_anew(tiny_settings: Settings, tmp_path: Path) -> None:
    """`best/` stayed with the run that is gone on from."""
    tiny_settings.data.validation_fraction = 0.25
    config = write_yaml(tiny_settings, tmp_path, max_epoch=2)
    one, other = tmp_path / "one", tmp_path / "other"
    train(load_settings(config, [f"run.output_dir={one}"]))
    train(load_settings(config, [f"run.output_dir={other}", f"run.resume_ckpt_path={one}", "run.max_epoch=3"]))
    assert same_weights(other / "best", other / "checkpoints" / "step_00000009")


def test_another_number_of_samples_per_step_is_said(
    tiny_settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = write_yaml(tiny_settings, tmp_path, max_epoch=1, iters_per_epoch=3)
    train(load_settings(config))
    with caplog.at_level(logging.WARNING):
        train(load_settings(config, ["run.batch_size_train=2", "run.max_epoch=2"]), resume=True)
    assert "3 steps of 4 samples were done, and now a step has 2" in caplog.text
    assert all(math.isfinite(loss) for _, loss in values(Path(tiny_settings.run.output_dir), "loss"))
