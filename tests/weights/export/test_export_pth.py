"""Ours -> MiniGPT-4's `.pth` -> ours."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from skingpt4.errors import SettingsError, WeightsError
from skingpt4.model.skingpt4 import PROJECTION, SkinGPT4
from skingpt4.processor import Processor
from skingpt4.settings import Settings
from skingpt4.weights.build import build_model
from skingpt4.weights.checkpoint import save_checkpoint
from skingpt4.weights.export.projection import write_pth


class LikeMiniGPT4(nn.Module):
    """Its trained layer and one of its frozen parts, under its names."""

    def __init__(self, width: int, decoder_width: int):
        super().__init__()
        self.llama_proj = nn.Linear(width, decoder_width)
        self.ln_vision = nn.LayerNorm(4)


def trained(model: SkinGPT4, settings: Settings, folder: Path, *parts: str) -> None:
    """A checkpoint of ours in which every trained number has changed."""
    model.train_only(*parts)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += torch.rand_like(parameter)
    settings.model.ckpt = str(save_checkpoint(folder, model, settings))


def test_the_projection_comes_back_bit_by_bit(
    tiny_model: tuple[SkinGPT4, Processor], tiny_settings: Settings, tmp_path: Path
) -> None:
    model, _ = tiny_model
    trained(model, tiny_settings, tmp_path / "run", PROJECTION)
    write_pth(tiny_settings.model, tmp_path / "out.pth")
    tiny_settings.model.ckpt = str(tmp_path / "out.pth")
    again = build_model(tiny_settings)[0]
    assert torch.equal(again.llama_proj.weight, model.llama_proj.weight)
    assert torch.equal(again.llama_proj.bias, model.llama_proj.bias)


def test_minigpt4_loads_it(tiny_model: tuple[SkinGPT4, Processor], tiny_settings: Settings, tmp_path: Path) -> None:
    model, _ = tiny_model
    trained(model, tiny_settings, tmp_path / "run", PROJECTION)
    write_pth(tiny_settings.model, tmp_path / "out.pth")
    assert zipfile.is_zipfile(tmp_path / "out.pth")  # as torch reads since 1.6
    content = torch.load(tmp_path / "out.pth", map_location="cpu", weights_only=True)
    assert list(content) == ["model"]
    theirs = LikeMiniGPT4(model.llama_proj.in_features, model.llama_proj.out_features)
    report = theirs.load_state_dict(content["model"], strict=False)
    assert report.unexpected_keys == []
    assert report.missing_keys == ["ln_vision.weight", "ln_vision.bias"]
    assert torch.equal(theirs.llama_proj.weight, model.llama_proj.weight)


def test_other_trained_parts_go_in_under_upstreams_names(
    tiny_model: tuple[SkinGPT4, Processor], tiny_settings: Settings, tmp_path: Path
) -> None:
    model, _ = tiny_model
    trained(model, tiny_settings, tmp_path / "run", PROJECTION, "qformer", "vision")
    write_pth(tiny_settings.model, tmp_path / "out.pth")
    names = set(torch.load(tmp_path / "out.pth", weights_only=True)["model"])
    assert {
        "query_tokens", "ln_vision.weight", "visual_encoder.blocks.0.attn.q_bias", "llama_proj.bias",
        "Qformer.bert.embeddings.LayerNorm.weight", "Qformer.bert.encoder.layer.0.crossattention.self.query.weight",
        "Qformer.bert.encoder.layer.1.output_query.LayerNorm.bias",
    } <= names  # fmt: skip
    tiny_settings.model.ckpt = str(tmp_path / "out.pth")
    wanted, found = model.state_dict(), build_model(tiny_settings)[0].state_dict()
    assert [name for name in wanted if not torch.equal(wanted[name], found[name])] == []


def test_no_projection_and_no_checkpoint(tiny_settings: Settings, tmp_path: Path) -> None:
    tiny_settings.model.ckpt = ""
    with pytest.raises(SettingsError, match="no trained projection"):
        write_pth(tiny_settings.model, tmp_path / "out.pth")
    tiny_settings.model.ckpt = str(tmp_path / "gone.pth")
    with pytest.raises(WeightsError, match=r"No checkpoint at .*gone\.pth"):
        write_pth(tiny_settings.model, tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()
