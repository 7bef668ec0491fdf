"""Runs started by `accelerate launch` (`torchrun`: see `test_two_processes`): a process that dies ends the others."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from training_runs import write_yaml

from skingpt4.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
    "accelerate": [
        "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
    ],  # without a GPU `--multi_gpu` only means: several processes
}  # fmt: skip
WITHIN_SECONDS = 60
pytestmark = pytest.mark.slow


@contextmanager
def launched(launcher: str, config: Path, *options: str) -> Iterator[subprocess.Popen]:
    """A training of two processes; whatever still runs at the end is killed."""
    command = [sys.executable, "-m", *LAUNCHERS[launcher], str(ROOT / "train.py"), "--cfg-path", str(config)]
    words = [*command, "--options", *options]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        left = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        for one in (*left, process):
            one.kill()
        process.wait()


def workers(launcher: subprocess.Popen) -> dict[int, psutil.Process]:
    """The training processes by rank."""
    return {int(child.environ()["RANK"]): child for child in psutil.Process(launcher.pid).children()}


def wait_for_a_step(run: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not ((run / "metrics.jsonl").is_file() and (run / "metrics.jsonl").stat().st_size):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0][-3000:]
        time.sleep(0.05)


def test_accelerate_trains_with_two_processes(tiny_settings: Settings, tmp_path: Path) -> None:
    config = write_yaml(tiny_settings, tmp_path, batch_size_train=2)
    with launched("accelerate", config) as process:
        output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output[-3000:]
    lines = [json.loads(line) for line in (tmp_path / "output" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 10))  # 12 records, 2 x 2 a step, 3 epochs


@pytest.mark.parametrize("launcher", ["torchrun", pytest.param("accelerate", marks=pytest.mark.very_slow)])
def test_a_killed_process_ends_the_others(launcher: str, tiny_settings: Settings, tmp_path: Path) -> None:
    config = write_yaml(tiny_settings, tmp_path, max_epoch=100_000)
    with launched(launcher, config) as process:
        wait_for_a_step(tmp_path / "output", process)
        ranks = workers(process)
        assert sorted(ranks) == [0, 1]
        ranks[1].send_signal(signal.SIGKILL)
        output, _ = process.communicate(timeout=WITHIN_SECONDS)
        assert process.returncode not in (0, None)
        assert not any(worker.is_running() for worker in ranks.values())
    assert "Root Cause" in output and f"Signal 9 (SIGKILL) received by PID {ranks[1].pid}" in output


@pytest.mark.parametrize("launcher", [pytest.param("torchrun", marks=pytest.mark.very_slow), "accelerate"])
def test_an_error_of_one_process_ends_the_others_and_is_shown(
    launcher: str, tiny_settings: Settings, tmp_path: Path
) -> None:
    """A photograph that is torn while the run goes on: whichever process draws it first fails alone."""
    config = write_yaml(tiny_settings, tmp_path, max_epoch=100_000)
    with launched(launcher, config, "data.cached_views=0", "run.num_workers=0") as process:
        wait_for_a_step(tmp_path / "output", process)
        ranks = workers(process)
        torn = tmp_path / "data" / "5.png"
        torn.write_bytes(torn.read_bytes()[:80])
        output, _ = process.communicate(timeout=WITHIN_SECONDS)
        assert process.returncode not in (0, None)
        assert not any(worker.is_running() for worker in ranks.values())
    assert "skingpt4: " in output and str(torn) in output
