"""`run.json`: what a run was made with, and what became of it."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from manifests import write_data_set
from training_runs import write_table, write_yaml

from skingpt4 import __version__
from skingpt4.cli import main
from skingpt4.config import load_settings
from skingpt4.data.loading import LoadedData, load_records
from skingpt4.errors import SkinGPTError, TrainingError
from skingpt4.settings import Settings, SourceSettings
from skingpt4.training.reports.run_record import RunRecord, describe_data, git_revision
from skingpt4.training.runner import train


@pytest.fixture
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture
def data(tiny_settings: Settings, tmp_path: Path) -> LoadedData:
    tiny_settings.data.train = [SourceSettings(source="table", path=str(write_table(tmp_path / "data")))]
    tiny_settings.data.validation_fraction = 0.25
    return load_records(tiny_settings.data, "", tiny_settings.run.seed)


def read(settings: Settings) -> dict[str, Any]:
    values = json.loads((Path(settings.run.output_dir) / "run.json").read_text(encoding="utf-8"))
    assert isinstance(values, dict)
    return values


def run(settings: Settings, data: LoadedData, accelerator: Accelerator, *, resumed: bool = False) -> RunRecord:
    return RunRecord(settings, data, accelerator, resumed)


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=T", "-c", "user.email=t@example.org")
    return subprocess.run(
        ["git", *identity, "-C", str(folder), *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_it_says_what_the_run_is_made_with(
    tiny_settings: Settings, data: LoadedData, accelerator: Accelerator, tmp_path: Path
) -> None:
    tiny_settings.run.seed = 7
    with run(tiny_settings, data, accelerator):
        found = read(tiny_settings)
        assert found["state"] == "running" and found["ended"] == "" and found["process"]["pid"] == os.getpid()
    found = read(tiny_settings)
    assert found["state"] == "finished" and found["started"] <= found["ended"] and found["error"] == ""
    assert found["seeds"] == {"run.seed": 7} and found["settings"]["run"]["seed"] == 7
    assert found["packages"]["torch"] and found["packages"]["skingpt4"] == __version__
    assert found["devices"]["type"] == "cpu" and found["devices"]["processes"] == 1 and found["devices"]["cpu"]
    assert found["command"] == shlex.join(sys.orig_argv) and found["earlier"] == []
    described = found["data"]
    table = tmp_path / "data" / "pairs.jsonl"
    assert (described["training_pairs"], described["validation_pairs"]) == (9, 3)
    assert described["sources"][0]["sha256"] == hashlib.sha256(table.read_bytes()).hexdigest()
    assert [each.name for each in Path(tiny_settings.run.output_dir).iterdir()] == ["run.json"]  # no partial file


@pytest.mark.parametrize(
    ("error", "state", "text"),
    [
        (TrainingError("The loss is nan."), "failed", "TrainingError: The loss is nan."),
        (ZeroDivisionError("by zero"), "failed", "ZeroDivisionError: by zero"),
        (KeyboardInterrupt(), "stopped", "KeyboardInterrupt: "),
    ],
)
def test_it_says_how_the_run_ended(
    error: BaseException,
    state: str,
    text: str,
    tiny_settings: Settings,
    data: LoadedData,
    accelerator: Accelerator,
) -> None:
    with pytest.raises(type(error)), run(tiny_settings, data, accelerator):
        raise error
    assert (read(tiny_settings)["state"], read(tiny_settings)["error"]) == (state, text)


def test_a_resumed_run_keeps_what_was_before(
    tiny_settings: Settings, data: LoadedData, accelerator: Accelerator
) -> None:
    with pytest.raises(KeyboardInterrupt), run(tiny_settings, data, accelerator):
        raise KeyboardInterrupt
    run(tiny_settings, data, accelerator, resumed=True).__enter__()  # and was killed
    with run(tiny_settings, data, accelerator, resumed=True):
        earlier = read(tiny_settings)["earlier"]
    assert [each["state"] for each in earlier] == ["stopped", "killed"]
    assert all(each["started"] and each["command"] for each in earlier) and "settings" not in earlier[0]
    path = Path(tiny_settings.run.output_dir) / "run.json"
    path.write_text(path.read_text()[:99])  # torn, by hand
    with run(tiny_settings, data, accelerator, resumed=True):
        assert read(tiny_settings)["earlier"] == []
    with run(tiny_settings, data, accelerator):
        assert read(tiny_settings)["earlier"] == []


def test_a_folder_that_cannot_be_written_is_said(
    tiny_settings: Settings, data: LoadedData, accelerator: Accelerator
) -> None:
    Path(tiny_settings.run.output_dir).write_text("a file")
    with pytest.raises(TrainingError, match=r"run\.json cannot be written"), run(tiny_settings, data, accelerator):
        raise AssertionError("never reached")


def test_the_fingerprint_follows_the_data(tiny_settings: Settings, tmp_path: Path) -> None:
    def prints(source: SourceSettings) -> list[str]:
        tiny_settings.data.train = [source]
        tiny_settings.data.validation_fraction = 0.5
        described = describe_data(tiny_settings, load_records(tiny_settings.data, "", 0))
        return [value for each in described["sources"] for key, value in each.items() if key.startswith("sha256")]

    manifest = write_data_set(tmp_path / "set", 8)
    by_manifest = SourceSettings(source="manifest", path=str(tmp_path / "set"))
    assert prints(by_manifest) == [hashlib.sha256(manifest.path.read_bytes()).hexdigest()]
    by_folder = SourceSettings(source="folder", path=str(tmp_path / "set"))
    before = prints(by_folder)
    assert prints(by_folder) == before and len(before[0]) == 64
    (tmp_path / "set" / "a" / "0.png").rename(tmp_path / "set" / "a" / "00.png")
    assert prints(by_folder) != before


def test_the_revision_is_that_of_the_checkout_which_holds_the_package(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    file = package / "__init__.py"
    file.write_text("")
    assert git_revision(package) is None  # no checkout
    git(tmp_path, "init", "-q")
    assert git_revision(package) is None  # lies in a checkout, but is none of its files: an installed package
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert git_revision(package) == {"revision": head, "dirty": False}
    (tmp_path / "untracked").write_text("")
    assert git_revision(package) == {"revision": head, "dirty": False}
    file.write_text("changed = True\n")
    assert git_revision(package) == {"revision": head, "dirty": True}


def test_a_run_leaves_record_curves_page_and_events(
    tiny_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_settings.data.validation_fraction = 0.25
    config = write_yaml(tiny_settings, tmp_path, max_epoch=2)
    output = Path(tiny_settings.run.output_dir)
    assert main(["train", "--cfg-path", str(config)]) == 0
    found = read(tiny_settings)
    assert found["state"] == "finished" and found["settings"]["run"]["iters_per_epoch"] == 3
    assert (output / "curves.png").stat().st_size > 5000 and list((output / "tensorboard").glob("events.*"))
    text = (output / "answers.html").read_text(encoding="utf-8")
    assert text.count("<article>") == 3 and "at step 6<" in text
    steps = [json.loads(line)["step"] for line in (output / "answers.jsonl").read_text().splitlines()]
    assert steps == [3, 3, 3, 6, 6, 6]
    capsys.readouterr()
    assert main(["runs", str(tmp_path)]) == 0
    assert "finished" in capsys.readouterr().out


def test_looking_on_changes_nothing(tiny_settings: Settings, tmp_path: Path) -> None:
    tiny_settings.data.validation_fraction = 0.25
    config = write_yaml(tiny_settings, tmp_path, max_epoch=1)
    runs = {"seen": ["run.show_every_steps=1"], "unseen": ["run.shown_images=0", "run.trackers=[]"]}
    for name, options in runs.items():
        train(load_settings(config, [*options, f"run.output_dir={tmp_path / name}"]))
    seen, unseen = (tmp_path / name / "last" / "skingpt4.safetensors" for name in runs)
    from skingpt4.weights.files import read_tensors

    a, b = read_tensors(seen), read_tensors(unseen)
    assert all((a[name] == b[name]).all() for name in a) and len(a) == 2
    left = {each.name for each in (tmp_path / "unseen").iterdir()}
    assert not left & {"answers.html", "answers.jsonl", "tensorboard"} and "curves.png" in left


def test_a_run_that_fails_says_so(tiny_settings: Settings, tmp_path: Path) -> None:
    config = write_yaml(tiny_settings, tmp_path, max_epoch=1)
    torn = tmp_path / "data" / "3.png"
    torn.write_bytes(torn.read_bytes()[:200])
    with pytest.raises(SkinGPTError, match=r"3\.png is damaged"):
        train(load_settings(config))
    found = read(tiny_settings)
    assert found["state"] == "failed" and "3.png is damaged" in found["error"]


def test_a_tracker_that_is_not_there_is_said_before_anything_is_read(tiny_settings: Settings, tmp_path: Path) -> None:
    config = write_yaml(tiny_settings, tmp_path, trackers=["swanlab"])
    (tmp_path / "data" / "pairs.jsonl").unlink()
    with pytest.raises(SkinGPTError, match=r"run\.trackers names swanlab, which is not installed: pip install swanlab"):
        train(load_settings(config))
