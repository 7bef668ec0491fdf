"""Every YAML file that the project ships."""

from __future__ import annotations

from pathlib import Path

import pytest

from skingpt4.config import load_settings
from skingpt4.prompts import named_template

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = sorted(
    [*ROOT.glob("configs/**/*.yaml"), *ROOT.glob("eval_configs/*.yaml"), *ROOT.glob("skingpt4/tiny/**/*.yaml")]
)
RUNS = [
    path
    for path in SHIPPED
    if path.name not in ("paper.yaml", "model.yaml", "settings.yaml") and path.parent.name != "eval_configs"
]


def test_none_is_lost() -> None:
    names = {str(path.relative_to(ROOT)) for path in SHIPPED}
    steps = ("step1", "step2", "two_step", "step1_only", "step2_only")
    assert {f"configs/{size}/{step}.yaml" for size in ("vicuna13b", "vicuna7b", "embedded") for step in steps} <= names
    assert len(SHIPPED) >= 28 and len(RUNS) >= 22


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_loads(path: Path) -> None:
    for settings in load_settings(path):
        named_template(settings.model.chat_template)


@pytest.mark.parametrize(
    "path",
    [p for p in SHIPPED if p not in (ROOT / "configs/vicuna13b/paper.yaml",)],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_the_header_states_claim_and_command(path: Path) -> None:
    header = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    if path.name == "model.yaml":
        assert "Shared" in header
        return
    assert "# Claim" in header and "# Command" in header


@pytest.mark.parametrize("step", ["step1", "step2"])
def test_the_papers_settings(step: str) -> None:
    settings = load_settings(ROOT / f"configs/vicuna13b/{step}.yaml")[0]
    run, model = settings.run, settings.model
    assert (run.batch_size_train, run.max_epoch, run.iters_per_epoch, run.warmup_steps) == (2, 20, 5000, 5000)
    assert (run.init_lr, run.weight_decay, run.seed, model.max_txt_len, model.end_sym) == (1e-4, 0.05, 42, 160, "###")
    assert settings.data.random_crop and model.freeze_vit and model.freeze_qformer


def test_step_two_starts_from_step_one() -> None:
    first, second = load_settings(ROOT / "configs/vicuna13b/two_step.yaml")
    assert second.model.ckpt == first.run.output_dir
    assert first.data.train[0].source == "skincon" and {source.source for source in second.data.train} == {
        "folder",
        "table",
    }
