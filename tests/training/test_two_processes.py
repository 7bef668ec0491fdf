"""Two processes train as one with the same global batch, the decoder whole or sharded, the photographs cached or
streamed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from manifests import write_data_set
from tiny_models import settings_for
from training_runs import write_yaml

from skingpt4.config import load_settings
from skingpt4.data.pack import pack
from skingpt4.training.runner import train
from skingpt4.weights.build import load_model
from skingpt4.weights.files import read_tensors

SCRIPT = Path(__file__).with_name("rank_runs.py")
TRAINED, VALIDATED = 11, 5  # rows of the manifest: neither fills two processes' batches of 2
ALONE = ["run.batch_size_train=4"]
SHARED = ["run.batch_size_train=2"]
STREAM = ["data.cached_views=0", "run.num_workers=2", "data.random_crop=true", "run.max_epoch=4"]
RUNS = {
    "ddp": SHARED,
    "sharded": [*SHARED, "run.shard_decoder=true"],
    "accumulated": ["run.batch_size_train=1", "run.accum_grad_iters=2"],
    "streamed": [*SHARED, *STREAM],
    "streamed_sharded": [*SHARED, *STREAM, "run.shard_decoder=true"],
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoints: Path) -> Path:
    """Every run of `RUNS` by two processes, and those with the same global batch by one: `one` and `one_streamed`."""
    root = tmp_path_factory.mktemp("runs")
    pack(write_data_set(root / "loose", 21), root / "packed", shard_bytes=20_000)
    config = write_yaml(settings_for(tiny_checkpoints), root, max_epoch=2, init_lr=0.01, batch_size_eval=2)
    sources = [
        f"data.{part}=[{{source: manifest, path: {root / 'packed'}, split: {part}}}]"
        for part in ("train", "validation")
    ]
    features = f"data.feature_cache={root / 'features'}"
    words = {name: [*sources, features, f"run.output_dir={root / name}", *more] for name, more in RUNS.items()}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launch, str(SCRIPT), str(config), str(root), json.dumps(words)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stderr[-3000:]
    for name, more in (("one", []), ("one_streamed", STREAM)):
        train(load_settings(config, [*sources, features, f"run.output_dir={root / name}", *ALONE, *more]))
    return root


def projection(folder: Path) -> dict[str, torch.Tensor]:
    return read_tensors(folder / "last" / "skingpt4.safetensors")


def metrics(folder: Path, name: str) -> list[float]:
    lines = (json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines())
    return [line[name] for line in lines if name in line]


def notes(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads((folder / f"{name}.{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_equal_one_with_the_same_global_batch(name: str, folder: Path) -> None:
    """The notes of the manifest's records differ in length, so that a mean of the processes' means would differ."""
    expected = folder / ("one_streamed" if "streamed" in name else "one")
    a, b = projection(expected), projection(folder / name)
    for part, values in a.items():
        torch.testing.assert_close(b[part], values, atol=1e-6, rtol=0)
    start = read_tensors(Path(load_settings(folder / "run.yaml")[-1].model.ckpt))["llama_proj.weight"]
    assert (a["llama_proj.weight"] - start).abs().max() > 0.01  # it did learn
    for value in ("loss", "validation_loss"):
        assert metrics(folder / name, value) == pytest.approx(metrics(expected, value), abs=1e-5)


@pytest.mark.parametrize("name", ["streamed", "streamed_sharded"])
def test_streamed_samples_are_seen_once_per_pass(name: str, folder: Path) -> None:
    """12 steps of 2 x 2 samples over 11 records: four passes and four samples of the fifth."""
    ranks = notes(folder, name)
    assert [len(rank["training"]) for rank in ranks] == [12, 12]
    seen = [image for passes in zip(*(rank["training"] for rank in ranks), strict=True) for p in passes for image in p]
    whole = [Counter(seen[start : start + TRAINED]) for start in range(0, 4 * TRAINED, TRAINED)]
    assert len(whole[0]) == TRAINED and set(whole[0].values()) == {1} and whole == 4 * whole[:1]
    assert len(set(seen[4 * TRAINED :])) == len(seen) - 4 * TRAINED == 4


def test_validation_has_as_many_passes_on_each_process(folder: Path) -> None:
    """5 records in chunks of 2: the second process has none for the last round, and goes through it all the same."""
    first, second = (rank["validation"][:2] for rank in notes(folder, "sharded"))
    assert [len(p) for p in first] == [2, 1] and [len(p) for p in second] == [2, 1]
    assert len({*first[0], *first[1], *second[0]}) == VALIDATED and second[1] == first[0][:1]


def test_a_sharded_decoder_is_in_each_process_by_half(folder: Path) -> None:
    (whole,), (half,) = ({rank["parameters"] for rank in notes(folder, name)} for name in ("ddp", "sharded"))
    outside = 2 * 400 * 32 + 32  # embedding, vocabulary matrix and last norm stay whole
    assert 2 * (half - outside) == whole - outside > 0


@pytest.mark.parametrize("name", RUNS)
def test_the_first_process_alone_writes(name: str, folder: Path) -> None:
    first, second = (rank["written"] for rank in notes(folder, name))
    assert any("skingpt4.safetensors" in path for path in first) and any("metrics" in path for path in first)
    assert second == []


def test_a_sharded_run_leaves_the_same_files_and_one_process_goes_on_with_them(folder: Path, tmp_path: Path) -> None:
    assert files(folder / "sharded") == files(folder / "ddp")
    model, _ = load_model(folder / "sharded")
    assert torch.equal(model.llama_proj.weight, projection(folder / "sharded")["llama_proj.weight"])
    shutil.copytree(folder / "sharded", tmp_path / "run")
    options = [f"run.output_dir={tmp_path / 'run'}", "run.shard_decoder=false", "run.max_epoch=3", *ALONE]
    train(load_settings(tmp_path / "run" / "settings.yaml", options), resume=True)
    assert len(metrics(tmp_path / "run", "validation_loss")) == 3


def files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if "tfevents" not in file.name}
