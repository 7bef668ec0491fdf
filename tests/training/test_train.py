"""Whole training runs on small real models, through the command line's own path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from training_runs import write_table, write_yaml

from skingpt4.cli import main
from skingpt4.config import load_settings
from skingpt4.errors import DataError, ImageError, SkinGPTError, TrainingError
from skingpt4.settings import Settings
from skingpt4.training.runner import train
from skingpt4.weights.build import load_model
from skingpt4.weights.files import read_tensors


def metrics(folder: Path, key: str) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line[key] for line in lines if key in line]


def projection(folder: Path) -> dict[str, torch.Tensor]:
    return read_tensors(folder / "skingpt4.safetensors")


def test_a_run_learns_and_leaves_what_is_needed(
    tiny_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_settings.data.validation_fraction = 0.25
    config = write_yaml(tiny_settings, tmp_path, max_epoch=4)
    output = Path(tiny_settings.run.output_dir)
    assert main(["train", "--cfg-path", str(config), "--options", "run.seed=7"]) == 0
    assert "12 rows" in capsys.readouterr().out
    losses = metrics(output, "loss")
    assert len(losses) == 4 * 3 and sum(losses[-3:]) < 0.95 * sum(losses[:3])
    assert len(metrics(output, "validation_loss")) == 4 and metrics(output, "samples_per_second")
    steps = ["step_00000006", "step_00000009", "step_00000012"]  # run.keep_checkpoints
    assert sorted(folder.name for folder in (output / "checkpoints").iterdir()) == steps
    saved = load_settings(output / "settings.yaml")[0]
    assert saved.run.seed == 7 and saved.run.iters_per_epoch == 3
    model, _ = load_model(output / "last")  # from the folder alone: it knows its decoder and its templates
    assert set(projection(output / "last")) == {"llama_proj.weight", "llama_proj.bias"}
    assert torch.equal(model.llama_proj.weight, projection(output / "last")["llama_proj.weight"])


def test_best_is_the_epoch_of_the_lowest_validation_loss(tiny_settings: Settings, tmp_path: Path) -> None:
    tiny_settings.data.validation_fraction = 0.25
    train(
        load_settings(write_yaml(tiny_settings, tmp_path, init_lr=0.5, max_epoch=4, keep_checkpoints=0))
    )  # so hot that it does not end at its best
    output = Path(tiny_settings.run.output_dir)
    losses = metrics(output, "validation_loss")
    best = (losses.index(min(losses)) + 1) * 3
    saved, kept = (projection(output / name) for name in ("best", f"checkpoints/step_{best:08d}"))
    assert torch.equal(saved["llama_proj.weight"], kept["llama_proj.weight"])


def test_cached_features_and_encoding_at_every_step_are_the_same_training(
    tiny_settings: Settings, tmp_path: Path
) -> None:
    config = write_yaml(tiny_settings, tmp_path)
    output = Path(tiny_settings.run.output_dir)
    train(load_settings(config))
    train(load_settings(config, ["data.cached_views=0", "run.num_workers=0", f"run.output_dir={output}2"]))
    assert metrics(output, "loss") == pytest.approx(metrics(Path(f"{output}2"), "loss"), abs=1e-5)


def test_accumulated_gradients_are_those_of_the_whole_batch(tiny_settings: Settings, tmp_path: Path) -> None:
    config = write_yaml(tiny_settings, tmp_path, batch_size_train=4)
    lines = (tmp_path / "data" / "pairs.jsonl").read_text().splitlines()
    same = [
        json.dumps(json.loads(line) | {"disease": "eczema", "notes": ""}) for line in lines
    ]  # equal lengths: equal means
    (tmp_path / "data" / "pairs.jsonl").write_text("\n".join(same))
    output = Path(tiny_settings.run.output_dir)
    train(load_settings(config))
    options = ["run.batch_size_train=2", "run.accum_grad_iters=2", f"run.output_dir={output}2"]
    train(load_settings(config, options))
    a, b = projection(output / "last"), projection(Path(f"{output}2/last"))
    torch.testing.assert_close(a["llama_proj.weight"], b["llama_proj.weight"], atol=2e-5, rtol=0)


def test_random_crops_are_views_of_their_own_and_repeatable(tiny_settings: Settings, tmp_path: Path) -> None:
    config = write_yaml(tiny_settings, tmp_path)
    folders = [tmp_path / name for name in ("whole", "crops", "again")]
    for folder, crop in zip(folders, ("false", "true", "true"), strict=True):
        train(load_settings(config, [f"data.random_crop={crop}", "data.cached_views=3", f"run.output_dir={folder}"]))
    whole, crops, again = (metrics(folder, "loss") for folder in folders)
    assert crops == again and crops != whole


def test_an_existing_run_is_not_overwritten(tiny_settings: Settings, tmp_path: Path) -> None:
    config = write_yaml(tiny_settings, tmp_path, max_epoch=1)
    train(load_settings(config))
    with pytest.raises(TrainingError, match=r"holds a run already\. Go on with --resume"):
        train(load_settings(config))


def test_nothing_to_resume_from_is_said(tiny_settings: Settings, tmp_path: Path) -> None:
    config = write_yaml(tiny_settings, tmp_path, resume_ckpt_path=str(tmp_path / "nowhere"))
    with pytest.raises(TrainingError, match="Nothing to resume in"):
        train(load_settings(config))


def test_a_loss_that_is_not_finite_stops_and_names_the_photographs(tiny_settings: Settings, tmp_path: Path) -> None:
    weights = read_tensors(Path(tiny_settings.model.ckpt))
    weights["llama_proj.weight"][0, 0] = float("nan")
    torch.save({"model": weights}, tmp_path / "broken.pth")
    tiny_settings.model.ckpt = str(tmp_path / "broken.pth")
    with pytest.raises(TrainingError, match=r"loss at step 1 is nan. The photographs of this batch: .*\d\.png"):
        train(load_settings(write_yaml(tiny_settings, tmp_path)))
    assert not (Path(tiny_settings.run.output_dir) / "last").exists()


def test_a_torn_photograph_is_an_error_or_is_counted(
    tiny_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_yaml(tiny_settings, tmp_path, max_epoch=1)
    torn = tmp_path / "data" / "3.png"
    torn.write_bytes(torn.read_bytes()[:200])
    with pytest.raises(ImageError, match=r"3\.png is damaged"):
        train(load_settings(config))
    train(load_settings(config, ["data.on_bad_image=skip"]))
    assert "1 unreadable photographs are skipped" in capsys.readouterr().out
    torn.unlink()
    with pytest.raises(DataError, match=r"3\.png"):
        train(load_settings(config, [f"run.output_dir={tmp_path / 'other'}"]))


def test_the_encoder_can_be_trained_too(tiny_settings: Settings, tmp_path: Path) -> None:
    config = write_yaml(tiny_settings, tmp_path, max_epoch=1, num_workers=0)
    with pytest.raises(SkinGPTError, match="cannot be cached"):
        load_settings(config, ["model.freeze_qformer=false"])
    train(load_settings(config, ["model.freeze_qformer=false", "data.cached_views=0"]))
    trained = projection(Path(tiny_settings.run.output_dir) / "last")
    assert "qformer.query_tokens" in trained and not [
        name for name in trained if name.startswith(("vision", "decoder"))
    ]


def test_two_steps_run_one_after_the_other(tiny_settings: Settings, tmp_path: Path) -> None:
    first = write_yaml(tiny_settings, tmp_path, max_epoch=1)
    (tmp_path / "both.yaml").write_text(
        "steps: [run.yaml, second.yaml]\nrun: {output_dir: " + str(tmp_path / "both") + "}\n"
    )
    (tmp_path / "second.yaml").write_text("base: run.yaml\nrun: {init_lr: 0.0, min_lr: 0.0, warmup_lr: 0.0}\n")
    assert main(["train", "--cfg-path", str(tmp_path / "both.yaml")]) == 0
    one, two = (projection(tmp_path / "both" / name / "last") for name in ("run", "second"))
    assert torch.equal(
        one["llama_proj.weight"], two["llama_proj.weight"]
    )  # the second learned nothing: it is the first's
    assert first.exists() and load_settings(tmp_path / "both" / "second" / "settings.yaml")[0].model.ckpt == str(
        tmp_path / "both" / "run"
    )


def test_table_helper_makes_what_it_says(tmp_path: Path) -> None:
    assert len(write_table(tmp_path, 5).read_text().splitlines()) == 5
