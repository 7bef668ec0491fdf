"""The command line: what a user sees."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from skingpt4.cli import main

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference" / "tiny"
ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference numbers (../shared/reference/tiny) are not here")
def test_verify_passes_on_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(REFERENCE)]) == 0
    printed = capsys.readouterr().out
    assert printed.count(" ok\n") >= 34 and "FAILED" not in printed
    assert "All stages agree with the original." in printed


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference numbers (../shared/reference/tiny) are not here")
def test_verify_fails_when_a_number_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    for path in REFERENCE.iterdir():
        (tmp_path / path.name).symlink_to(path)
    tensors = torch.load(REFERENCE / "skingpt4.pth", weights_only=True)["model"]
    tensors["llama_proj.bias"][0] += 0.01
    (tmp_path / "skingpt4.pth").unlink()
    torch.save({"model": tensors}, tmp_path / "skingpt4.pth")
    assert main(["verify", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("projected image tokens")).endswith("FAILED")
    assert next(line for line in lines if line.startswith("Q-Former")).endswith("ok")


def test_verify_says_what_a_directory_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path)]) == 2
    assert "is no reference directory: expected.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--cfg-path", "nowhere.yaml"], "nowhere.yaml does not exist"),
        (["chat", "--image", "x.jpg", "--temperature", "-1"], "temperature is -1"),
        (["chat", "--image", "x.jpg", "--options", "model.image_sise=3"], "Did you mean `model.image_size`"),
    ],
)
def test_errors_are_one_message_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("skingpt4: ") and message in error and "Traceback" not in error


def test_train_py_is_the_train_command() -> None:
    finished = subprocess.run(
        [sys.executable, "train.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--cfg-path" in finished.stdout and "--resume" in finished.stdout
