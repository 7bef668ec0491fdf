"""Of a decoder that runs elsewhere, its embedding is read and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_models import TINY, llama_config, llama_shapes, random_tensors
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from skingpt4.chat.load import load_chat
from skingpt4.engines.at_once import embed
from skingpt4.errors import WeightsError
from skingpt4.settings import Settings
from skingpt4.weights.build import build_model
from skingpt4.weights.checkpoint import DecoderIdentity, save_checkpoint
from skingpt4.weights.embedding_table import load_embedding
from skingpt4.weights.export.blip2 import write_transformers
from skingpt4.weights.export.decoder import write_decoder

SIZES = {
    "vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "pad_token_id": 0, "head_dim": 8,
}  # fmt: skip


def decoders() -> list[PreTrainedModel]:
    torch.manual_seed(0)
    return [
        Qwen3ForCausalLM(Qwen3Config(**SIZES, tie_word_embeddings=True)),
        Gemma2ForCausalLM(Gemma2Config(**SIZES)),
        Gemma3ForCausalLM(Gemma3TextConfig(**SIZES)),
        Phi3ForCausalLM(Phi3Config(**{name: value for name, value in SIZES.items() if name != "head_dim"})),
        GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2)),
    ]


@pytest.mark.parametrize("place", range(5), ids=["qwen3", "gemma2", "gemma3", "phi3", "gpt2"])
def test_text_is_embedded_as_by_the_whole_decoder(tmp_path: Path, place: int) -> None:
    whole = decoders()[place].eval()
    whole.save_pretrained(tmp_path, max_shard_size="3KB")
    part = load_embedding(tmp_path)
    ids = [[1, 2, 3], list(range(50))]
    assert torch.equal(embed(part, ids), embed(whole, ids))
    assert DecoderIdentity.of(part) == DecoderIdentity.of(whole)
    loaded = {name for name, parameter in part.named_parameters() if not parameter.is_meta}
    assert len(loaded) == 1


def shards(folder: Path, *names: str) -> None:
    """A LLaMA in two `.bin` shards, the embedding in the first."""
    folder.mkdir(exist_ok=True)
    tensors = random_tensors(llama_shapes(TINY), 2, torch.float16)
    (folder / "config.json").write_text(json.dumps(llama_config(TINY)), encoding="utf-8")
    places = {name: names[0] if "embed" in name else names[1] for name in tensors}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}), encoding="utf-8")
    torch.save({name: value for name, value in tensors.items() if "embed" in name}, folder / names[0])


def test_of_shards_only_the_one_with_the_embedding_is_needed(tmp_path: Path) -> None:
    shards(tmp_path, "first.bin", "second.bin")
    table = load_embedding(tmp_path).get_input_embeddings().weight
    assert table.dtype == torch.float16 and table.shape == (TINY.llama_vocabulary, TINY.llama_width)
    assert load_embedding(tmp_path, torch.float32).get_input_embeddings().weight.dtype == torch.float32


def test_a_model_saved_without_its_head_has_shorter_names(tmp_path: Path) -> None:
    whole = decoders()[0]
    whole.model.save_pretrained(tmp_path)
    ids = [[3, 4]]
    assert torch.equal(embed(load_embedding(tmp_path), ids), embed(whole, ids))
    assert isinstance(AutoModelForCausalLM.from_pretrained(tmp_path), Qwen3ForCausalLM)


def test_a_directory_without_the_embedding_is_named(tmp_path: Path) -> None:
    shards(tmp_path, "first.bin", "second.bin")
    (tmp_path / "first.bin").unlink()
    message = r"has no embedding of the decoder, model.embed_tokens.weight: looked in model.safetensors, first.bin"
    with pytest.raises(WeightsError, match=message):
        load_embedding(tmp_path)
    (tmp_path / "pytorch_model.bin.index.json").write_text("{}", encoding="utf-8")
    with pytest.raises(WeightsError, match=r"is no index of shards .'weight_map'.; download it again"):
        load_embedding(tmp_path)


def test_an_embedding_of_another_size_is_named(tmp_path: Path) -> None:
    shards(tmp_path, "first.bin", "second.bin")
    torch.save({"model.embed_tokens.weight": torch.zeros(7, 32)}, tmp_path / "first.bin")
    with pytest.raises(WeightsError, match=r"the embedding is \(7, 32\), and config.json says \(400, 32\)"):
        load_embedding(tmp_path)


def test_a_projection_of_another_decoder_is_refused_before_a_server_is_asked_to_speak(
    tmp_path: Path, tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = build_model(tiny_settings)
    with torch.no_grad():
        model.decoder.get_input_embeddings().weight.neg_()
    save_checkpoint(tmp_path / "run", model, tiny_settings)
    tiny_settings.model.ckpt, tiny_settings.model.engine = str(tmp_path / "run"), "vllm"
    monkeypatch.setattr("skingpt4.engines.vllm_local.require_vllm", lambda: None)
    with pytest.raises(WeightsError, match="this checkpoint was trained for another decoder of the same width"):
        load_chat(tiny_settings)


def test_of_an_exported_model_and_of_a_quantised_decoder(tiny_settings: Settings, tmp_path: Path) -> None:
    decoder = Path(tiny_settings.model.llama_model)
    write_transformers(tiny_settings, tmp_path / "whole")  # its embedding has a row for the image placeholder
    write_decoder(decoder, tmp_path / "int8", "int8")
    wanted = DecoderIdentity.of(load_embedding(decoder))
    assert [DecoderIdentity.of(load_embedding(tmp_path / name)) for name in ("whole", "int8")] == [wanted, wanted]
