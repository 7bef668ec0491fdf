"""What was exported as a whole, exported once more: in each form, as if it had been exported from the parts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from other_decoders import write_decoder as write_other
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from skingpt4.settings import Settings
from skingpt4.tokenizer import SentencePieceTokenizer, load_tokenizer
from skingpt4.weights.build import build_model, settings_of
from skingpt4.weights.export.blip2 import write_transformers
from skingpt4.weights.export.decoder import write_decoder
from skingpt4.weights.export.projection import write_pth
from skingpt4.weights.files import read_metadata


@pytest.fixture
def whole(tiny_settings: Settings, tmp_path: Path) -> Path:
    write_transformers(tiny_settings, tmp_path / "whole")
    return tmp_path / "whole"


def require_same(folder: Path, other: Path) -> None:
    """The same files; what the header of the weights says comes in any order."""
    weights = "model.safetensors"
    one, two = (
        {file.name: file.read_bytes() for file in place.iterdir() if file.name != weights} for place in (folder, other)
    )
    assert one == two
    assert read_metadata(folder / weights) == read_metadata(other / weights)
    found, wanted = load_file(folder / weights), load_file(other / weights)
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if not torch.equal(wanted[name], found[name])] == []


def test_the_whole(whole: Path, tmp_path: Path) -> None:
    write_transformers(settings_of(whole), tmp_path / "again")
    require_same(tmp_path / "again", whole)


def test_the_whole_of_another_decoder(tiny_settings: Settings, tmp_path: Path) -> None:
    write_other("qwen3", tmp_path / "decoder")
    tiny_settings.model.llama_model, tiny_settings.model.chat_template = str(tmp_path / "decoder"), "auto"
    write_transformers(tiny_settings, tmp_path / "whole")
    write_transformers(settings_of(tmp_path / "whole"), tmp_path / "again")
    require_same(tmp_path / "again", tmp_path / "whole")
    wanted, found = (build_model(each)[1] for each in (tiny_settings, settings_of(tmp_path / "whole")))
    assert found.chat_template == wanted.chat_template


@pytest.mark.parametrize("from_shards", [False, True])
def test_its_decoder(from_shards: bool, tiny_settings: Settings, tmp_path: Path) -> None:
    """No tensor of another part, no row of the placeholder, and nothing that its `generate` would ask for."""
    write_transformers(tiny_settings, tmp_path / "whole", shard_size="50kB" if from_shards else "5GB")
    write_decoder(tmp_path / "whole", tmp_path / "out")
    write_decoder(Path(tiny_settings.model.llama_model), tmp_path / "wanted")
    wanted, found = (load_file(tmp_path / name / "model.safetensors") for name in ("wanted", "out"))
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if not torch.equal(wanted[name], found[name])] == []
    generation = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert generation.keys() & {"suppress_tokens", "stop_strings"} == set()
    decoder = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert decoder.generate(torch.tensor([[1, 5]]), max_new_tokens=2).shape[1] > 2


def test_its_projection(whole: Path, tiny_settings: Settings, tmp_path: Path) -> None:
    """And what else was trained; the frozen parts, which a whole model holds too, belong to others' files."""
    settings = settings_of(whole).model
    for name, freeze_qformer in (("one.pth", True), ("more.pth", False)):
        write_pth(replace(settings, freeze_qformer=freeze_qformer), tmp_path / name)
    one, more = (torch.load(tmp_path / name, weights_only=True)["model"] for name in ("one.pth", "more.pth"))
    wanted = torch.load(tiny_settings.model.ckpt, weights_only=True)["model"]
    assert one.keys() == {"llama_proj.weight", "llama_proj.bias"}
    assert [name for name, value in one.items() if not torch.equal(value, wanted[name])] == []
    assert {name.split(".")[0] for name in more} == {"llama_proj", "Qformer", "query_tokens"}


def test_a_llamas_tokenizer_stays_sentencepiece(whole: Path) -> None:
    tokenizer = load_tokenizer(whole)
    assert isinstance(tokenizer, SentencePieceTokenizer)
    assert "<image>" not in tokenizer.specials


def test_no_parameter_is_taken_for_an_old_buffer(tmp_path: Path) -> None:
    """GPT-2's `h.0.attn.c_attn.bias` ends like `h.0.attn.bias`, a buffer of old files."""
    from transformers import GPT2Config

    config = GPT2Config(vocab_size=80, n_embd=32, n_layer=1, n_head=4)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "gpt2")
    (tmp_path / "out").mkdir()
    write_decoder(tmp_path / "gpt2", tmp_path / "out")
    wanted, found = (load_file(tmp_path / name / "model.safetensors") for name in ("gpt2", "out"))
    assert found.keys() == wanted.keys()
