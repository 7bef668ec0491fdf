"""The decoder alone: merged into safetensors, or quantised, and opened again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from skingpt4.errors import SettingsError, WeightsError
from skingpt4.settings import Settings
from skingpt4.weights.build import build_model
from skingpt4.weights.checkpoint import DecoderIdentity
from skingpt4.weights.decoder import load_decoder
from skingpt4.weights.export.decoder import write_decoder

CPU = torch.device("cpu")
IDS = torch.randint(3, 400, (2, 12), generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def logits(decoder: PreTrainedModel) -> torch.Tensor:
    return decoder(IDS).logits


def test_shards_of_safetensors_are_the_same_decoder(tiny_settings: Settings, tmp_path: Path) -> None:
    source = Path(tiny_settings.model.llama_model)
    write_decoder(source, tmp_path / "out", shard_size="40kB")
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 2
    assert (tmp_path / "out" / "tokenizer.model").read_bytes() == (source / "tokenizer.model").read_bytes()
    assert str(source) not in (tmp_path / "out" / "config.json").read_text()
    wanted = load_decoder(source, torch.float16, CPU)
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert found.dtype == torch.float16
    own = load_decoder(tmp_path / "out", torch.float16, CPU).state_dict()
    assert [name for name, value in wanted.state_dict().items() if not torch.equal(value, own[name])] == []
    assert DecoderIdentity.of(found) == DecoderIdentity.of(wanted)


@pytest.mark.parametrize(("kind", "package"), [("int8", "torchao"), ("nf4", "bitsandbytes")])
def test_a_quantised_directory_is_opened_as_it_is(
    kind: str, package: str, tiny_settings: Settings, tmp_path: Path
) -> None:
    pytest.importorskip(package)
    source = Path(tiny_settings.model.llama_model)
    write_decoder(source, tmp_path / "out", kind)
    assert "quantization_config" in json.loads((tmp_path / "out" / "config.json").read_text())
    made = load_decoder(source, torch.float16, CPU, kind)
    found = load_decoder(tmp_path / "out", torch.float16, CPU)
    assert torch.equal(logits(found), logits(made))
    assert not torch.equal(logits(found), logits(load_decoder(source, torch.float16, CPU)))
    assert type(found.model.layers[0].mlp.up_proj) is type(made.model.layers[0].mlp.up_proj)
    tiny_settings.model.llama_model = str(tmp_path / "out")
    assert build_model(tiny_settings)[0].decoder is not None  # projection and tokenizer fit


def test_it_is_not_quantised_twice(tiny_settings: Settings, tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    pytest.importorskip("bitsandbytes")
    write_decoder(Path(tiny_settings.model.llama_model), tmp_path / "out", "int8")
    with pytest.raises(WeightsError, match="in int8 already; it cannot be made nf4"):
        load_decoder(tmp_path / "out", torch.float32, CPU, "nf4")
    with pytest.raises(WeightsError, match="quantised already"):
        write_decoder(tmp_path / "out", tmp_path / "again")


def test_an_unknown_kind(tiny_settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"'int3' is unknown.*int8, nf4"):
        write_decoder(Path(tiny_settings.model.llama_model), tmp_path / "out", "int3")
