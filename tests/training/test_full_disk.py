"""A full disk ends a run with the last good checkpoint intact and a message that says what to do."""

from __future__ import annotations

import resource
import signal
import subprocess
from pathlib import Path

from train_process import same_weights, start_training
from training_runs import write_yaml

from skingpt4.config import load_settings
from skingpt4.settings import Settings
from skingpt4.training.runner import train


def test_a_full_file_system(small_disk: Path, tiny_settings: Settings, tmp_path: Path) -> None:
    tiny_settings.data.feature_cache = str(tmp_path / "features")
    config = write_yaml(tiny_settings, tmp_path, threads=1, keep_checkpoints=0, max_epoch=20, trackers=[])
    whole, full = tmp_path / "whole", small_disk / "run"
    train(load_settings(config, [f"run.output_dir={whole}"]))
    process = start_training(config, full)
    errors = " ".join(process.stderr.read().split())
    assert process.wait() == 2, errors
    assert f"The disk of {full} is full or failing: [Errno 28] No space left on device" in errors
    last = max((full / "checkpoints").iterdir())
    assert f"Go on from {last}, which is whole, with --resume, once there is room." in errors
    assert "Traceback" not in errors and not list(full.rglob("*.partial*"))
    subprocess.run(["mount", "-o", "remount,size=10m", small_disk], check=True)
    train(load_settings(config, [f"run.output_dir={full}"]), resume=True)
    assert same_weights(whole / "last", full / "last")


def test_a_file_larger_than_allowed(tiny_settings: Settings, tmp_path: Path) -> None:
    """What a quota does, by a limit on the size of the files that the process may write; needs no root."""
    tiny_settings.data.feature_cache = str(tmp_path / "features")
    config = write_yaml(tiny_settings, tmp_path, threads=1, max_epoch=2, trackers=[])
    train(load_settings(config, ["run.max_epoch=1", "run.iters_per_epoch=6"]))
    output = Path(tiny_settings.run.output_dir)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))

    process = start_training(config, output, "run.iters_per_epoch=6", resume=True, preexec_fn=limit)
    errors = " ".join(process.stderr.read().split())
    assert process.wait() == 2, errors
    assert "is full or failing: [Errno 27] File too large" in errors
    assert f"Go on from {output / 'checkpoints' / 'step_00000006'}, which is whole" in errors
