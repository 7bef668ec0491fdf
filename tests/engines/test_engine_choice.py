"""`--engine` and what belongs to it: every command takes them, and says what is wrong before anything is loaded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

from skingpt4.cli import build_parser, main
from skingpt4.commands.arguments import settings_of_arguments
from skingpt4.engines.llamacpp_library import library

COMMANDS = {
    "chat": ["--image", "photo.png", "--question", "What is it?"],
    "report": ["photo.png"],
    "evaluate": ["--data", "data"],
    "demo": [],
    "predict": ["photos", "--out", "answers"],
    "serve": [],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    Image.new("RGB", (64, 64), "pink").save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_talks_takes_an_engine(command: str) -> None:
    begun = [command, *COMMANDS[command]]
    model = settings_of_arguments(build_parser().parse_args(begun)).model
    assert (model.engine, model.gguf, model.engine_url) == ("transformers", "", "")
    asked = [*begun, "--engine", "vllm", "--engine-url", "http://gpu:8000"]
    model = settings_of_arguments(build_parser().parse_args(asked)).model
    assert (model.engine, model.engine_url) == ("vllm", "http://gpu:8000")
    model = settings_of_arguments(build_parser().parse_args([*begun, "--engine", "llamacpp", "--gguf", "a.gguf"])).model
    assert (model.engine, model.gguf) == ("llamacpp", "a.gguf")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "vlm"], "model.engine is 'vlm'; it must be one of transformers, llamacpp, vllm"),
        (
            ["--engine-url", "http://gpu:8000"],
            "model.engine_url is for model.engine=vllm; the engine is 'transformers'",
        ),
        (["--engine", "vllm", "--gguf", "a.gguf"], "model.gguf is for model.engine=llamacpp; the engine is 'vllm'"),
        (["--engine", "llamacpp"], "model.engine=llamacpp needs model.gguf"),
        (
            ["--engine", "llamacpp", "--gguf", "a.gguf", "--engine-url", "http://gpu:8000"],
            "model.engine_url is for model.engine=vllm; the engine is 'llamacpp'",
        ),
    ],
)
def test_a_wrong_choice_is_told(
    command: str, options: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, *COMMANDS[command], *options]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_training_takes_no_engine(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["train", "--cfg-path", "a.yaml", "--engine", "vllm"])
    assert "unrecognized arguments: --engine vllm" in capsys.readouterr().err


def test_an_engine_without_its_package_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("vllm", "llama_cpp"):
        monkeypatch.setitem(sys.modules, name, None)
    library.cache_clear()
    (folder / "a.gguf").write_bytes(b"GGUF")
    asked = ["chat", *COMMANDS["chat"]]
    assert main([*asked, "--engine", "vllm"]) == main([*asked, "--engine", "llamacpp", "--gguf", "a.gguf"]) == 2
    said = capsys.readouterr().err
    assert "it is not installed. `pip install 'skingpt4[vllm]'` on a machine with a GPU" in said
    assert "pip install 'skingpt4[llamacpp]'" in said
