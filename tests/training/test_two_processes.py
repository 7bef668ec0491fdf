"""Two processes train as one with the same global batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_runs import write_yaml

from skingpt4.config import load_settings
from skingpt4.settings import Settings
from skingpt4.training.runner import train
from skingpt4.weights.files import read_tensors

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_two_processes_equal_one_with_the_same_global_batch(tiny_settings: Settings, tmp_path: Path) -> None:
    config = write_yaml(tiny_settings, tmp_path, batch_size_train=4, max_epoch=2, init_lr=0.001)
    table = tmp_path / "data" / "pairs.jsonl"
    lines = [json.loads(line) for line in table.read_text().splitlines()]
    # Answers of one length: then the mean over each process's tokens is the mean over all.
    table.write_text("".join(json.dumps(line | {"disease": "eczema", "notes": ""}) + "\n" for line in lines))
    one, two = tmp_path / "one", tmp_path / "two"
    train(load_settings(config, [f"run.output_dir={one}"]))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    options = ["--options", f"run.output_dir={two}", "run.batch_size_train=2"]
    command = [*launch, str(ROOT / "train.py"), "--cfg-path", str(config), *options]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stderr[-3000:]
    a, b = (read_tensors(folder / "last" / "skingpt4.safetensors") for folder in (one, two))
    torch.testing.assert_close(a["llama_proj.weight"], b["llama_proj.weight"], atol=1e-6, rtol=0)
    assert len((two / "metrics.jsonl").read_text().splitlines()) == 6  # the first process alone writes
