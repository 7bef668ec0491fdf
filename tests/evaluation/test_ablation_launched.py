"""`skingpt4 ablate --cfg-path` on a small random model, in one process and in two that a launcher starts."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from evaluated import write_cases
from training_runs import write_table

from skingpt4.config import save_settings
from skingpt4.evaluation.ablation.arms import ARMS
from skingpt4.settings import Settings, SourceSettings

ROOT = Path(__file__).resolve().parents[2]
CODE = "import sys; from skingpt4.evaluation import answers, candidates; from skingpt4.cli import main; "
SHORT = "answers.LONGEST_ANSWER = candidates.LONGEST_LIST_TOKENS = 6; raise SystemExit(main(sys.argv[1:]))"


def write_steps(settings: Settings, folder: Path) -> Path:
    """Two short steps over drawn photographs, as a file that lists both."""
    for name in ("step1", "step2"):
        step = copy.deepcopy(settings)
        step.data.train = [SourceSettings(source="table", path=str(write_table(folder / name, 8)))]
        step.data.random_crop = False
        step.run.batch_size_train, step.run.max_epoch, step.run.shown_images = 4, 1, 0
        save_settings(step, folder / f"{name}.yaml")
    (folder / "both.yaml").write_text("steps: [step1.yaml, step2.yaml]\n", encoding="utf-8")
    return folder / "both.yaml"


@pytest.mark.very_slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_the_command_as_it_is_launched(ranks: int, tiny_settings: Settings, tmp_path: Path) -> None:
    steps, cases, out = (
        write_steps(tiny_settings, tmp_path),
        write_cases(tmp_path / "cases", 16, size_px=24),
        tmp_path / "out",
    )
    (tmp_path / "short.py").write_text(CODE + SHORT, encoding="utf-8")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"] if ranks > 1 else []
    words = ["--cfg-path", steps, "--data", cases, "--seeds", "1", "--out", out, "--device", "cpu"]
    command = [sys.executable, *launch, tmp_path / "short.py", "ablate", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.count("Tables and picture:") == 1
    found: dict[str, Any] = json.loads((out / "ablation.json").read_text(encoding="utf-8"))["metrics"]
    assert [list(each["arms"]) for each in found.values()] == [list(ARMS)] * len(found)
    assert found["disease_ranked_first"]["arms"]["both steps"]["figure"]["n"] == 8
