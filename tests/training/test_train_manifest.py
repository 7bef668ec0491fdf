"""Whole training runs on a manifest: from files, from shards, with features cached and without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from manifests import write_data_set
from training_runs import write_yaml

from skingpt4.cli import main
from skingpt4.config import load_settings
from skingpt4.data.manifest import Manifest
from skingpt4.data.pack import pack
from skingpt4.errors import ImageError
from skingpt4.settings import Settings
from skingpt4.training.runner import train


@pytest.fixture
def loose(tmp_path: Path) -> Manifest:
    return write_data_set(tmp_path / "loose", 16)


def options(folder: Path, output: Path) -> list[str]:
    train_on, validate_on = (
        f"[{{source: manifest, path: {folder}, split: {name}}}]" for name in ("train", "validation")
    )
    return [f"data.train={train_on}", f"data.validation={validate_on}", f"run.output_dir={output}"]


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line[key] for line in lines for key in ("loss", "validation_loss") if key in line]


def test_files_and_shards_are_the_same_training_cached_or_not(
    loose: Manifest, tiny_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_yaml(tiny_settings, tmp_path, max_epoch=2)
    packed = pack(loose, tmp_path / "packed", shard_bytes=20_000).parent
    runs = {
        "files": (loose.path.parent, []),
        "shards": (packed, []),
        "streamed": (packed, ["data.cached_views=0", "run.num_workers=2"]),
    }
    for name, (folder, more) in runs.items():
        words = [*options(folder, tmp_path / name), *more]
        assert main(["train", "--cfg-path", str(config), "--options", *words]) == 0
    assert "split train: 8 rows, 8 kept" in capsys.readouterr().out
    found = {name: losses(tmp_path / name) for name in runs}
    assert len(found["files"]) == 2 * (2 + 1)  # two steps and a validation per epoch
    assert found["shards"] == found["files"]
    assert found["streamed"] == pytest.approx(found["files"], abs=1e-5)


def test_torn_photographs_are_left_out_by_number(
    loose: Manifest, tiny_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a/4.png", "b/9.png", "a/2.png"):  # of train, train, validation
        (loose.root / name).write_bytes((loose.root / name).read_bytes()[:80])
    config = write_yaml(tiny_settings, tmp_path, max_epoch=1)
    words = options(loose.path.parent, tmp_path / "run")
    with pytest.raises(ImageError, match=r"4\.png"):
        train(load_settings(config, words))
    train(load_settings(config, [*words, "data.on_bad_image=skip"]))
    assert "3 unreadable photographs are skipped" in capsys.readouterr().out
    summary = json.loads((tmp_path / "run" / "run.json").read_text())["data"]
    assert (summary["training_pairs"], summary["validation_pairs"]) == (6, 3)
