"""The part of the model that other engines need here: photographs to image tokens, the decoder elsewhere."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from skingpt4.errors import WeightsError
from skingpt4.settings import Settings
from skingpt4.weights.build import build_model
from skingpt4.weights.checkpoint import DecoderIdentity, recorded_decoder, require_decoder, save_checkpoint


@pytest.fixture
def without_weights(tiny_settings: Settings, tmp_path: Path) -> Settings:
    """Settings whose decoder's folder holds config.json and tokenizer only."""
    folder = tmp_path / "decoder"
    folder.mkdir()
    for name in ("config.json", "tokenizer.model"):
        shutil.copy(Path(tiny_settings.model.llama_model) / name, folder)
    tiny_settings.model.llama_model = str(folder)
    return tiny_settings


@torch.inference_mode()
def test_image_tokens_without_the_decoder(tiny_settings: Settings, without_weights: Settings) -> None:
    pixels = torch.randn(2, 3, 56, 56)
    model, processor = build_model(without_weights, with_decoder=False)
    assert model.decoder is None
    assert processor.tokenizer.eos_ids == (2,)
    tokens = model.project(model.encode_images(pixels))
    without_weights.model.llama_model = str(Path(without_weights.model.vit_weights).parent / "llm")
    whole, _ = build_model(without_weights)
    assert tokens.dtype == torch.float32
    assert torch.equal(tokens, whole.project(whole.encode_images(pixels)))
    with pytest.raises(ValueError, match="built without its decoder"):
        model(torch.zeros(1, 8, 24), None)


def test_image_tokens_are_float32_whatever_the_decoder_computes_in(without_weights: Settings) -> None:
    without_weights.model.precision, without_weights.model.decoder_quantization = "bf16", "nf4"
    model, _ = build_model(without_weights, with_decoder=False)
    assert model.project(torch.zeros(1, 8, 24)).dtype == torch.float32


def test_the_projection_must_fit_config_json(without_weights: Settings) -> None:
    config = Path(without_weights.model.llama_model) / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"hidden_size": 32', '"hidden_size": 64'), "utf-8")
    with pytest.raises(WeightsError, match=r"trained for a decoder of width 32; `llm_model` has 64"):
        build_model(without_weights, with_decoder=False)
    config.write_text(config.read_text(encoding="utf-8").replace('"vocab_size": 400', '"vocab_size": 300'), "utf-8")
    with pytest.raises(WeightsError, match=r"the tokenizer has 400 tokens and the decoder's embedding 300"):
        build_model(without_weights, with_decoder=False)


def test_what_a_checkpoint_says_about_its_decoder(tiny_settings: Settings, tmp_path: Path) -> None:
    model, _ = build_model(tiny_settings)
    file = save_checkpoint(tmp_path / "run", model, tiny_settings)
    found = DecoderIdentity.of_embedding(model.decoder.get_input_embeddings().weight)
    assert recorded_decoder(file) == found == DecoderIdentity.of(model.decoder)
    assert recorded_decoder(Path(tiny_settings.model.ckpt)) is None  # a released `.pth`
    require_decoder(file, found)
    require_decoder(Path(tiny_settings.model.ckpt), found)
    with pytest.raises(WeightsError, match="trained for another decoder of the same width"):
        require_decoder(file, replace(found, embedding_hash="0" * 64))
