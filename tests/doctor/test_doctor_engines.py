"""`skingpt4 doctor` on decoders in other forms (GGUF, quantised, deltas) and on a projection of another kind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from gguf_files import quantised_by_others
from tiny_models import TINY, write_llama

from skingpt4.config import save_settings
from skingpt4.doctor.examine import examine
from skingpt4.doctor.finding import FAULT, GOOD, WARNING, Finding
from skingpt4.settings import Settings
from skingpt4.weights.build import build_model
from skingpt4.weights.checkpoint import save_checkpoint
from skingpt4.weights.export.decoder import write_decoder
from skingpt4.weights.gguf import write_gguf


@pytest.fixture
def run_of_ours(tiny_settings: Settings, tiny_checkpoints: Path, tmp_path: Path) -> Settings:
    """A checkpoint that says which decoder it was trained for, and that decoder in a folder of the test's own."""
    tiny_settings.model.llama_model = str(shutil.copytree(tiny_checkpoints / "llm", tmp_path / "llm"))
    model, _ = build_model(tiny_settings)
    save_checkpoint(tmp_path / "run", model, tiny_settings)
    tiny_settings.model.ckpt = str(tmp_path / "run")
    return tiny_settings


def examined(settings: Settings, folder: Path) -> dict[str, Finding]:
    save_settings(settings, folder / "settings.yaml")
    return {finding.check: finding for finding in examine(str(folder / "settings.yaml"))}


def with_gguf(settings: Settings, file: Path) -> Settings:
    settings.model.engine, settings.model.gguf = "llamacpp", str(file)
    return settings


def test_a_gguf_file_of_the_very_decoder(run_of_ours: Settings, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "llm", tmp_path / "llm.gguf", "f16")
    found = examined(with_gguf(run_of_ours, file), tmp_path)
    assert found["GGUF file"].status == GOOD and "of the very decoder" in found["GGUF file"].found
    assert found["projection"].status == GOOD


def test_a_gguf_file_of_another_decoder_of_that_size(run_of_ours: Settings, tmp_path: Path) -> None:
    write_llama(tmp_path / "other", TINY, seed=9)
    file = write_gguf(tmp_path / "other", tmp_path / "other.gguf", "f16")
    found = examined(with_gguf(run_of_ours, file), tmp_path)["GGUF file"]
    assert found.status == FAULT and "trained for another decoder of the same width" in found.found


def test_a_gguf_file_quantised_elsewhere(run_of_ours: Settings, tmp_path: Path) -> None:
    """Nothing in it tells one decoder of that size from another: that is said, once, where findings are."""
    file = write_gguf(tmp_path / "llm", tmp_path / "llm.gguf", "f16")
    found = examined(with_gguf(run_of_ours, quantised_by_others(file, tmp_path / "q8.gguf")), tmp_path)["GGUF file"]
    assert found.status == WARNING and "its embedding is quantised" in found.found


@pytest.mark.parametrize("content", [b"<!DOCTYPE html>", b"GGUF\x03\x00\x00\x00 and no more"])
def test_a_gguf_file_that_is_none(content: bytes, run_of_ours: Settings, tmp_path: Path) -> None:
    (tmp_path / "llm.gguf").write_bytes(content)
    found = examined(with_gguf(run_of_ours, tmp_path / "llm.gguf"), tmp_path)["GGUF file"]
    assert found.status == FAULT and "Download it again" in found.found


def test_a_gguf_file_that_is_not_there(run_of_ours: Settings, tmp_path: Path) -> None:
    found = examined(with_gguf(run_of_ours, tmp_path / "none.gguf"), tmp_path)
    assert found["model.gguf"].status == FAULT and "skingpt4 export --to gguf" in found["model.gguf"].advice
    assert found["decoder"].status == GOOD and "GGUF file" not in found


@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_a_decoder_that_is_stored_quantised(kind: str, run_of_ours: Settings, tmp_path: Path) -> None:
    """As it loads, so it passes."""
    write_decoder(tmp_path / "llm", tmp_path / "small", kind)
    run_of_ours.model.llama_model = str(tmp_path / "small")
    build_model(run_of_ours)
    found = examined(run_of_ours, tmp_path)
    assert found["decoder"].status == GOOD and f"in {kind}; 1 file" in found["decoder"].found
    assert found["projection"].status == GOOD and "this very decoder" in found["projection"].found
    assert found["memory to talk"].status != WARNING, found["memory to talk"].found


def test_a_delta_that_was_never_merged(run_of_ours: Settings, tmp_path: Path) -> None:
    path = tmp_path / "llm" / "pytorch_model.bin"
    tensors = torch.load(path)
    torch.save(tensors | {"model.norm.weight": torch.full_like(tensors["model.norm.weight"], 0.01)}, path)
    found = examined(run_of_ours, tmp_path)["decoder"]
    assert found.status == FAULT and "fastchat.model.apply_delta" in found.found


def test_a_projection_that_takes_no_qformer(run_of_ours: Settings, tmp_path: Path) -> None:
    """MiniGPT-4's for Llama-2 and MiniGPT-v2's have a fitting decoder and four patches as features."""
    width = TINY.llama_width
    released = {"llama_proj.weight": torch.zeros(width, 4 * TINY.vit_width), "llama_proj.bias": torch.zeros(width)}
    torch.save({"model": released}, tmp_path / "minigpt4_llama2.pth")
    run_of_ours.model.ckpt = str(tmp_path / "minigpt4_llama2.pth")
    found = examined(run_of_ours, tmp_path)["projection"]
    assert found.status == FAULT and "trained without a Q-Former" in found.found


def test_a_vllm_server_that_does_not_answer(run_of_ours: Settings, tmp_path: Path) -> None:
    run_of_ours.model.engine, run_of_ours.model.engine_url = "vllm", "http://127.0.0.1:9"  # the discard port
    found = examined(run_of_ours, tmp_path)["decoder"]
    assert found.status == FAULT and "http://127.0.0.1:9" in found.found
