"""The ablation: which runs it makes, what it says of them, and the whole of it on few drawings."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skingpt4.commands import ablate as command
from skingpt4.config import load_settings
from skingpt4.data.records import Record
from skingpt4.errors import DataError, SettingsError
from skingpt4.evaluation.ablation.arms import ARMS, BOTH, START, STEP1, STEP2, Ablation, Arms, ablate
from skingpt4.evaluation.ablation.figures import METRICS, NAMED, RANKED, Comparison, compare
from skingpt4.evaluation.ablation.report import markdown, write_report
from skingpt4.evaluation.cases import Cases
from skingpt4.evaluation.predictions import Predictions
from skingpt4.settings import Settings
from skingpt4.tiny.dataset import SetSize
from skingpt4.tiny.quickstart import CONFIGS, drawn_steps
from skingpt4.vocabulary import CONCEPTS

DISEASES = ("acne", "eczema", "psoriasis", "wart")


def two_steps() -> list[Settings]:
    return load_settings(CONFIGS / "two_step.yaml")


def test_both_steps_go_on_from_step_1_and_step_2_alone_starts_where_step_1_did(tmp_path: Path) -> None:
    steps = two_steps()
    arms = Arms.of(steps, tmp_path, seed=7)
    assert arms.both.model.ckpt == arms.step1.run.output_dir == str(tmp_path / "two_step" / "step1")
    assert arms.step2.model.ckpt == arms.step1.model.ckpt == "embedded/projection.safetensors"
    assert {arms.step1.run.seed, arms.both.run.seed, arms.step2.run.seed} == {7}
    assert arms.step2.data == arms.both.data == steps[1].data
    assert list(arms.checkpoints) == list(ARMS) and Path(arms.checkpoints[START]).is_file()
    assert arms.checkpoints[STEP2] == str(tmp_path / "step2_only") and steps[0].run.seed == 42


def test_the_runs_of_quickstart_are_those_of_its_settings_files(tmp_path: Path) -> None:
    arms, alone = Arms.of(drawn_steps(tmp_path), tmp_path), load_settings(CONFIGS / "step2_only.yaml")[0]
    assert arms.step2.model == alone.model
    assert replace(arms.step2.run, output_dir="") == replace(alone.run, output_dir="")
    assert [source.path for source in arms.step2.data.train] == [str(tmp_path / "data" / "step2" / "records.jsonl")]


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    steps = two_steps()
    with pytest.raises(SettingsError, match="these settings describe 1"):
        Arms.of(steps[:1], tmp_path)
    steps[0].model.ckpt = ""
    with pytest.raises(SettingsError, match="starts from random numbers"):
        Arms.of(steps, tmp_path)
    steps = two_steps()
    steps[1].model.freeze_qformer = False
    with pytest.raises(SettingsError, match="freeze_qformer to true"):
        Arms.of(steps, tmp_path)


def records(count: int, concepts: bool = True) -> list[Record]:
    """Cases of four diseases in turn; each has two concepts, which tell the diseases apart."""
    return [
        Record(
            Path(f"{number}.png"),
            ("What could this be?",),
            (f"This could be a skin disease image of {DISEASES[number % 4]}.",),
            concepts=(CONCEPTS[number % 4], CONCEPTS[4 + number % 4]) if concepts else (),
            disease=DISEASES[number % 4],
        )
        for number in range(count)
    ]


def said(cases: Sequence[Record], right: Sequence[bool]) -> Predictions:
    """A model that is right, in text and scores, about the cases that `right` says; else it is off by one disease."""
    empty = Predictions.of_records(cases, DISEASES)
    meant = [DISEASES.index(case.disease) + (not good) for case, good in zip(cases, right, strict=True)]
    scores = np.array([[float(k == number % 4) for k in range(4)] for number in meant])
    odds = np.full((len(cases), len(CONCEPTS)), -1.0)
    for row, number in enumerate(meant):
        odds[row, [number % 4, 4 + number % 4]] = 1.0
    return replace(
        empty,
        diagnosis_answer=[f"This could be a skin disease image of {DISEASES[number % 4]}." for number in meant],
        concept_answer=[f"I see {CONCEPTS[number % 4]}, {CONCEPTS[4 + number % 4]}" for number in meant],
        disease_log_scores=scores,
        concept_log_odds=odds,
    )


def an_ablation(count: int = 40, concepts: bool = True) -> Ablation:
    """Two seeds. Before fine-tuning nothing is right, step 2 alone gets the first 20 or 24 cases, both steps all."""
    cases = records(count, concepts)
    none, every = said(cases, [False] * count), said(cases, [True] * count)
    step2 = [said(cases, [number < right for number in range(count)]) for right in (20, 24)]
    return Ablation({START: [none], STEP1: [none, none], STEP2: step2, BOTH: [every, every]}, (1, 2), [])


@pytest.fixture(scope="module")
def compared() -> dict[str, dict[str, Comparison]]:
    return compare(an_ablation(), resamples=300)


def test_figures_of_known_models(compared: dict[str, dict[str, Comparison]]) -> None:
    found = compared
    assert set(found) == set(METRICS)
    for metric in METRICS:
        assert found[metric][BOTH].figure.value == 1.0 and found[metric][BOTH].spread == 0.0
        assert found[metric][BOTH].difference is None
    for metric in (NAMED, RANKED):
        arms = found[metric]
        assert arms[STEP2].by_seed == (0.5, 0.6) and arms[STEP2].figure.value == pytest.approx(0.55)
        assert arms[STEP2].spread == pytest.approx(0.1 / 2**0.5)
        low = arms[STEP2].figure.low
        assert low is not None and 0.35 < low < 0.5  # 0.55 +- 1.96 * 0.079
        difference = arms[STEP2].difference
        assert difference is not None and difference.value == pytest.approx(-0.45)
        assert difference.high is not None and difference.high < -0.25
        # McNemar's exact test: 20 (16) cases that both steps alone get right, none the other way round.
        assert arms[STEP2].p_values == pytest.approx((2 * 0.5**20, 2 * 0.5**16))
        assert arms[START].by_seed == (0.0,) and arms[START].spread is None
        assert arms[START].figure.value == 0.0 and (arms[START].figure.high or 0) > 0.05  # Wilson: 0 of 40
    assert found["concepts_micro_f1"][STEP2].by_seed == pytest.approx((0.5, 0.6))
    assert found["concepts_macro_auroc"][START].figure.value == pytest.approx(1 / 3)  # 0 of 1 found, 2 of 3 passed over
    assert found["answer_rouge_l"][START].figure.value == pytest.approx(
        8 / 9
    )  # one of nine words, the disease, differs


def test_what_nobody_noted_is_undefined_with_a_reason() -> None:
    found = compare(an_ablation(concepts=False), resamples=50)
    figure = found["concepts_micro_f1"][BOTH].figure
    assert figure.value is None and figure.n == 0 and figure.note
    assert found[NAMED][BOTH].figure.n == 40
    text = markdown(found, (1, 2), [], "Title")
    assert f"- {METRICS['concepts_micro_f1']}: {figure.note}." in text and "nan" not in text.lower()


def test_the_report_says_the_figures_in_every_form(tmp_path: Path, compared: dict[str, dict[str, Comparison]]) -> None:
    text = write_report(compared, (1, 2), ["A remark."], "What was done.", tmp_path, 12.34)
    assert (tmp_path / "ablation.md").read_text(encoding="utf-8") == text
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith(f"| {STEP2}")]
    assert rows[0][1].startswith("0.550 ± 0.071 (0.4") and rows[1][1].startswith("-0.450 (-0.")
    assert rows[1][1].endswith("p < 0.001") and "- A remark." in text
    latex = (tmp_path / "ablation.tex").read_text(encoding="utf-8")
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2 and r"0.550 $\pm$ 0.071" in latex
    content = json.loads((tmp_path / "ablation.json").read_text(encoding="utf-8"))
    assert content["metrics"][NAMED]["arms"][STEP2]["by_seed"] == [0.5, 0.6] and content["seconds"] == 12.3
    assert (tmp_path / "ablation.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (tmp_path / "ablation.svg").read_text(encoding="utf-8")


def arguments_of(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add(parser)
    return parser.parse_args(given)


def test_wrong_arguments_are_explained(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    with pytest.raises(SettingsError, match="--cfg-path needs --data"):
        command.run(arguments_of("--cfg-path", str(CONFIGS / "two_step.yaml"), "--out", out))
    with pytest.raises(SettingsError, match="--data needs --cfg-path"):
        command.run(arguments_of("--data", str(tmp_path), "--out", out))
    with pytest.raises(SettingsError, match="--seeds is 0"):
        command.run(arguments_of("--seeds", "0", "--out", out))
    assert not Path(out).exists()


def test_cases_that_training_sees_and_folders_of_another_ablation_are_refused(tmp_path: Path) -> None:
    few = {"step1": SetSize(8, 4, False, 1), "step2": SetSize(8, 0, True, 2), "validation": SetSize(4, 0, True, 3)}
    out = tmp_path / "out"
    from skingpt4.tiny.quickstart import draw_sets, drawn_records

    draw_sets(out, few)
    steps = drawn_steps(out)
    for seen in ("step2", "validation"):  # of the validation pairs, the best weights are chosen
        cases = drawn_records(out / "data" / seen)
        with pytest.raises(DataError, match=f"{len(cases)} of the {len(cases)} cases measured on are in"):
            ablate(steps, Cases(cases, (), ("acne", "eczema")), [1], out)
    steps[1].run.init_lr = 1.0
    with pytest.raises(DataError, match="an ablation of other settings"):
        ablate(steps, Cases(cases, (), ("acne", "eczema")), [1], out)
    with pytest.raises(DataError, match="no diseases"):
        ablate(steps, Cases(cases, (), ()), [1], tmp_path / "other")


FEW = {
    "step1": SetSize(38, 90, False, 11),
    "step2": SetSize(76, 0, True, 12),
    "validation": SetSize(10, 0, True, 13),
    "test": SetSize(20, 0, True, 14),
}


@pytest.mark.very_slow
def test_ablate_on_few_drawings_and_again_and_with_settings_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "ablation"
    quick = ["--options", "run.max_epoch=1", "run.batch_size_train=8", "run.warmup_steps=2", *command.UNWATCHED]
    assert command.run(arguments_of("--seeds", "1", "--out", str(out), *quick), FEW) == 0
    printed = capsys.readouterr().out
    assert "knows nothing about real skin" in printed and "Tables and picture" in printed
    first = json.loads((out / "ablation.json").read_text(encoding="utf-8"))
    arms = first["metrics"]["concepts_micro_f1"]["arms"]
    assert arms[STEP1]["figure"]["value"] > arms[START]["figure"]["value"]  # sixteen steps already move it
    assert first["metrics"][NAMED]["arms"][START]["figure"]["n"] == 20 and first["seeds"] == [42]

    made = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.suffix in (".safetensors", ".parquet")}
    assert sum(path.suffix == ".parquet" for path in made) >= 4
    assert command.run(arguments_of("--seeds", "2", "--out", str(out), *quick), FEW) == 0
    assert all(path.stat().st_mtime_ns == time for path, time in made.items())  # nothing is done twice
    second = json.loads((out / "ablation.json").read_text(encoding="utf-8"))
    assert second["seeds"] == [42, 43] and len(second["metrics"][RANKED]["arms"][BOTH]["by_seed"]) == 2
    for metric, each in first["metrics"].items():
        assert second["metrics"][metric]["arms"][BOTH]["by_seed"][0] == each["arms"][BOTH]["by_seed"][0]

    for name in ("step1", "step2"):
        data = out / "data" / name / "records.jsonl"
        task = "concepts" if name == "step1" else "diagnosis"
        source = f"data:\n  train: [{{source: table, path: {data}, task: {task}}}]\n  validation: []\n"
        (tmp_path / f"{name}.yaml").write_text(f"base: {CONFIGS / name}.yaml\n{source}", encoding="utf-8")
    both = tmp_path / "both.yaml"
    both.write_text("steps: [step1.yaml, step2.yaml]\nmodel: {ckpt: embedded/projection.safetensors}\n")
    table = str(out / "data" / "test" / "records.jsonl")
    own = ["--cfg-path", str(both), "--data", table, "--seeds", "1", "--out", str(tmp_path / "own"), *quick]
    assert command.run(arguments_of(*own)) == 0
    found = json.loads((tmp_path / "own" / "ablation.json").read_text(encoding="utf-8"))["metrics"]
    assert found[NAMED]["arms"][BOTH]["figure"]["value"] is not None
    assert found["concepts_micro_f1"]["arms"][BOTH]["figure"]["value"] is None  # the table was read for diagnoses
