"""Checkpoints on disk: whole or not at all, the newest few, and what happens to damaged ones."""

from __future__ import annotations

import logging
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from skingpt4.durable import replacing, write_whole
from skingpt4.errors import TrainingError
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.settings import Settings
from skingpt4.training.schedule import build_optimizer, set_learning_rate
from skingpt4.training.state import Progress, load_state, save_state
from skingpt4.weights.checkpoint import find_checkpoint
from skingpt4.weights.files import read_tensors

Loaded = tuple[SkinGPT4, Processor]
FILES = {"skingpt4.safetensors", "training_state.pt", "checksums.json"}


class Run:
    """A model and its optimizer, stepped with drawn gradients: enough to write real checkpoints quickly."""

    def __init__(self, model: SkinGPT4, settings: Settings):
        self.model, self.settings, self.progress = model, settings, Progress()
        self.optimizer = build_optimizer(model.named_parameters(), 0.05)
        set_learning_rate(self.optimizer, 0.01)
        self.folder = Path(settings.run.output_dir)

    def step(self) -> None:
        self.progress.step += 1
        torch.manual_seed(self.progress.step)
        for parameter in (self.model.llama_proj.weight, self.model.llama_proj.bias):
            parameter.grad = torch.randn_like(parameter)
        self.optimizer.step()

    def save(self, steps: int = 1) -> None:
        for _ in range(steps):
            self.step()
            save_state(self.settings, self.model, self.optimizer, None, self.progress)

    def load(self, place: str = "") -> Progress:
        return load_state(place or str(self.folder), self.model, self.optimizer, None)

    def names(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "checkpoints").iterdir())

    def checkpoint(self, step: int) -> Path:
        return self.folder / "checkpoints" / f"step_{step:08d}"


@pytest.fixture
def run(tiny_model: Loaded, tiny_settings: Settings) -> Run:
    return Run(tiny_model[0], tiny_settings)


def test_everything_comes_back(run: Run) -> None:
    run.progress = Progress(0, 1, 0.25, 1, 2, 3, 1, 8)
    run.save(2)
    weights = run.model.llama_proj.weight.detach().clone()
    moments = [value.clone() for value in run.optimizer.state[run.model.llama_proj.weight].values()]
    run.step()
    assert run.load() == Progress(2, 1, 0.25, 1, 2, 3, 1, 8)
    assert torch.equal(run.model.llama_proj.weight, weights)
    loaded = run.optimizer.state[run.model.llama_proj.weight].values()
    assert all(torch.equal(one, other) for one, other in zip(moments, loaded, strict=True))
    assert {path.name for path in run.checkpoint(2).iterdir()} == FILES
    assert (run.folder / "last" / "skingpt4.safetensors").read_bytes() == find_checkpoint(
        str(run.checkpoint(2))
    ).read_bytes()


@pytest.mark.parametrize(("keep", "expected"), [(2, [4, 5]), (1, [5]), (0, [1, 2, 3, 4, 5])])
def test_the_newest_few_stay(run: Run, keep: int, expected: list[int]) -> None:
    run.settings.run.keep_checkpoints = keep
    run.save(5)
    assert run.names() == [f"step_{step:08d}" for step in expected]


def test_best_is_written_when_this_step_is_the_best(run: Run) -> None:
    run.save()
    assert not (run.folder / "best").exists()
    run.progress.best_step = 2
    run.save(2)
    assert (run.folder / "best" / "skingpt4.safetensors").read_bytes() == (
        run.checkpoint(2) / "skingpt4.safetensors"
    ).read_bytes()


def test_a_run_that_goes_back_leaves_its_future_behind(run: Run) -> None:
    run.settings.run.keep_checkpoints = 0
    run.save(5)
    run.progress = run.load(str(run.checkpoint(2)))
    run.save()
    assert run.names() == [f"step_{step:08d}" for step in (1, 2, 3)]


def test_the_checkpoint_of_a_step_can_be_written_again(run: Run) -> None:
    run.save()
    run.progress.validated_step = 1
    save_state(run.settings, run.model, run.optimizer, None, run.progress)
    assert run.names() == ["step_00000001"] and run.load().validated_step == 1


def cut(folder: Path) -> None:
    path = folder / "training_state.pt"
    path.write_bytes(path.read_bytes()[:-100])


def flip(folder: Path) -> None:
    content = bytearray((folder / "skingpt4.safetensors").read_bytes())
    content[-5] ^= 1
    (folder / "skingpt4.safetensors").write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (cut, r"bytes of training_state\.pt are not those"),
    "bit flipped": (flip, r"bytes of skingpt4\.safetensors are not those"),
    "weights missing": (lambda folder: (folder / "skingpt4.safetensors").unlink(), "skingpt4.safetensors is missing"),
    "state missing": (lambda folder: (folder / "training_state.pt").unlink(), "training_state.pt is missing"),
    "checksums missing": (lambda folder: (folder / "checksums.json").unlink(), "checksums.json is missing"),
    "checksums torn": (lambda folder: (folder / "checksums.json").write_text("{"), "cannot be read"),
    "checksums of another kind": (lambda folder: (folder / "checksums.json").write_text("{}"), "cannot be read"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    run: Run, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    run.save(2)
    before = read_tensors(run.checkpoint(1) / "skingpt4.safetensors")["llama_proj.weight"]
    spoil, expected = DAMAGES[damage]
    spoil(run.checkpoint(2))
    with caplog.at_level(logging.WARNING):
        progress = run.load()
    assert progress.step == 1 and torch.equal(run.model.llama_proj.weight, before)
    (message,) = [record.getMessage() for record in caplog.records]
    assert "step_00000002 is damaged: " in message and message.endswith("Going on from step_00000001.")
    assert re.search(expected, message)
    run.progress = progress
    run.save()
    assert run.load().step == 2  # written again, whole


def test_no_whole_checkpoint_is_an_error_that_names_them(run: Run) -> None:
    run.save(2)
    cut(run.checkpoint(1))
    flip(run.checkpoint(2))
    with pytest.raises(TrainingError, match=r"(?s)No checkpoint .* is whole: .*step_00000002.*step_00000001.*last/"):
        run.load()
    with pytest.raises(TrainingError, match=r"is whole: .*step_00000001 is damaged"):
        run.load(str(run.checkpoint(1)))  # the one that was asked for, no other
    with pytest.raises(TrainingError, match=r"Nothing to resume in .*step_00000007"):
        run.load(str(run.checkpoint(7)))


class Death:
    """Kills this process, as `kill -9` does, at the nth call that changes a name or waits for the disk."""

    def __init__(self, nth: int):
        self.left = nth

    def wrap(self, call: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object, **named: object) -> object:
            self.left -= 1
            if self.left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **named)

        return counted


def killed_at(nth: int, action: Callable[[], None]) -> bool:
    """Run `action` in a child process that dies at its nth such call; whether it died."""
    child = os.fork()
    if child == 0:
        death = Death(nth)
        for name in ("fsync", "replace", "rename", "rmdir", "unlink", "mkdir"):
            setattr(os, name, death.wrap(getattr(os, name)))
        try:
            action()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("validated", [False, True], ids=["a new step", "the same step again"])
def test_killed_at_any_moment_of_a_save_there_is_a_whole_checkpoint(run: Run, validated: bool) -> None:
    run.settings.run.keep_checkpoints = 1
    run.save(2)
    run.progress.validated_step = run.progress.best_step = 2 * validated
    if not validated:
        run.step()
    seen = set()
    for nth in range(1, 100):
        died = killed_at(nth, lambda: save_state(run.settings, run.model, run.optimizer, None, run.progress))
        progress = run.load()
        seen.add((progress.step, progress.validated_step))
        if not died:
            break
        if progress.validated_step and validated:
            assert find_checkpoint(str(run.folder)).parent.name == "best"
    assert nth > 12, "the save was killed at many places"
    assert seen == ({(2, 0), (2, 2)} if validated else {(2, 0), (3, 0)})
    assert len(run.names()) == 1, "what killed saves left is gone"


def test_what_fails_while_it_is_written_changes_nothing(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "a" / "file.bin", b"old")
    with pytest.raises(RuntimeError), replacing(path) as partial:
        partial.write_bytes(b"half of the n")
        raise RuntimeError
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]
