"""A killed and resumed run ends where the uninterrupted one does."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from training_runs import write_yaml

from skingpt4.config import load_settings
from skingpt4.settings import Settings
from skingpt4.training.runner import train
from skingpt4.weights.files import read_tensors


def test_killed_and_resumed_equals_uninterrupted(tiny_settings: Settings, tmp_path: Path) -> None:
    tiny_settings.data.random_crop = True
    config = write_yaml(tiny_settings, tmp_path, max_epoch=40, threads=1)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(load_settings(config, [f"run.output_dir={whole}"]))
    code = "import sys; from skingpt4.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "train", "--cfg-path", str(config), "--options", f"run.output_dir={broken}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (broken / "epoch_003").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, process.stderr and process.stderr.read()
    assert not (broken / "epoch_040").exists()
    train(load_settings(config, [f"run.output_dir={broken}"]), resume=True)
    a, b = (read_tensors(folder / "last" / "skingpt4.safetensors") for folder in (whole, broken))
    assert torch.equal(a["llama_proj.weight"], b["llama_proj.weight"]) and torch.equal(
        a["llama_proj.bias"], b["llama_proj.bias"]
    )
