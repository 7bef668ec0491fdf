"""Training in a process of its own, which can be killed, stopped and started again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skingpt4.training.reports.run_folder import METRICS_FILE, read_lines
from skingpt4.weights.files import read_tensors

ROOT = Path(__file__).resolve().parents[1]


def start_training(config: Path, output: Path, *options: str, resume: bool = False, ranks: int = 1, **more: Any) -> Any:
    """`python train.py`, or torchrun with so many `ranks`; a `subprocess.Popen`. more: arguments of Popen."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)] if ranks > 1 else []
    command = [sys.executable, *launch, str(ROOT / "train.py"), "--cfg-path", str(config)]
    command += ["--resume"] * resume + ["--options", f"run.output_dir={output}", *options]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment, **more
    )


def last_step(output: Path) -> int:
    """Of the lines of a run's metrics; 0 where there are none yet."""
    return max((line["step"] for line in read_lines(output / METRICS_FILE)), default=0)


def wait_until(reached: Callable[[], bool], process: subprocess.Popen, seconds: float = 120) -> None:
    """Return when `reached` or when the process has ended; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not reached() and process.poll() is None:
        assert time.monotonic() < deadline, "the run did not come that far"
        time.sleep(0.002)


def same_weights(a: Path, b: Path) -> bool:
    """Whether two runs' (or checkpoints') trained tensors are the same, to the last bit."""
    one, other = (read_tensors(folder / "skingpt4.safetensors") for folder in (a, b))
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)
