"""Projections: released files, our own, and what does not fit."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_models import (
    TINY,
    blip2_shapes,
    random_tensors,
    settings_for,
    write_checkpoints,
    write_llama,
    write_projection,
)

from skingpt4.errors import SettingsError, WeightsError
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.settings import Settings
from skingpt4.weights.build import build_model, load_model, settings_of
from skingpt4.weights.checkpoint import (
    DecoderIdentity,
    checkpoint_settings,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
)

Loaded = tuple[SkinGPT4, Processor]


def message_of(settings: Settings) -> str:
    with pytest.raises(WeightsError) as caught:
        build_model(settings)
    return str(caught.value)


def released(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["model"]


# Released files


def test_a_released_file_loads_and_what_training_left_in_it_is_ignored(
    tiny_model: Loaded, tiny_checkpoints: Path
) -> None:
    content = torch.load(tiny_checkpoints / "skingpt4.pth", weights_only=True)
    assert set(content) == {"model", "optimizer", "config", "scaler", "epoch"}
    model = tiny_model[0]
    assert torch.equal(model.llama_proj.weight, content["model"]["llama_proj.weight"])
    assert torch.equal(model.llama_proj.bias, content["model"]["llama_proj.bias"])
    assert model.llama_proj.weight.dtype == torch.float32


def test_the_name_llm_proj_of_some_forks(tiny_settings: Settings, tmp_path: Path) -> None:
    tiny_settings.model.ckpt = str(tmp_path / "fork.pth")
    write_projection(tmp_path / "fork.pth", TINY, seed=9, rename=lambda name: name.replace("llama_proj", "llm_proj"))
    tensors = released(tmp_path / "fork.pth")
    assert sorted(tensors) == ["llm_proj.bias", "llm_proj.weight"]
    model, _ = build_model(tiny_settings)
    assert torch.equal(model.llama_proj.weight, tensors["llm_proj.weight"])


def test_constant_buffers_that_upstream_saves_are_ignored(tiny_settings: Settings, tmp_path: Path) -> None:
    """Its `_save_checkpoint` deletes frozen parameters; buffers are none."""
    tensors = released(Path(tiny_settings.model.ckpt)) | {
        "Qformer.bert.embeddings.position_ids": torch.arange(32).unsqueeze(0),
        "llama_model.model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
    }
    torch.save({"model": tensors}, tmp_path / "with_buffers.pth")
    tiny_settings.model.ckpt = str(tmp_path / "with_buffers.pth")
    model, _ = build_model(tiny_settings)
    assert torch.equal(model.llama_proj.weight, tensors["llama_proj.weight"])


def test_an_upstream_file_with_a_trained_qformer(tiny_settings: Settings, tmp_path: Path) -> None:
    """`freeze_qformer: False` saves `query_tokens` and `Qformer.bert.*` as well, without the text branch (cut off)."""
    names = {
        name: shape
        for name, shape in blip2_shapes(TINY).items()
        if name == "query_tokens"
        or (name.startswith("Qformer.bert.encoder") and ("attention" in name or "_query" in name))
    }
    names |= {f"Qformer.bert.embeddings.LayerNorm.{end}": (TINY.qformer_width,) for end in ("weight", "bias")}
    tensors = random_tensors(names, seed=21) | released(Path(tiny_settings.model.ckpt))
    torch.save({"model": tensors}, tmp_path / "trained.pth")
    tiny_settings.model.ckpt = str(tmp_path / "trained.pth")
    model, _ = build_model(tiny_settings)
    own = model.qformer.state_dict()
    assert len(own) == len(names)
    assert torch.equal(own["query_tokens"], tensors["query_tokens"])
    query = "encoder.layer.0.attention"
    assert torch.equal(
        own[f"qformer.{query}.attention.query.weight"], tensors[f"Qformer.bert.{query}.self.query.weight"]
    )
    norm = tensors["Qformer.bert.embeddings.LayerNorm.weight"]
    assert torch.equal(own["qformer.layernorm.weight"], norm)
    features_only, _ = build_model(
        tiny_settings, with_encoder=False
    )  # cached features were computed with that Q-Former
    assert torch.equal(features_only.llama_proj.weight, tensors["llama_proj.weight"])


@pytest.mark.parametrize(
    ("trained_for", "width", "expected"),
    [
        (4096, 5120, "this checkpoint was trained for a 7B decoder (4096); `llm_model` has 5120"),
        (5120, 4096, "this checkpoint was trained for a 13B decoder (5120); `llm_model` has 4096"),
        (48, 64, "this checkpoint was trained for a decoder of width 48; `llm_model` has 64"),
    ],
)
def test_a_projection_for_a_decoder_of_another_size(
    trained_for: int, width: int, expected: str, tmp_path: Path
) -> None:
    sizes = replace(TINY, llama_width=width, llama_heads=width // 32, llama_layers=1)
    write_checkpoints(tmp_path, replace(sizes, llama_width=32, llama_heads=4))
    write_llama(tmp_path / "llm", sizes)
    write_projection(tmp_path / "skingpt4.pth", replace(sizes, llama_width=trained_for))
    message = message_of(settings_for(tmp_path, sizes))
    assert message == f"{tmp_path / 'skingpt4.pth'}: {expected}."


def test_the_width_is_looked_at_before_the_decoder_is_read(tiny_settings: Settings, tmp_path: Path) -> None:
    write_projection(tmp_path / "other.pth", replace(TINY, llama_width=4096))
    decoder = tmp_path / "llm"
    write_llama(decoder, TINY)
    (decoder / "pytorch_model.bin").write_bytes(b"not read")
    tiny_settings.model.ckpt, tiny_settings.model.llama_model = str(tmp_path / "other.pth"), str(decoder)
    assert "trained for a 7B decoder (4096); `llm_model` has 32" in message_of(tiny_settings)


def test_loading_into_a_model_of_another_width(tiny_model: Loaded, tmp_path: Path) -> None:
    write_projection(tmp_path / "other.pth", replace(TINY, llama_width=5120))
    with pytest.raises(WeightsError, match=r"trained for a 13B decoder \(5120\); `llm_model` has 32"):
        load_checkpoint(tiny_model[0], str(tmp_path / "other.pth"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"llama_proj.bias": None}, "holds no projection: llama_proj.bias missing; it has llama_proj.weight"),
        (
            {"llama_proj.bias": None, "llama_proj.weight": None, "x": torch.zeros(1)},
            "llama_proj.weight missing; it has x",
        ),
        ({"opt_proj.weight": torch.zeros(2)}, "holds tensors that this model does not have: opt_proj.weight"),
        ({"llama_proj.weight": torch.zeros(32, 23)}, "llama_proj.weight (32, 23) instead of (32, 24)"),
        ({"llama_proj.bias": torch.zeros(31)}, "llama_proj.bias (31,) instead of (32,)"),
    ],
)
def test_a_released_file_is_loaded_strictly(
    change: dict[str, torch.Tensor | None], expected: str, tiny_settings: Settings, tmp_path: Path
) -> None:
    tensors = released(Path(tiny_settings.model.ckpt)) | change
    torch.save({"model": {name: value for name, value in tensors.items() if value is not None}}, tmp_path / "bad.pth")
    tiny_settings.model.ckpt = str(tmp_path / "bad.pth")
    message = message_of(tiny_settings)
    assert expected in message
    assert str(tmp_path / "bad.pth") in message


# Our own


def trained(model: SkinGPT4) -> SkinGPT4:
    with torch.no_grad():
        model.llama_proj.weight.mul_(1.5)
        model.llama_proj.bias.add_(0.25)
    return model


def test_round_trip(tiny_model: Loaded, tiny_settings: Settings, tmp_path: Path) -> None:
    model = tiny_model[0]
    tiny_settings.model.prompt_template = "###Patient: {} ###Doctor: "
    tiny_settings.run.max_epoch = 7
    path = save_checkpoint(tmp_path / "run" / "last", trained(model), tiny_settings)
    assert path == tmp_path / "run" / "last" / "skingpt4.safetensors"
    assert [file.name for file in path.parent.iterdir()] == ["skingpt4.safetensors"]
    with safe_open(path, framework="pt") as file:
        assert sorted(file.keys()) == ["llama_proj.bias", "llama_proj.weight"]
        recorded = json.loads(file.metadata()["decoder"])
    assert recorded == dataclasses.asdict(DecoderIdentity.of(model.decoder))
    assert (recorded["width"], recorded["vocabulary_size"]) == (32, 400)

    again, its_processor = load_model(tmp_path / "run")
    assert torch.equal(again.llama_proj.weight, model.llama_proj.weight)
    assert torch.equal(again.llama_proj.bias, model.llama_proj.bias)
    assert its_processor.training_template.turn == "###Patient: {} ###Doctor: "
    assert checkpoint_settings(path) == tiny_settings
    assert settings_of(tmp_path / "run", ["run.max_epoch=3"]).run.max_epoch == 3
    with pytest.raises(SettingsError, match="max_epochs"):
        settings_of(tmp_path / "run", ["run.max_epochs=3"])


def test_a_trained_qformer_is_in_the_checkpoint(tiny_settings: Settings, tmp_path: Path) -> None:
    tiny_settings.model.freeze_qformer, tiny_settings.data.cached_views = False, 0
    model, _ = build_model(tiny_settings)
    with torch.no_grad():
        model.qformer.query_tokens.add_(1)
    save_checkpoint(tmp_path, model, tiny_settings)
    again, _ = load_model(tmp_path)
    assert torch.equal(again.qformer.query_tokens, model.qformer.query_tokens)
    assert again.trainable_names() == model.trainable_names()


def test_another_decoder_of_the_same_width_is_refused(
    tiny_model: Loaded, tiny_settings: Settings, tmp_path: Path
) -> None:
    path = save_checkpoint(tmp_path / "run", tiny_model[0], tiny_settings)
    write_llama(tmp_path / "other", TINY, seed=77)
    tiny_settings.model.ckpt = str(tmp_path / "run")
    build_model(tiny_settings)
    tiny_settings.model.llama_model = str(tmp_path / "other")
    message = message_of(tiny_settings)
    assert (
        f"{path}: this checkpoint was trained for another decoder of the same width (400 tokens, embedding" in message
    )
    assert "set llama_model to the decoder it was trained with" in message


def test_a_decoder_of_another_vocabulary_is_refused(
    tiny_model: Loaded, tiny_settings: Settings, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "run", tiny_model[0], tiny_settings)
    write_llama(tmp_path / "other", replace(TINY, llama_vocabulary=420))
    tiny_settings.model.ckpt, tiny_settings.model.llama_model = str(tmp_path / "run"), str(tmp_path / "other")
    assert "(400 tokens, embedding" in message_of(tiny_settings)


def test_identity_is_the_same_in_every_precision(tiny_settings: Settings, tmp_path: Path) -> None:
    identities = []
    for precision in ("fp32", "bf16"):
        tiny_settings.model.precision = precision
        model, _ = build_model(tiny_settings)
        identities.append(DecoderIdentity.of(model.decoder))
    model.decoder.half()
    identities.append(DecoderIdentity.of(model.decoder))
    assert len(set(identities)) == 1
    assert len(identities[0].embedding_hash) == 64
    with torch.no_grad():
        model.decoder.get_input_embeddings().weight[17, 3] *= -1
    assert DecoderIdentity.of(model.decoder) != identities[0]


def test_a_checkpoint_made_in_bf16_loads_in_fp32(tiny_settings: Settings, tmp_path: Path) -> None:
    tiny_settings.model.precision = "bf16"
    model, _ = build_model(tiny_settings)
    save_checkpoint(tmp_path, trained(model), tiny_settings)
    again, _ = load_model(tmp_path, ["model.precision=fp32"])
    assert again.decoder.dtype == torch.float32
    assert torch.equal(again.llama_proj.weight, model.llama_proj.weight)


def test_which_checkpoint_of_a_run(tiny_model: Loaded, tiny_settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"No checkpoint at .*run.*best/skingpt4\.safetensors, .*last/skingpt4"):
        (tmp_path / "run").mkdir()
        find_checkpoint(str(tmp_path / "run"))
    last = save_checkpoint(tmp_path / "run" / "last", tiny_model[0], tiny_settings)
    assert find_checkpoint(str(tmp_path / "run")) == last
    best = save_checkpoint(tmp_path / "run" / "best", tiny_model[0], tiny_settings)
    assert find_checkpoint(str(tmp_path / "run")) == best
    assert find_checkpoint(str(tmp_path / "run" / "last")) == last
    assert find_checkpoint(str(last)) == last
    with pytest.raises(WeightsError, match="No checkpoint at"):
        find_checkpoint(str(tmp_path / "nowhere"))


def test_saving_over_a_checkpoint_replaces_it_whole(
    tiny_model: Loaded, tiny_settings: Settings, tmp_path: Path
) -> None:
    """Also over the one that the model was loaded from and that may still be mapped."""
    save_checkpoint(tmp_path, tiny_model[0], tiny_settings)
    model, _ = load_model(tmp_path)
    save_checkpoint(tmp_path, trained(model), tiny_settings)
    again, _ = load_model(tmp_path)
    assert torch.equal(again.llama_proj.weight, model.llama_proj.weight)
    assert not torch.equal(again.llama_proj.weight, tiny_model[0].llama_proj.weight)


def test_files_that_are_no_checkpoint_of_ours(tiny_checkpoints: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"holds a projection only; name it as model\.ckpt in a YAML file"):
        load_model(tiny_checkpoints / "skingpt4.pth")
    save_file({"llama_proj.weight": torch.zeros(2, 2)}, tmp_path / "skingpt4.safetensors")
    with pytest.raises(WeightsError, match="is not a checkpoint of this package"):
        load_model(tmp_path)
    (tmp_path / "skingpt4.safetensors").write_bytes(b"\x00\x01\x02\x03 torn")
    with pytest.raises(WeightsError, match="is torn or no safetensors file"):
        load_model(tmp_path)
