"""`skingpt4 doctor` finds what is wrong, says what to do, and lets a healthy installation pass."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import planted
import pytest
import torch
from tiny_models import TINY, write_llama

from skingpt4.commands import doctor
from skingpt4.config import save_settings
from skingpt4.doctor.examine import examine
from skingpt4.doctor.finding import FAULT, GOOD, UNFORESEEN, WARNING, Finding, attempt
from skingpt4.doctor.memory import examine_memory
from skingpt4.settings import Settings, SourceSettings
from skingpt4.weights.build import build_model
from skingpt4.weights.checkpoint import save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
PAGE = "<!DOCTYPE html><html><title>Sign in</title></html>"


@pytest.fixture
def files(tiny_settings: Settings, tiny_checkpoints: Path, tmp_path: Path) -> Path:
    """The small checkpoints in a folder of the test's own, which `tiny_settings` then names."""
    folder = shutil.copytree(tiny_checkpoints, tmp_path / "weights")
    model = tiny_settings.model
    for key in ("vit_weights", "q_former_model", "llama_model", "ckpt"):
        setattr(model, key, str(folder / Path(getattr(model, key)).name))
    return folder


def examined(settings: Settings, folder: Path, device_memory: str = "") -> dict[str, Finding]:
    save_settings(settings, folder / "settings.yaml")
    return {finding.check: finding for finding in examine(str(folder / "settings.yaml"), (), device_memory)}


def faults(findings: dict[str, Finding]) -> set[str]:
    return {check for check, finding in findings.items() if finding.status == FAULT}


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    doctor.add(parser)
    code = doctor.run(parser.parse_args(argv))
    return code, capsys.readouterr().out


# A healthy installation


def test_the_small_model_of_the_package_passes(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = told(capsys)
    assert code == 0 and "Nothing stands in the way." in text and "✗" not in text
    for check in ("Python", "torch and torchvision", "Gradio", "device", "disk", "downloads", "tokenizer", "memory"):
        assert check in text


def test_published_forms_pass_and_json_says_the_same(
    tiny_settings: Settings, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_settings(tiny_settings, tmp_path / "settings.yaml")
    code, text = told(capsys, "--cfg-path", str(tmp_path / "settings.yaml"), "--json")
    answer = json.loads(text)
    assert (code, answer["ok"]) == (0, True)
    by_check = {finding["check"]: finding for finding in answer["findings"]}
    assert set(by_check["decoder"]) == {"check", "status", "found", "advice"}
    assert f"{files / 'llm'}: llama, 400 tokens, width 32; 1 file" in by_check["decoder"]["found"]
    assert "which one it was trained for, it does not say" in by_check["projection"]["found"]
    assert by_check["template"]["found"] == "minigpt4; an answer ends at ###"


def test_a_run_of_ours_knows_its_decoder(tiny_settings: Settings, files: Path, tmp_path: Path) -> None:
    model, _ = build_model(tiny_settings)
    save_checkpoint(tmp_path / "run", model, tiny_settings)
    tiny_settings.model.ckpt = str(tmp_path / "run")
    found = examined(tiny_settings, tmp_path)
    assert faults(found) == set() and "for this very decoder" in found["projection"].found
    tiny_settings.model.image_size = 28
    changed = examined(tiny_settings, tmp_path)["projection, settings"]
    assert changed.status == WARNING and "image_size 28 instead of 56" in changed.found
    write_llama(files / "llm", TINY, seed=9)
    other = examined(tiny_settings, tmp_path)["projection"]
    assert other.status == FAULT and "trained for another decoder of the same width" in other.found


# The planted faults


def test_missing_files(tiny_settings: Settings, files: Path, tmp_path: Path) -> None:
    tiny_settings.model.vit_weights = "elsewhere/eva_vit_g.pth"
    shutil.rmtree(files / "llm")
    found = examined(tiny_settings, tmp_path)
    assert faults(found) == {"model.vit_weights", "model.llama_model"}
    vit = found["model.vit_weights"]
    assert f"looked at {Path('elsewhere/eva_vit_g.pth').absolute()}" in vit.found
    assert "skingpt4 weights download eva_vit_g.pth --to elsewhere" in vit.advice
    assert "merged Vicuna" in found["model.llama_model"].advice
    assert "width 32 (not a LLaMA)" in found["projection"].found


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("eva_vit.pth", "vision and Q-Former"),
        ("blip2_qformer.pth", "vision and Q-Former"),
        ("llm/pytorch_model.bin", "decoder"),
        ("skingpt4.pth", "projection"),
    ],
)
def test_a_web_page_instead_of_a_checkpoint(
    name: str, check: str, tiny_settings: Settings, files: Path, tmp_path: Path
) -> None:
    (files / name).write_text(PAGE)
    found = examined(tiny_settings, tmp_path)
    assert faults(found) == {check}
    assert f"{files / name} is an HTML page, not weights" in found[check].found


@pytest.mark.parametrize("name", ["eva_vit.pth", "llm/pytorch_model.bin"])
def test_a_download_that_broke_off(name: str, tiny_settings: Settings, files: Path, tmp_path: Path) -> None:
    content = (files / name).read_bytes()
    (files / name).write_bytes(content[: len(content) // 2])
    found = examined(tiny_settings, tmp_path)
    assert len(faults(found)) == 1
    assert f"{files / name} is torn" in found[faults(found).pop()].found


def test_a_missing_shard(tiny_settings: Settings, files: Path, tmp_path: Path) -> None:
    (files / "llm" / "pytorch_model.bin").rename(files / "llm" / "pytorch_model-00001-of-00002.bin")
    places = {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}
    (files / "llm" / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    found = examined(tiny_settings, tmp_path)
    assert faults(found) == {"decoder"} and "lacks 1 of 2 shards" in found["decoder"].found


def test_weights_that_are_not_those_of_config_json(tiny_settings: Settings, files: Path, tmp_path: Path) -> None:
    config = json.loads((files / "llm" / "config.json").read_text())
    (files / "llm" / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3, "intermediate_size": 96}))
    found = examined(tiny_settings, tmp_path)
    assert faults(found) == {"decoder"}
    assert "9 missing: model.layers.2.input_layernorm.weight" in found["decoder"].found
    assert "mlp.down_proj.weight (32, 64) instead of (32, 96)" in found["decoder"].found


def test_a_7b_projection_with_a_13b_decoder(tiny_settings: Settings, files: Path, tmp_path: Path) -> None:
    planted.write_projection_for_7b(files / "skingpt4.pth", TINY.qformer_width)
    planted.write_decoder_13b_without_weights(files / "vicuna-13b")
    tiny_settings.model.llama_model = str(files / "vicuna-13b")
    found = examined(tiny_settings, tmp_path)
    assert found["projection"].status == FAULT
    assert "this checkpoint was trained for a 7B decoder (4096); `llm_model` has 5120" in found["projection"].found


def test_a_projection_published_for_another_decoder(tiny_settings: Settings, files: Path, tmp_path: Path) -> None:
    """Of the same width, so that it would load and answer gibberish: a Vicuna of another version."""
    (files / "skingpt4.pth").rename(files / "pretrained_minigpt4.pth")
    (files / "llm").rename(files / "vicuna-13b-v1.5")
    tiny_settings.model.ckpt = str(files / "pretrained_minigpt4.pth")
    tiny_settings.model.llama_model = str(files / "vicuna-13b-v1.5")
    found = examined(tiny_settings, tmp_path)
    assert (
        faults(found) == {"projection"}
        and "gibberish: set model.llama_model to vicuna-13b" in found["projection"].found
    )


@pytest.mark.parametrize("size", [300, 500])
def test_a_tokenizer_of_another_family(size: int, tiny_settings: Settings, files: Path, tmp_path: Path) -> None:
    (files / "llm" / "tokenizer.model").unlink()
    planted.write_byte_level_tokenizer(files / "llm", size)
    found = examined(tiny_settings, tmp_path)
    assert faults(found) == {"tokenizer"}
    assert f"has {size} tokens and the decoder 400: they are of different families" in found["tokenizer"].found


def test_a_tokenizer_of_llamas_size_that_is_not_llamas(tiny_settings: Settings, files: Path, tmp_path: Path) -> None:
    planted.write_decoder_13b_without_weights(files / "vicuna-13b")
    planted.write_sentencepiece_of_llamas_size(files / "vicuna-13b" / "tokenizer.model")
    torch.save({"model.norm.weight": torch.zeros(5120)}, files / "vicuna-13b" / "pytorch_model.bin")
    tiny_settings.model.llama_model = str(files / "vicuna-13b")
    found = examined(tiny_settings, tmp_path)
    assert "LLaMA's as [835]" in found["tokenizer"].found and found["tokenizer"].status == FAULT


def test_the_table_can_do_without_rich(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("skingpt4.doctor.examine.examine", lambda *_: [Finding("packages", FAULT, "rich (missing)")])
    monkeypatch.delitem(sys.modules, "skingpt4.commands.tables", raising=False)
    monkeypatch.setitem(sys.modules, "rich", None)
    code, text = told(capsys)
    assert code == 1 and text.startswith("✗  packages  rich (missing)\n")


@pytest.mark.parametrize(
    ("card", "advice"), [("80GB", ""), ("24GB", "model.decoder_quantization=int8"), ("4GB", "llama.cpp")]
)
def test_too_little_memory(card: str, advice: str) -> None:
    """A 13B decoder in 16 bits is 26 GB; its published sizes are known without its files."""
    found = next(examine_memory(Settings(), card))
    assert found.check == "memory to talk" and found.status == (FAULT if advice else GOOD)
    assert advice in found.advice and "decoder 24.2" in found.found and "conversation 1.6" in found.found


def test_too_little_memory_to_train(tiny_settings: Settings, files: Path, tmp_path: Path) -> None:
    tiny_settings.data.train = [SourceSettings(source="table", path="pairs.jsonl")]
    tiny_settings.data.cached_views = 0
    found = examined(tiny_settings, tmp_path)["memory to train"]
    assert found.status == GOOD
    tight = examined(tiny_settings, tmp_path, device_memory="0.62GB")["memory to train"]
    assert tight.status == FAULT and "does not fit" in tight.found


def test_a_memory_that_is_no_amount(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = told(capsys, "--device-memory", "plenty")
    assert code == 1 and "✗  memory" in text and "write it as 32GB" in text


# Other findings


def test_settings_that_cannot_be_read_are_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "settings.yaml").write_text("model: {llama_modle: x}")
    code, text = told(capsys, "--cfg-path", str(tmp_path / "settings.yaml"))
    assert code == 1 and "Did you mean `model.llama_model`?" in text and "torch and torchvision" in text


@pytest.mark.parametrize("path", ["~no-such-user/vicuna", "a" * 5000, "a\0b"])
def test_a_path_that_no_file_can_have(path: str, tiny_settings: Settings, files: Path, tmp_path: Path) -> None:
    tiny_settings.model.llama_model = path
    found = examined(tiny_settings, tmp_path)
    assert faults(found) == {"model.llama_model"}


def test_a_gpu_that_is_not_there(tiny_settings: Settings, files: Path, tmp_path: Path) -> None:
    tiny_settings.run.device = "cuda:7"
    found = examined(tiny_settings, tmp_path)
    assert faults(found) == {"device"} and "GPU 7 does not exist" in found["device"].found


def test_an_end_that_the_chat_does_not_wait_for(tiny_settings: Settings, files: Path, tmp_path: Path) -> None:
    tiny_settings.model.chat_template = "llama2"
    found = examined(tiny_settings, tmp_path)["template"]
    assert found.status == WARNING and "Training closes answers with '###'" in found.advice


def test_a_reader_that_breaks_does_not_end_the_examination() -> None:
    found = attempt("x", lambda: str(1 // 0))
    assert found == Finding("x", FAULT, "ZeroDivisionError: integer division or modulo by zero", UNFORESEEN)
