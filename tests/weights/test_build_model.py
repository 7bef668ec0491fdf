"""Settings to a loaded model: strict, complete, nothing random but what is meant to be."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from tiny_models import TINY, write_tokenizer
from torch import nn

from skingpt4.errors import SkinGPTError, WeightsError
from skingpt4.settings import Settings
from skingpt4.weights.build import build_encoder, build_model, random_projection, require_files

CPU = torch.device("cpu")


def message_of(settings: Settings) -> str:
    with pytest.raises(SkinGPTError) as caught:
        build_model(settings)
    return str(caught.value)


# What is there, and what is not


def test_a_tiny_model_builds_in_under_a_second(tiny_settings: Settings) -> None:
    """Of this thread's own time, the best of three: other work on the machine does not count."""
    build_model(tiny_settings)
    seconds = []
    for _ in range(3):
        begun = time.thread_time()
        build_model(tiny_settings)
        seconds.append(time.thread_time() - begun)
    assert min(seconds) < 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_nothing_stays_on_meta(precision: str, tiny_settings: Settings) -> None:
    tiny_settings.model.precision = precision
    model, _ = build_model(tiny_settings)
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    assert len(tensors) > 100
    assert [name for name, tensor in tensors.items() if tensor.is_meta] == []
    constant = {name: tensor for name, tensor in tensors.items() if name.endswith("k_bias")}
    assert len(constant) == TINY.vit_depth
    assert not any(tensor.any() for tensor in constant.values())


def test_two_builds_are_one_model(tiny_settings: Settings) -> None:
    first, second = build_model(tiny_settings)[0].state_dict(), build_model(tiny_settings)[0].state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_without_a_checkpoint_the_projection_is_random_and_seeded(tiny_settings: Settings) -> None:
    tiny_settings.model.ckpt = ""
    weights = []
    for seed in (1, 1, 2):
        tiny_settings.run.seed = seed
        torch.manual_seed(len(weights))  # other draws change nothing
        weights.append(build_model(tiny_settings)[0].llama_proj.weight.detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_random_projection_is_distributed_as_torch_does_it() -> None:
    ours, torchs = random_projection(64, 900, torch.Generator().manual_seed(0)), nn.Linear(64, 900)
    assert ours.weight.abs().max() <= 0.125
    assert ours.weight.std().item() == pytest.approx(torchs.weight.std().item(), rel=0.02)
    assert ours.bias.std().item() == pytest.approx(torchs.bias.std().item(), rel=0.15)


def test_missing_files_are_listed_all_together(tiny_settings: Settings, tmp_path: Path) -> None:
    model = tiny_settings.model
    model.vit_weights, model.q_former_model = str(tmp_path / "eva.pth"), "https://example.org/x/blip2.pth"
    model.llama_model, model.ckpt = str(tmp_path / "vicuna"), str(tmp_path / "proj.pth")
    message = message_of(tiny_settings)
    assert message.startswith("4 weight files are missing:\n")
    for expected in (
        f"model.vit_weights: {tmp_path / 'eva.pth'}\n    looked at {tmp_path / 'eva.pth'}\n    it is EVA-CLIP-g",
        "model.q_former_model: https://example.org/x/blip2.pth\n    looked at ",
        str(Path("weights/blip2.pth").absolute()),
        ".cache/torch/hub/checkpoints/blip2.pth",
        f"model.llama_model: {tmp_path / 'vicuna'}\n    looked at {tmp_path / 'vicuna'}\n    it is the decoder's",
        f"model.ckpt: {tmp_path / 'proj.pth'}",
        "--options model.llama_model=/path/to/vicuna",
        "leave --cfg-path away",
    ):
        assert expected in message
    with pytest.raises(WeightsError, match=r"^2 weight files are missing"):
        build_model(tiny_settings, with_encoder=False)


def test_one_missing_file_and_an_empty_setting(tiny_settings: Settings) -> None:
    tiny_settings.model.vit_weights = ""
    assert message_of(tiny_settings).startswith(
        "1 weight file is missing:\n  model.vit_weights: (not set)\n    looked at nothing\n"
    )


def test_a_home_folder_in_a_path(
    tiny_settings: Settings, tiny_checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tiny_checkpoints))
    model = tiny_settings.model
    model.vit_weights, model.q_former_model = "~/eva_vit.pth", "~/blip2_qformer.pth"
    model.llama_model, model.ckpt = "~/llm", "~/skingpt4.pth"
    require_files(model)
    build_model(tiny_settings)


def test_a_folder_where_a_file_is_expected(tiny_settings: Settings, tmp_path: Path) -> None:
    tiny_settings.model.vit_weights = str(tmp_path)
    assert "1 weight file is missing" in message_of(tiny_settings)
    tiny_settings.model.vit_weights = ""


def test_a_run_folder_without_checkpoint(tiny_settings: Settings, tmp_path: Path) -> None:
    tiny_settings.model.ckpt = str(tmp_path)
    assert f"No checkpoint at {tmp_path}. Looked for {tmp_path / 'skingpt4.safetensors'}" in message_of(tiny_settings)


# Strictness


@pytest.mark.parametrize(
    ("setting", "file", "change", "expected"),
    [
        ("vit_weights", "eva_vit.pth", {"blocks.1.norm2.weight": None}, "1 missing: blocks.1.norm2.weight"),
        ("vit_weights", "eva_vit.pth", {"blocks.1.extra": (2,)}, "1 unexpected: blocks.1.extra"),
        ("vit_weights", "eva_vit.pth", {"cls_token": (1, 1, 31)}, "cls_token (1, 1, 31) instead of (1, 1, 32)"),
        ("vit_weights", "eva_vit.pth", {"pos_embed": (1, 14, 32)}, "13 patches cannot be laid on 16"),
        ("q_former_model", "blip2_qformer.pth", {"query_tokens": None}, "1 missing: query_tokens"),
        ("q_former_model", "blip2_qformer.pth", {"query_tokens": (1, 7, 24)}, "query_tokens (1, 7, 24) instead"),
        ("q_former_model", "blip2_qformer.pth", {"ln_vision.weight": None}, "ln_vision of these settings. 1 missing"),
        ("q_former_model", "blip2_qformer.pth", {"Qformer.bert.novelty": (1,)}, "1 unexpected: qformer.novelty"),
        ("q_former_model", "blip2_qformer.pth", {"novelty.weight": (1,)}, "1 unexpected: novelty.weight"),
    ],
)  # fmt: skip
def test_encoder_files_are_loaded_strictly(
    setting: str, file: str, change: dict[str, tuple[int, ...] | None], expected: str,
    tiny_settings: Settings, tiny_checkpoints: Path, tmp_path: Path,
) -> None:  # fmt: skip
    content = torch.load(tiny_checkpoints / file, weights_only=True)
    tensors = content.get("model", content)
    for name, shape in change.items():
        tensors.pop(name, None)
        if shape is not None:
            tensors[name] = torch.zeros(shape)
    torch.save({"model": tensors}, tmp_path / file)
    setattr(tiny_settings.model, setting, str(tmp_path / file))
    message = message_of(tiny_settings)
    assert expected in message
    if "patches" not in expected:
        assert str(tmp_path / file) in message


def test_sizes_of_the_settings_that_are_not_the_files(tiny_settings: Settings) -> None:
    tiny_settings.model.vit_depth = 5  # the file has 3 blocks
    assert "26 missing: blocks.3.attn.proj.bias, " in message_of(tiny_settings)
    assert " and 20 more" in message_of(tiny_settings)


def test_a_blip2_file_in_the_form_of_transformers(tiny_settings: Settings, tmp_path: Path) -> None:
    """`Salesforce/blip2-*` repositories: the same Q-Former under other names."""
    expected = build_encoder(tiny_settings.model, torch.float32, CPU)
    vision, qformer = expected
    tensors = qformer.state_dict() | {
        "vision_model.post_layernorm.weight": vision.ln_vision.weight.detach(),
        "vision_model.post_layernorm.bias": vision.ln_vision.bias.detach(),
        "vision_model.encoder.layers.0.mlp.fc1.weight": torch.zeros(2, 2),
        "language_model.lm_head.weight": torch.zeros(2, 2),
        "language_projection.weight": torch.zeros(2, 2),
    }
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    tiny_settings.model.q_former_model = str(tmp_path / "pytorch_model.bin")
    again = build_encoder(tiny_settings.model, torch.float32, CPU)
    pixels = torch.randn(1, 3, 56, 56)
    with torch.inference_mode():
        assert torch.equal(again[1](again[0](pixels)), qformer(vision(pixels)))


def test_a_tokenizer_of_another_model(tiny_settings: Settings, tiny_checkpoints: Path, tmp_path: Path) -> None:
    folder = tmp_path / "llm"
    folder.mkdir()
    for file in ("config.json", "pytorch_model.bin"):
        (folder / file).write_bytes((tiny_checkpoints / "llm" / file).read_bytes())
    tiny_settings.model.llama_model = str(folder)
    assert "holds no tokenizer: expected tokenizer.model" in message_of(tiny_settings)
    write_tokenizer(folder / "tokenizer.model", 420)
    assert "the tokenizer has 420 tokens and the decoder's embedding 400" in message_of(tiny_settings)
