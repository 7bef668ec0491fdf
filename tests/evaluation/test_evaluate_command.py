"""`skingpt4 evaluate`: from a model and a data set to a folder of figures."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from evaluated import run, write_cases
from training_runs import write_table

from skingpt4.config import save_settings
from skingpt4.errors import DataError, SettingsError
from skingpt4.evaluation import answers
from skingpt4.evaluation.cases import read_cases
from skingpt4.evaluation.parsing import named_disease
from skingpt4.evaluation.predictions import Predictions
from skingpt4.settings import Settings, SourceSettings

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("--repeats", "0")


@pytest.fixture
def model(tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A YAML file of a random model, whose answers end soon."""
    monkeypatch.setattr(answers, "LONGEST_ANSWER", 6)
    save_settings(tiny_settings, tmp_path / "model.yaml")
    return tmp_path / "model.yaml"


def figures_of(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "metrics.json").read_text(encoding="utf-8")))


def test_a_folder_of_figures(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = write_cases(tmp_path / "data", 16), tmp_path / "out"
    assert run("--cfg-path", model, "--data", data, "--out", out, "--repeats", 2, "--repeat-cases", 2) == 0
    printed = capsys.readouterr().out.strip().splitlines()[-1]
    found, cases = figures_of(out), Predictions.read(out / "predictions.parquet")
    right = sum(
        named_disease(answer, cases.diseases) == disease
        for answer, disease in zip(cases.diagnosis_answer, cases.disease, strict=True)
    )
    assert f"{right} of 8 diagnoses right" in printed and "always the commonest answer: " in printed
    assert found["figures"]["diagnosis.disease_answered"]["top_1"]["value"] == right / 8
    assert found["cases"] == 8 and found["about"]["split"] == "test" and found["about"]["fitted_on"] == "validation"
    assert found["figures"]["trust.disease"]["set_coverage"]["n"] == 8  # fitted on the other split
    assert found["figures"]["consistency"]["pairs"]["n"] == 2
    assert found["figures"]["concepts.scored.all"]["macro_auroc"]["value"] is not None
    assert set(found["confusion"]) == {"disease_scored", "disease_answered", "class_scored", "class_answered"}
    assert len(Predictions.read(out / "fit_predictions.parquet")) == 4
    assert (out / "report.html").stat().st_size > 20_000 and (out / "tables" / "headline.tex").is_file()
    assert {file.suffix for file in (out / "plots").iterdir()} == {".png", ".svg"}


def test_a_table_of_image_and_disease(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = write_table(tmp_path / "data", 6), tmp_path / "out"
    assert run("--cfg-path", model, "--data", table, "--out", out, *QUICK) == 0
    assert "of 6 diagnoses right" in capsys.readouterr().out
    found = figures_of(out)
    assert found["figures"]["commonest"]["disease"]["value"] == pytest.approx(1 / 3)
    assert any("15 classes" in remark for remark in found["remarks"])
    with pytest.raises(DataError, match="is a table and has no splits"):
        run("--cfg-path", model, "--data", table, "--out", out, "--split", "test")


def test_a_wrong_folder_of_negatives_is_told_before_anything_is_asked(model: Path, tmp_path: Path) -> None:
    table, out = write_table(tmp_path / "data", 6), tmp_path / "out"
    with pytest.raises(DataError, match="--negatives expects one with pictures"):
        run("--cfg-path", model, "--data", table, "--out", out, "--negatives", tmp_path / "nowhere", *QUICK)
    assert not out.exists()


def test_what_cannot_be_compared_is_told_before_anything_is_asked(model: Path, tmp_path: Path) -> None:
    """Asking may take days; and then --compare and BERTScore could not be done."""
    data, out, other = write_cases(tmp_path / "data", 8), tmp_path / "out", tmp_path / "other"
    cases = read_cases(data)
    Predictions.of_records(cases.test[:-1], cases.diseases).write(other / "predictions.parquet")
    command = ("--cfg-path", model, "--data", data, "--out", out, *QUICK)
    with pytest.raises(DataError, match=r"over other cases \(.*png is in one of them only\)"):
        run(*command, "--compare", other)
    Predictions.of_records(cases.test, cases.diseases[1:]).write(other / "predictions.parquet")
    with pytest.raises(DataError, match="chose from other diseases"):
        run(*command, "--compare", other)
    with pytest.raises(DataError, match=r"holds no model for BERTScore: it has no config\.json"):
        run(*command, "--bertscore-model", tmp_path)
    assert not out.exists()


@pytest.mark.slow
def test_two_runs_are_compared(model: Path, tmp_path: Path) -> None:
    data = write_cases(tmp_path / "data", 8)
    run("--cfg-path", model, "--data", data, "--out", tmp_path / "one", *QUICK)
    shutil.copytree(tmp_path / "one", tmp_path / "two")  # its answers are there: nothing is asked again
    run("--cfg-path", model, "--data", data, "--out", tmp_path / "two", "--compare", tmp_path / "one", *QUICK)
    tests = figures_of(tmp_path / "two")["comparison"]
    assert tests["diagnosis.disease_answered.top_1"]["test"] == "McNemar's exact test"
    assert tests["diagnosis.disease_answered.top_1"]["difference"]["value"] == 0
    assert (tmp_path / "two" / "tables" / "comparison.tex").is_file()
    with pytest.raises(DataError, match=r"has no predictions\.parquet"):
        run("--cfg-path", model, "--data", data, "--out", tmp_path / "two", "--compare", tmp_path, *QUICK)


def test_leaks_are_refused(model: Path, tmp_path: Path, tiny_settings: Settings) -> None:
    data, out = write_cases(tmp_path / "data", 16), tmp_path / "out"
    files = sorted(data.glob("?/*.png"), key=lambda file: int(file.stem))
    files[2].write_bytes(files[1].read_bytes())  # a test case with the content of a validation case
    command = ("--cfg-path", model, "--data", data, "--out", out, *QUICK)
    with pytest.raises(DataError, match=r"(?s)1 of the 8 cases .* in the split validation .*--allow-leaks"):
        run(*command)
    assert not out.exists()
    tiny_settings.data.train = [SourceSettings(source="manifest", path=str(data), split="test")]
    save_settings(tiny_settings, model)
    with pytest.raises(DataError, match=r"8 of the 8 cases measured on are in the model's training data"):
        run(*command, "--fit-on", "")
    run(*command, "--allow-leaks", "--force")
    assert any("the figures are too good" in remark for remark in figures_of(out)["remarks"])


def test_what_cannot_be_is_refused(model: Path, tmp_path: Path) -> None:
    data = write_cases(tmp_path / "data", 8)
    command = ("--cfg-path", model, "--data", data, "--out", tmp_path / "out")
    with pytest.raises(DataError, match="has no split train, only") as error:
        write_one_split(data)
        run(*command, "--split", "train")
    assert "data split" in str(error.value)
    with pytest.raises(DataError, match="cannot be both measured on and fitted on"):
        run(*command, "--fit-on", "test")
    with pytest.raises(DataError, match="All rows are measured on"):
        run(*command, "--split", "", "--fit-on", "test")
    with pytest.raises(SettingsError, match="--repeats 1"):
        run(*command, "--repeats", 1)


def write_one_split(data: Path) -> None:
    from skingpt4.data.manifest import open_manifest
    from skingpt4.data.rewrite import write_columns

    manifest = open_manifest(data)
    write_columns(manifest, {"split": ["test"] * len(manifest)}, data)


def started(model: Path, data: Path, out: Path, ranks: int = 1) -> subprocess.Popen:
    """The command in processes of its own."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)] if ranks > 1 else []
    command = [sys.executable, *launch, str(Path(__file__).with_name("evaluated.py")), "--cfg-path", str(model)]
    command += ["--data", str(data), "--out", str(out), *QUICK]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


@pytest.mark.slow
def test_killed_it_goes_on_where_it_was(model: Path, tmp_path: Path) -> None:
    data, out = write_cases(tmp_path / "data", 160), tmp_path / "out"
    first = out / "answers" / "test" / "000000.parquet"
    with started(model, data, out) as process:
        deadline = time.monotonic() + 240
        while not first.is_file() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert first.is_file() and not (out / "metrics.json").exists()
    written = first.stat().st_mtime_ns
    with started(model, data, out) as process:
        printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and "of 80 diagnoses right" in printed, printed[-2000:]
    assert first.stat().st_mtime_ns == written and len(Predictions.read(out / "predictions.parquet")) == 80


@pytest.mark.slow
def test_two_processes_find_what_one_finds(model: Path, tmp_path: Path) -> None:
    data = write_cases(tmp_path / "data", 80)
    for ranks in (1, 2):
        with started(model, data, tmp_path / f"{ranks}", ranks) as process:
            printed, _ = process.communicate(timeout=400)
        assert process.returncode == 0 and printed.count("diagnoses right") == 1, printed[-2000:]
    one, two = (figures_of(tmp_path / f"{ranks}") for ranks in (1, 2))
    assert one["figures"] == two["figures"] and one["confusion"] == two["confusion"]
