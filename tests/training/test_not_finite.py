"""A loss that is not finite: the run stops and names the photographs, or leaves the step out and counts it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from train_process import same_weights
from training_runs import write_yaml

from skingpt4.config import load_settings
from skingpt4.errors import TrainingError
from skingpt4.settings import Settings
from skingpt4.training.reports.run_folder import read_lines
from skingpt4.training.runner import train
from skingpt4.training.samples import Batch, Collate
from skingpt4.training.schedule import build_optimizer, leave_out_unless_finite, set_learning_rate
from skingpt4.training.state import Progress
from skingpt4.training.window import LOWEST_LOSS_SCALE, MOST_SKIPPED_IN_A_ROW, Window, loss_scale


def spoil(patch: pytest.MonkeyPatch, photograph: str, value: float) -> None:
    """Have the features of a photograph, as a batch has them, hold a number that is not finite."""
    collate = Collate.__call__

    def spoilt(self: Collate, samples: list) -> Batch:
        batch = collate(self, samples)
        for row, image in enumerate(batch.images):
            if Path(image).name == photograph:
                batch.inputs[row, 0, 0] = value
        return batch

    patch.setattr(Collate, "__call__", spoilt)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_stop_names_the_photographs_and_saves_nothing_of_it(
    value: float, tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a checkpoint is due before a line of the log is."""
    spoil(monkeypatch, "3.png", value)
    config = write_yaml(tiny_settings, tmp_path, batch_size_train=1, log_every_steps=100, save_every_steps=1)
    with pytest.raises(
        TrainingError, match=r"loss at step \d+ is nan\. The photographs of this batch: \S*/3\.png\. Look"
    ):
        train(load_settings(config))
    output = Path(tiny_settings.run.output_dir)
    checkpoints = sorted((output / "checkpoints").iterdir()) if (output / "checkpoints").is_dir() else []
    for folder in checkpoints:
        weights = torch.load(folder / "training_state.pt", weights_only=True)["optimizer"]["state"][0]["exp_avg"]
        assert weights.isfinite().all()


def test_skip_leaves_the_step_out_and_counts_it(
    tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(monkeypatch, "3.png", float("nan"))
    config = write_yaml(
        tiny_settings,
        tmp_path,
        batch_size_train=1,
        on_nonfinite_loss="skip",
        save_every_steps=1,
        keep_checkpoints=0,
        max_epoch=2,
    )
    output = Path(tiny_settings.run.output_dir)
    with caplog.at_level(logging.WARNING):
        train(load_settings(config))
    lines = [line for line in read_lines(output / "metrics.jsonl") if "loss" in line]
    left_out = [line["step"] for line in lines if line["loss"] != line["loss"]]
    assert len(lines) == 24 and len(left_out) == 2  # one of 12 photographs, two passes
    named = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(named) == 2 and all("/3.png." in message for message in named)
    for step in left_out:
        if step > 1:
            now, before = (output / "checkpoints" / f"step_{each:08d}" for each in (step, step - 1))
            assert same_weights(now, before)
            states = [torch.load(folder / "training_state.pt", weights_only=True) for folder in (now, before)]
            one, other = (state["optimizer"]["state"][0] for state in states)
            assert all(torch.equal(one[key], other[key]) for key in ("step", "exp_avg", "exp_avg_sq"))
            assert states[0]["progress"]["skipped_steps"] == states[1]["progress"]["skipped_steps"] + 1
    assert states[0]["progress"]["skipped_steps"] == 2
    assert sum(line["loss"] for line in lines[-6:] if line["loss"] == line["loss"]) < sum(
        line["loss"] for line in lines[:6] if line["loss"] == line["loss"]
    )


def test_nothing_but_skipped_steps_end_the_run(tiny_settings: Settings, tmp_path: Path) -> None:
    from skingpt4.weights.files import read_tensors

    weights = read_tensors(Path(tiny_settings.model.ckpt))
    weights["llama_proj.weight"][0, 0] = float("nan")
    torch.save({"model": weights}, tmp_path / "broken.pth")
    tiny_settings.model.ckpt = str(tmp_path / "broken.pth")
    config = write_yaml(tiny_settings, tmp_path, on_nonfinite_loss="skip", max_epoch=100, log_every_steps=50)
    with pytest.raises(TrainingError, match=f"in the {MOST_SKIPPED_IN_A_ROW - 1} steps before it: nothing is learned"):
        train(load_settings(config))


def test_a_step_that_is_left_out_waits_for_nothing_and_changes_nothing() -> None:
    layer = torch.nn.Linear(3, 2)
    optimizer = build_optimizer(layer.named_parameters(), 0.05)
    set_learning_rate(optimizer, 0.1)
    for value in (1.0, float("inf"), 1.0):
        for parameter in layer.parameters():
            parameter.grad = torch.full_like(parameter, value)
        before = [parameter.detach().clone() for parameter in layer.parameters()]
        left_out = leave_out_unless_finite(optimizer, layer.parameters())
        assert left_out.shape == () and bool(left_out) == (value != 1.0)
        optimizer.step()
        same = [torch.equal(old, new) for old, new in zip(before, layer.parameters(), strict=True)]
        assert same == [bool(left_out)] * 2
    assert [float(state["step"]) for state in optimizer.state.values()] == [2.0, 2.0]


def test_a_gradient_that_is_not_finite_is_told_from_a_loss(tiny_settings: Settings) -> None:
    from accelerate import Accelerator

    window = Window([torch.tensor(2.0)], [torch.tensor(True)], [["a.png", "b.png"]])
    with pytest.raises(TrainingError, match=r"loss at step 5 is 2.0 and its gradient not finite\. .*: a.png, b.png\."):
        window.mean_loss(Accelerator(cpu=True), Progress(step=5), tiny_settings.run)


def test_a_collapsed_loss_scale_is_reported() -> None:
    """fp16's own scaler, on a CPU: every overflow halves the scale, and the step is left out."""
    layer = torch.nn.Linear(1, 1)
    optimizer = build_optimizer(layer.named_parameters(), 0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=2 * LOWEST_LOSS_SCALE)
    before = layer.weight.detach().clone()
    assert loss_scale(None) == {} and loss_scale(scaler)["loss_scale"] == pytest.approx(2 * LOWEST_LOSS_SCALE)
    for _ in range(2):
        scaler.scale(layer(torch.full((1, 1), float("inf"))).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    assert torch.equal(layer.weight, before)
    with pytest.raises(TrainingError, match=r"collapsed to 5\.0e-05.*model\.precision=bf16.*run\.max_grad_norm=1"):
        loss_scale(scaler)
