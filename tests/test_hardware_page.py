"""`docs/hardware.md`: its computed part is what the script prints; its Slurm script puts a stopped run into the queue
again.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from training_runs import write_yaml

from skingpt4.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "hardware.md"
# As Slurm's: a process per task, its numbers in the environment, the highest exit code of all.
SRUN = f"""#!{sys.executable}
import os, subprocess, sys
words = [word for word in sys.argv[1:] if not word.startswith("--")]
number = {{"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}}
tasks = [
    subprocess.Popen(words, env={{**os.environ, **number, "SLURM_PROCID": str(n), "SLURM_LOCALID": str(n)}})
    for n in range(2)
]
sys.exit(max(task.wait() for task in tasks))
"""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then echo localhost; else echo "$@" >> "$SCONTROL_LOG"; fi
"""


def test_the_computed_part_is_what_the_script_computes(tmp_path: Path) -> None:
    copy = tmp_path / "page.md"
    text = PAGE.read_text(encoding="utf-8")
    copy.write_text(text, encoding="utf-8")
    command = [sys.executable, str(ROOT / "benchmarks" / "cost_model.py"), "--page", str(copy)]
    subprocess.run(command, check=True, timeout=60)
    assert copy.read_text(encoding="utf-8") == text
    assert "10,000,000" in text.partition("<!-- computed")[2]


@pytest.fixture
def job(tiny_settings: Settings, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """The page's script with a small configuration in place of the large one, and the environment that Slurm gives."""
    (script,) = re.findall(r"```bash\n(#!/bin/bash.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    config = write_yaml(tiny_settings, tmp_path, max_epoch=100_000)
    for old, new in (
        ("configs/vicuna13b/two_step.yaml", str(config)),
        ("python train.py", f"{sys.executable} {ROOT / 'train.py'}"),
        ("run.output_dir=output/cluster", f"run.output_dir={tmp_path / 'output'}"),
        ("run.batch_size_train=16 run.iters_per_epoch=79 run.warmup_steps=79", "run.batch_size_train=2 $MORE"),
    ):
        assert script.count(old) == 1
        script = script.replace(old, new)
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("job.sh", script)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "localhost", "SLURM_CPUS_PER_TASK": "1"}
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SCONTROL_LOG": str(tmp_path / "scontrol.log"), "MORE": ""}
    return tmp_path / "job.sh", {**os.environ, **slurm, **path}


@pytest.mark.very_slow
def test_the_slurm_script_puts_the_job_back_and_goes_on(job: tuple[Path, dict[str, str]]) -> None:
    script, environment = job
    run = script.parent / "output"
    process = subprocess.Popen([script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        deadline = time.monotonic() + 120
        while not ((run / "metrics.jsonl").is_file() and (run / "metrics.jsonl").stat().st_size):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        for child in psutil.Process(process.pid).children(recursive=True):
            if "RANK" in child.environ():  # Slurm sends `--signal` to the tasks, not to srun
                child.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    finally:
        for left in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
            left.kill()
        process.kill()
    assert process.returncode == 75, output[-3000:]
    assert (script.parent / "scontrol.log").read_text() == f"requeue {os.getpid()}\n"
    reached = max(json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines())
    epochs = -(-reached // 3) + 1  # 12 records, 2 x 2 a step
    subprocess.run([script], env=environment | {"MORE": f"run.max_epoch={epochs}"}, check=True, timeout=120)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 3 * epochs + 1))
