"""`python demo.py` as a user types it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from skingpt4.cli import build_parser, main
from skingpt4.config import save_settings
from skingpt4.demo.server import launch
from skingpt4.settings import Settings


@pytest.fixture
def settings_file(tiny_settings: Settings, tmp_path: Path) -> str:
    save_settings(tiny_settings, tmp_path / "settings.yaml")
    return str(tmp_path / "settings.yaml")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU 0")
def test_a_gpu_that_is_not_there_is_told_with_the_flag_for_the_cpu(
    settings_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--cfg-path", settings_file, "--gpu-id", "0"]) == 2
    error = capsys.readouterr().err
    assert "skingpt4: GPU 0 does not exist" in error and "--device cpu" in error


def test_every_missing_weight_file_is_listed(settings_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "model.vit_weights=nowhere/vit.pth",
        "model.q_former_model=nowhere/q.pth",
        "model.llama_model=nowhere/llm",
    ]
    assert main(["demo", "--cfg-path", settings_file, "--device", "cpu", "--options", *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("skingpt4: 3 weight files are missing")
    assert all(name in error for name in ("nowhere/vit.pth", "nowhere/q.pth", "nowhere/llm"))


def test_an_unknown_option_is_told(settings_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--cfg-path", settings_file, "--options", "model.imagesize=3"]) == 2
    assert "model.image_size" in capsys.readouterr().err


def test_gpu_and_device_contradict_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        build_parser().parse_args(["demo", "--gpu-id", "0", "--device", "cpu"])
    assert "not allowed with" in capsys.readouterr().err


def test_at_the_end_of_the_page_the_process_does_not_wait_until_the_model_is_freed(
    settings_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(launch, "launch", lambda *_: 0)
    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(SystemExit, match="0"):
        main(["demo", "--cfg-path", settings_file])
