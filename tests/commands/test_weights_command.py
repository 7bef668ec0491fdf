"""`skingpt4 weights list | download | use`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_server import HubServer

from skingpt4.commands import weights
from skingpt4.config import save_settings
from skingpt4.errors import SettingsError
from skingpt4.settings import Settings
from skingpt4.user_settings import user_settings_file


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's real settings file is read or written."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*argv: object) -> int:
    parser = argparse.ArgumentParser()
    weights.add(parser)
    arguments = parser.parse_args([str(part) for part in argv])
    return int(arguments.run(arguments))


def yaml_of(settings: Settings, folder: Path) -> Path:
    save_settings(settings, folder / "settings.yaml")
    return folder / "settings.yaml"


def test_list_names_everything_that_is_published(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    told = capsys.readouterr().out
    for expected in ("eva_vit_g.pth", "2 GB", "https://huggingface.co/Vision-CAIR/vicuna-7b", "gated", "BSD-3-Clause"):
        assert expected in told


def test_options_want_a_settings_file() -> None:
    with pytest.raises(SettingsError, match="give it as --cfg-path FILE"):
        run("list", "--options", "model.engine=llamacpp")


def test_list_of_a_settings_file(
    tiny_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_checkpoints: Path
) -> None:
    tiny_settings.model.q_former_model = "weights/blip2_pretrained_flant5xxl.pth"
    assert run("list", "--cfg-path", yaml_of(tiny_settings, tmp_path), "--options", "model.ckpt=output/mine") == 0
    lines = capsys.readouterr().out.splitlines()
    by_setting = {line.split()[0]: line for line in lines if line.startswith("model.")}
    assert f"there {tiny_checkpoints / 'eva_vit.pth'}" in " ".join(by_setting["model.vit_weights"].split())
    assert "missing" in by_setting["model.q_former_model"]
    assert "weights download blip2_pretrained_flant5xxl.pth --to weights" in by_setting["model.q_former_model"]
    assert "missing" in by_setting["model.ckpt"] and "the output folder of your run" in by_setting["model.ckpt"]


def test_list_names_the_file_of_an_engine(
    tiny_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_settings.model.engine, tiny_settings.model.gguf = "llamacpp", "weights/none.gguf"
    assert run("list", "--cfg-path", yaml_of(tiny_settings, tmp_path)) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("model.gguf"))
    assert "missing" in line and "skingpt4 export --to gguf" in line


def test_use_writes_one_file_and_shows_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("use") == 0
    assert capsys.readouterr().out == f"{user_settings_file()}: names no folder\n"
    (tmp_path / "models" / "vicuna-7b").mkdir(parents=True)
    assert run("use", "models") == 0
    assert f"{tmp_path / 'models'} has vicuna-7b\n" in capsys.readouterr().out
    assert user_settings_file().read_text(encoding="utf-8") == f"weights:\n- {tmp_path / 'models'}\n"
    run("list", "--cfg-path", Path(__file__).parents[2] / "configs/vicuna7b/step1.yaml")
    assert f"there    {tmp_path / 'models' / 'vicuna-7b'}" in capsys.readouterr().out


def test_download_wants_to_know_what() -> None:
    with pytest.raises(SettingsError, match="Say what to fetch"):
        run("download")
    with pytest.raises(SettingsError, match=r"'vicuna' is not published. Known: eva_vit_g.pth, "):
        run("download", "vicuna")


def test_download_of_what_is_there(tiny_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("download", "--cfg-path", yaml_of(tiny_settings, tmp_path)) == 0
    assert capsys.readouterr().out == "Everything is there.\n"
    assert run("download", "--cfg-path", yaml_of(tiny_settings, tmp_path), "--options", "model.ckpt=output/mine") == 1
    assert "model.ckpt: output/mine is in no table of published files. It is a projection" in capsys.readouterr().out


VICUNA = {"config.json": b"{}", "pytorch_model.bin": b"\x00 weights"}
STEP1 = str(Path(__file__).parents[2] / "configs/vicuna7b/step1.yaml")


@pytest.fixture
def call() -> Iterator[Callable[..., str]]:
    """As a user would: in a process of its own, with a mirror by `HF_ENDPOINT`; returns what was printed."""
    with HubServer(
        files={"Vision-CAIR/vicuna-7b": VICUNA, "lmsys/vicuna-7b-v1.5": VICUNA, "own/decoder": VICUNA}
    ) as hub:
        # A page that another test showed in this process has turned the hub off.
        environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        environment |= {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0"}

        def one_call(*argv: str) -> str:
            command = [sys.executable, "-m", "skingpt4", "weights", *argv]
            ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
            assert ended.returncode == 0, ended.stdout + ended.stderr
            return ended.stdout

        yield one_call


def test_a_decoder_comes_from_the_mirror_and_is_found_afterwards(call: Callable[..., str], tmp_path: Path) -> None:
    told = call("download", "vicuna-7b", "--to", "models")
    assert "Vicuna-7B v0" in told and "LLaMA, non-commercial research" in told
    assert "Settings find it there after: skingpt4 weights use models" in told
    assert json.loads((tmp_path / "models" / "vicuna-7b" / "config.json").read_text()) == {}
    call("use", "models")
    assert str(tmp_path / "models" / "vicuna-7b") in call("list", "--cfg-path", STEP1)


@pytest.mark.parametrize("name", ["lmsys/vicuna-7b-v1.5", "own/decoder"])
def test_settings_may_name_a_repository(
    name: str, call: Callable[..., str], tiny_settings: Settings, tmp_path: Path
) -> None:
    """One of the table, and one that is not."""
    tiny_settings.model.llama_model = name
    settings = str(yaml_of(tiny_settings, tmp_path))
    told = call("download", "--cfg-path", settings)
    folder = Path("weights") / name.split("/")[1]
    assert f"in {folder}\n" in told and "weights use" not in told
    assert call("download", "--cfg-path", settings) == "Everything is there.\n"
