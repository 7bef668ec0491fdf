"""Decoders from Hugging Face directories: every form of the files, many architectures, nothing missing or random."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import save_file
from tiny_models import TINY, llama_config, llama_shapes, random_tensors
from torch import Tensor
from transformers import AutoModelForCausalLM

from skingpt4.errors import WeightsError
from skingpt4.weights.decoder import decoder_shape, load_decoder

CPU = torch.device("cpu")
FORMS = ("one .bin", "one .safetensors", "sharded .bin", "sharded .safetensors")


def llama_tensors() -> dict[str, Tensor]:
    return random_tensors(llama_shapes(TINY), seed=11, dtype=torch.float16)


def write(folder: Path, tensors: dict[str, Tensor], form: str = "one .bin", shards: int = 3) -> Path:
    """A Hugging Face directory in one of its forms."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(llama_config(TINY)))
    count, end = form.split()
    stem, save = ("model", save_file) if end == ".safetensors" else ("pytorch_model", torch.save)
    if count == "one":
        save(tensors, folder / f"{stem}{end}")
        return folder
    places: dict[str, str] = {}
    for number in range(shards):
        file = f"{stem}-{number + 1:05d}-of-{shards:05d}{end}"
        part = dict(list(tensors.items())[number::shards])
        save(part, folder / file)
        places |= dict.fromkeys(part, file)
    (folder / f"{stem}{end}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def message_of(folder: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        load_decoder(folder, torch.float32, CPU)
    return str(caught.value)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_form_of_the_files_loads(form: str, dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = llama_tensors()
    decoder = load_decoder(write(tmp_path / "llm", tensors, form), dtype, CPU)
    state = decoder.state_dict()
    assert sorted(state) == sorted(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(state[name], tensor.to(dtype)), name
    assert not decoder.training
    assert not any(parameter.requires_grad for parameter in decoder.parameters())
    assert not any(tensor.is_meta for tensor in (*decoder.parameters(), *decoder.buffers()))


ARCHITECTURES = {
    "LlamaConfig": {"num_key_value_heads": 2},
    "MistralConfig": {"num_key_value_heads": 2, "sliding_window": 16},
    "Qwen2Config": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "Gemma2Config": {"num_key_value_heads": 2, "head_dim": 8},
    "GPT2Config": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "OPTConfig": {"ffn_dim": 64, "word_embed_proj_dim": 16},
    "GPTNeoXConfig": {},
    "MixtralConfig": {"num_key_value_heads": 2, "num_local_experts": 3},
}


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.inference_mode()
def test_any_causal_language_model_loads_as_transformers_loads_it(name: str, tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    own = ARCHITECTURES[name] if name == "GPT2Config" else sizes | ARCHITECTURES[name]
    config = getattr(transformers, name)(vocab_size=80, bos_token_id=1, eos_token_id=2, pad_token_id=0, **own)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    expected = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    found = load_decoder(tmp_path, torch.float32, CPU)
    ids = torch.arange(3, 23).reshape(2, 10)
    assert torch.equal(found(ids).logits, expected(ids).logits)
    assert decoder_shape(tmp_path) == tuple(found.get_input_embeddings().weight.shape)
    assert found.config.to_dict()["model_type"] == expected.config.to_dict()["model_type"]


def test_constant_buffers_of_old_files_are_known_leftovers(tmp_path: Path) -> None:
    tensors = llama_tensors() | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    decoder = load_decoder(write(tmp_path / "llm", tensors), torch.float32, CPU)
    assert torch.equal(decoder.lm_head.weight, tensors["lm_head.weight"].float())
    # computed, not taken from the file: 10000 ** (-2 i / 8)
    torch.testing.assert_close(decoder.model.rotary_emb.inv_freq, torch.tensor([1.0, 0.1, 0.01, 0.001]))


def without(tensors: dict[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name not in set(names)}


@pytest.mark.parametrize("form", FORMS)
def test_missing_parameters_are_listed(form: str, tmp_path: Path) -> None:
    gone = ["model.layers.1.mlp.up_proj.weight", "lm_head.weight"]
    message = message_of(write(tmp_path / "llm", without(llama_tensors(), gone), form))
    assert "is not what its config.json says" in message
    assert "2 missing: lm_head.weight, model.layers.1.mlp.up_proj.weight" in message


def test_unknown_and_misshapen_parameters_are_listed(tmp_path: Path) -> None:
    tensors = llama_tensors() | {
        "model.layers.2.mlp.up_proj.weight": torch.zeros(64, 32),
        "model.norm.weight": torch.zeros(31),
    }
    message = message_of(write(tmp_path / "llm", tensors))
    assert "1 unknown: model.layers.2.mlp.up_proj.weight" in message
    assert "1 of another shape: model.norm.weight" in message


@pytest.mark.parametrize("form", ["sharded .bin", "sharded .safetensors"])
def test_missing_shards_are_listed_together(form: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "llm", llama_tensors(), form)
    shards = sorted(path for path in folder.iterdir() if "-of-" in path.name)
    shards[0].unlink()
    shards[2].unlink()
    assert f"{folder} lacks 2 of 3 shards: {shards[0].name}, {shards[2].name}" in message_of(folder)


@pytest.mark.parametrize("form", FORMS)
def test_a_torn_file_is_named(form: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "llm", llama_tensors(), form)
    torn = max(path for path in folder.iterdir() if path.suffix in (".bin", ".safetensors"))
    torn.write_bytes(torn.read_bytes()[:-3000])
    assert f"{torn} is torn or no" in message_of(folder)


def test_a_git_lfs_pointer_among_the_shards_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "llm", llama_tensors(), "sharded .safetensors")
    pointer = folder / "model-00002-of-00003.safetensors"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    assert f"{pointer} is a Git LFS pointer" in message_of(folder)


def test_a_decoder_with_code_in_its_pickle_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "it_ran"

    class Planted:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.write_text, (target, "I ran")

    folder = write(tmp_path / "llm", llama_tensors())
    torch.save({"lm_head.weight": Planted()}, folder / "pytorch_model.bin")
    assert "was refused before any of it ran" in message_of(folder)
    assert not target.exists()


def test_a_directory_that_is_no_decoder(tmp_path: Path) -> None:
    assert "has no config.json" in message_of(tmp_path)
    folder = write(tmp_path / "llm", llama_tensors())
    (folder / "pytorch_model.bin").unlink()
    assert "holds no weights: looked for model.safetensors, pytorch_model.bin" in message_of(folder)
    (folder / "model.safetensors.index.json").write_text("{}")
    assert "is no index of shards" in message_of(folder)
    (folder / "config.json").write_text("{")
    assert "config.json cannot be read" in message_of(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "unheard_of"}))
    assert "config.json cannot be read" in message_of(folder)


def test_values_that_are_none(tmp_path: Path) -> None:
    folder = write(tmp_path / "llm", llama_tensors())
    for wrong in ({"hidden_size": "wide"}, {"num_attention_heads": 0}, {"quantization_config": "x"}):
        (folder / "config.json").write_text(json.dumps(llama_config(TINY) | wrong))
        assert "config.json cannot be read: " in message_of(folder)
    (folder / "config.json").write_text(json.dumps(llama_config(TINY) | {"rope_scaling": {"type": "x", "factor": 2}}))
    assert "config.json describes no decoder that can be built: KeyError('x')" in message_of(folder)


def test_the_code_of_a_publisher_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it asked about: a `y` may come from anywhere, e.g. from the questions given to `skingpt4 chat`."""
    target = tmp_path / "it_ran"
    (tmp_path / "own.py").write_text(f"open({str(target)!r}, 'w').close()")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}))
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    assert "it needs Python code of its publisher, which is never run" in message_of(tmp_path)
    assert not target.exists()


def test_the_language_model_of_one_with_eyes_of_its_own(tmp_path: Path) -> None:
    """As Gemma 3 is published from 4B upwards."""
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = small | {"vocab_size": 80, "num_key_value_heads": 1, "head_dim": 8, "initializer_range": 0.2}
    config = transformers.Gemma3Config(
        text_config=text, vision_config=small | {"image_size": 28, "patch_size": 14}, mm_tokens_per_image=4,
        image_token_index=5, boi_token_index=3, eoi_token_index=4,
    )  # fmt: skip
    torch.manual_seed(0)
    whole = transformers.Gemma3ForConditionalGeneration(config).eval()
    whole.save_pretrained(tmp_path)
    assert decoder_shape(tmp_path) == (80, 16)
    decoder = load_decoder(tmp_path, torch.float32, CPU)
    assert type(decoder).__name__ == "Gemma3ForCausalLM"
    ids = torch.randint(6, 80, (2, 9))
    with torch.inference_mode():
        torch.testing.assert_close(decoder(ids).logits, whole(ids).logits)


def test_a_state_that_cannot_be_taken_back(tmp_path: Path) -> None:
    transformers.MambaConfig(num_hidden_layers=1).save_pretrained(tmp_path)
    assert "is of a 'mamba', whose state cannot be taken back to an earlier word" in message_of(tmp_path)


def test_a_vision_model_is_no_decoder(tmp_path: Path) -> None:
    folder = write(tmp_path / "llm", llama_tensors())
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    assert "is no causal language model" in message_of(folder)


def test_a_quantised_decoder_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "llm", llama_tensors())
    config = llama_config(TINY) | {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    (folder / "config.json").write_text(json.dumps(config))
    assert "is quantised" in message_of(folder)
