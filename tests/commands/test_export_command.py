"""`skingpt4 export`: what it writes, what it says, and the model card."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from synthetic_answers import synthetic
from training_runs import write_yaml

from skingpt4.cli import main
from skingpt4.commands import export
from skingpt4.errors import DataError, SettingsError, WeightsError
from skingpt4.evaluation.measure import measure
from skingpt4.evaluation.predictions import Predictions
from skingpt4.settings import Settings
from skingpt4.weights.export.card import write_card


def run(*arguments: object) -> int:
    """The command in this process, errors raised."""
    parser = argparse.ArgumentParser()
    export.add(parser)
    parsed = parser.parse_args([str(argument) for argument in arguments])
    return int(parsed.run(parsed))


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an evaluation, with the figures of an imagined model."""
    folder = tmp_path_factory.mktemp("evaluation")
    metrics = measure(synthetic(40)).to_dict() | {"about": {"data": "/srv/anna/clinic", "split": "test"}}
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    return folder


def test_the_projection_with_its_history(
    tiny_settings: Settings, tmp_path: Path, evaluation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two real training steps, the second on the first: both are in the card, and no path of this machine."""
    first = write_yaml(tiny_settings, tmp_path / "first", output_dir=str(tmp_path / "one"), max_epoch=1)
    assert main(["train", "--cfg-path", str(first)]) == 0
    tiny_settings.model.ckpt = str(tmp_path / "one")
    second = write_yaml(tiny_settings, tmp_path / "second", output_dir=str(tmp_path / "two"), max_epoch=2)
    assert main(["train", "--cfg-path", str(second)]) == 0
    out = tmp_path / "out"
    assert run("--cfg-path", tmp_path / "two", "--to", "pth", "--out", out, "--evaluation", evaluation) == 0
    assert f"ckpt: {out}/skingpt4.pth" in capsys.readouterr().out
    assert set(torch.load(out / "skingpt4.pth", weights_only=True)["model"]) == {"llama_proj.weight", "llama_proj.bias"}
    card = ModelCard.load(out / "README.md")
    text = card.content
    assert "Not for diagnosis without a doctor" in text
    assert text.index("### Step 1") < text.index("- epochs: 1\n") < text.index("### Step 2")
    assert text.index("### Step 2") < text.index("- epochs: 2\n")
    assert text.count("| pairs.jsonl | table | all | ") == 2
    assert "- training pairs: 12" in text
    assert str(tmp_path) not in text
    assert "anna" not in text
    metrics = json.loads((evaluation / "metrics.json").read_text())
    top = metrics["figures"]["diagnosis.disease_answered"]["top_1"]
    row = f"| diagnosis: disease answered | top 1 | {top['value']:.3f} | {top['low']:.3f} to {top['high']:.3f} | 40 |"
    assert row in text
    results = {result.metric_name: result for result in card.data.eval_results}
    found = results["diagnosis: disease answered: top 1"]
    assert (found.metric_value, found.dataset_name) == (round(top["value"], 4), "clinic, split test")
    figures = [each for section in metrics["figures"].values() for each in section.values()]
    assert len(results) == sum(each["value"] is not None for each in figures)
    assert "undefined" not in str(results)


def test_a_figure_that_is_undefined_stays_so(tmp_path: Path) -> None:
    predictions = synthetic(40)
    without = replace(predictions, reference=[None] * len(predictions))
    assert isinstance(without, Predictions)
    metrics = measure(without).to_dict()
    metrics["figures"]["diagnosis.disease_answered"]["top_1"] |= {
        "value": None, "low": None, "high": None, "note": "no case | at all"
    }  # fmt: skip
    write_card(tmp_path, "pth", Settings().model, "x", [], metrics)
    text = (tmp_path / "README.md").read_text()
    assert "| diagnosis: disease answered | top 1 | undefined |  | 40 | no case / at all |" in text
    assert "- No case has a reference answer" in text


def test_without_record_and_figures_the_card_says_so(tmp_path: Path) -> None:
    assert run("--to", "pth", "--out", tmp_path / "out") == 0
    text = (tmp_path / "out" / "README.md").read_text()
    assert "How it was trained is not known" in text
    assert "Do not rely on a model without figures." in text


def test_the_code_of_the_card_takes_any_stop(tmp_path: Path) -> None:
    generation = {"stop_strings": ['say "ID"\n'], "suppress_tokens": [7]}
    (tmp_path / "generation_config.json").write_text(json.dumps(generation), encoding="utf-8")
    write_card(tmp_path, "transformers", Settings().model, "x", [], None)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert r'stop_sequence="say \"ID\"\n"' in text
    assert '"suppress_tokens": [7]' in text


def test_the_embedded_model_in_every_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form, file in {"transformers": "processor_config.json", "decoder": "model.safetensors"}.items():
        assert run("--to", form, "--out", tmp_path / form) == 0
        assert (tmp_path / form / file).is_file()
        assert f"Wrote {tmp_path / form} (" in capsys.readouterr().out
    out = tmp_path / "transformers"
    assert main(["chat", "--cfg-path", str(out), "--image", str(_photo(tmp_path)), "--question", "What is this?"]) == 0
    assert len(capsys.readouterr().out.strip()) > 10


def test_gguf(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gguf")
    assert run("--to", "gguf", "--out", tmp_path / "out", "--quantization", "f16") == 0
    assert (tmp_path / "out" / "decoder-f16.gguf").read_bytes()[:4] == b"GGUF"
    assert f"--engine llamacpp --gguf {tmp_path / 'out'}/decoder-f16.gguf" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "pth", "--quantization", "int8"], "--quantization is for --to gguf and --to decoder"),
        (["--to", "decoder", "--evaluation", "x"], "--to decoder writes its decoder alone"),
        (["--to", "decoder", "--quantization", "q4_0"], r"'q4_0' is unknown; it must be one of int8, nf4"),
    ],
)
def test_what_does_not_go_together(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        run(*arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_there_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SettingsError, match="is there already; name a folder that is new or empty"):
        run("--to", "pth", "--out", tmp_path)
    with pytest.raises(SettingsError, match="is there already"):
        run("--to", "pth", "--out", tmp_path / "mine.txt")
    assert (tmp_path / "mine.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert run("--to", "pth", "--out", tmp_path / "empty") == 0
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(SettingsError, match=r"--out \. is the folder that you are in"):
        run("--to", "pth", "--out", ".")


def test_an_export_that_fails_leaves_nothing(tiny_settings: Settings, tmp_path: Path) -> None:
    path = write_yaml(tiny_settings, tmp_path / "run")
    with pytest.raises(SettingsError, match="eva_clip_g only"):
        run("--cfg-path", path, "--options", "model.vit_model=vit_tiny_patch16_224", "--to", "transformers",
            "--out", tmp_path / "out")  # fmt: skip
    assert sorted(each.name for each in tmp_path.iterdir()) == ["run"]


def test_an_evaluation_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"metrics\.json cannot be read"):
        run("--to", "pth", "--out", tmp_path / "out", "--evaluation", tmp_path)
    (tmp_path / "metrics.json").write_text("[]")
    with pytest.raises(DataError, match="has no figures"):
        run("--to", "pth", "--out", tmp_path / "out", "--evaluation", tmp_path)


@pytest.mark.parametrize("form", ["transformers", "decoder", "pth"])
def test_a_disk_that_is_too_small(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: argparse.Namespace(free=50_000))
    with pytest.raises(WeightsError, match=r"MB are to be written and 0\.1 MB are free on the disk of --out"):
        run("--to", form, "--out", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(WeightsError, match="cannot be written"):
        run("--to", "pth", "--out", tmp_path / "file" / "out")


def _photo(folder: Path) -> Path:
    from PIL import Image

    Image.new("RGB", (90, 80), (200, 150, 140)).save(folder / "photo.png")
    return folder / "photo.png"
