"""What is trained, and in which precision everything is kept."""

from __future__ import annotations

import pytest
import torch
from tiny_models import TINY
from torch import nn

from skingpt4.errors import SettingsError, SkinGPTError
from skingpt4.model.packing import TrainingBatch
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.settings import Settings
from skingpt4.weights.build import build_encoder, build_model

CPU = torch.device("cpu")
PROJECTION = ["llama_proj.weight", "llama_proj.bias"]


def message_of(settings: Settings) -> str:
    with pytest.raises(SkinGPTError) as caught:
        build_model(settings)
    return str(caught.value)


def batch_of(processor: Processor) -> TrainingBatch:
    return TrainingBatch.collate([processor.training_sequence("What could this be?", "Psoriasis with scale.")])


# What is trained


def test_only_the_projection_is_trained_by_default(tiny_model: tuple[SkinGPT4, Processor]) -> None:
    assert tiny_model[0].trainable_names() == PROJECTION


VISION_NAMES = {
    "vision.backbone.cls_token", "vision.backbone.pos_embed",
    "vision.backbone.patch_embed.proj.weight", "vision.backbone.patch_embed.proj.bias",
    "vision.ln_vision.weight", "vision.ln_vision.bias",
} | {
    f"vision.backbone.blocks.{block}.{name}"
    for block in (0, 1)
    for name in (
        "norm1.weight", "norm1.bias",
        "attn.q_bias", "attn.v_bias", "attn.qkv.weight", "attn.proj.weight", "attn.proj.bias",
        "norm2.weight", "norm2.bias", "mlp.fc1.weight", "mlp.fc1.bias", "mlp.fc2.weight", "mlp.fc2.bias",
    )
}  # fmt: skip


def qformer_names() -> set[str]:
    """Four layers; the first and the third look at the photograph."""
    linear, norm = ("weight", "bias"), ("LayerNorm.weight", "LayerNorm.bias")
    names = {"qformer.query_tokens"} | {f"qformer.qformer.layernorm.{end}" for end in linear}
    for layer in range(4):
        prefix = f"qformer.qformer.encoder.layer.{layer}."
        for attention in ("attention", "crossattention") if layer % 2 == 0 else ("attention",):
            names |= {
                f"{prefix}{attention}.attention.{part}.{end}" for part in ("query", "key", "value") for end in linear
            }
            names |= {f"{prefix}{attention}.output.dense.{end}" for end in linear}
            names |= {f"{prefix}{attention}.output.{end}" for end in norm}
        names |= {f"{prefix}{part}.dense.{end}" for part in ("intermediate_query", "output_query") for end in linear}
        names |= {f"{prefix}output_query.{end}" for end in norm}
    return names


@pytest.mark.parametrize(
    ("freeze_vit", "freeze_qformer", "extra"),
    [(True, True, set()), (False, True, VISION_NAMES), (True, False, qformer_names()),
     (False, False, VISION_NAMES | qformer_names())],
    ids=["both frozen", "vit trained", "qformer trained", "both trained"],
)  # fmt: skip
def test_the_literal_set_of_trained_names(
    freeze_vit: bool, freeze_qformer: bool, extra: set[str], tiny_settings: Settings
) -> None:
    tiny_settings.model.freeze_vit, tiny_settings.model.freeze_qformer = freeze_vit, freeze_qformer
    model, processor = build_model(tiny_settings)
    assert set(model.trainable_names()) == {*PROJECTION, *extra}
    features = model.train().encode_images(torch.randn(1, 3, 56, 56))
    model(features, batch_of(processor)).backward()
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert reached == {*PROJECTION, *extra}


def test_a_trained_encoder_is_kept_in_float32(tiny_settings: Settings) -> None:
    """An optimizer on bf16 or fp16 weights loses small steps, and a GradScaler refuses fp16 gradients."""
    tiny_settings.model.precision, tiny_settings.model.freeze_vit = "bf16", False
    model, _ = build_model(tiny_settings)
    assert {parameter.dtype for parameter in model.vision.parameters()} == {torch.float32}
    assert model.decoder.dtype == torch.bfloat16


# Precision


def dtypes(module: nn.Module) -> dict[str, set[torch.dtype]]:
    """Dtypes of the matrices (Linear and Conv) and of everything else."""
    matrices, others = set(), set()
    for part in module.modules():
        into = matrices if isinstance(part, (nn.Linear, nn.Conv2d)) else others
        into |= {parameter.dtype for parameter in part.parameters(recurse=False)}
    return {"matrices": matrices, "others": others}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precision_on_a_cpu(precision: str, tiny_settings: Settings) -> None:
    tiny_settings.model.precision = precision
    model, processor = build_model(tiny_settings)
    wanted = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    assert dtypes(model.vision) == {"matrices": {wanted}, "others": {torch.float32}}
    assert dtypes(model.qformer) == {"matrices": {torch.float32}, "others": {torch.float32}}
    assert dtypes(model.llama_proj) == {"matrices": {torch.float32}, "others": set()}
    assert dtypes(model.decoder) == {"matrices": {wanted}, "others": {wanted}}
    features = model.encode_images(torch.randn(2, 3, 56, 56))
    loss = model(features[:1], batch_of(processor))
    assert (features.dtype, loss.dtype) == (torch.float32, torch.float32)
    loss.backward()
    assert model.llama_proj.weight.grad.dtype == torch.float32


def test_bf16_is_close_to_fp32(tiny_settings: Settings) -> None:
    pixels = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    losses, features = [], []
    for precision in ("fp32", "bf16"):
        tiny_settings.model.precision = precision
        model, processor = build_model(tiny_settings)
        with torch.inference_mode():
            features.append(model.encode_images(pixels))
            losses.append(model(features[0][:1], batch_of(processor)).item())
    assert 0 < (features[0] - features[1]).abs().max() < 0.1
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert losses[0] != losses[1]


def test_the_fp16_path_of_v100s(tiny_settings: Settings) -> None:
    """fp16 is for GPUs; torch's CPU can run the same modules, so the path is run here at small size."""
    assert "precision fp16 is for GPUs" in message_of(with_precision(tiny_settings, "fp16"))
    reference, processor = build_model(with_precision(tiny_settings, "fp32"))
    vision, qformer = build_encoder(tiny_settings.model, torch.float16, CPU)
    assert dtypes(vision) == {"matrices": {torch.float16}, "others": {torch.float32}}
    assert dtypes(qformer) == {"matrices": {torch.float32}, "others": {torch.float32}}
    pixels = torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = reference.encode_images(pixels), qformer(vision(pixels))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)
    half = SkinGPT4(vision, qformer, reference.llama_proj, reference.decoder)
    expected_loss = half(found, batch_of(processor)).item()
    half.decoder.half()
    loss = half(found, batch_of(processor))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected_loss, rel=0.01)
    (loss * 1024).backward()  # as a GradScaler does
    assert half.llama_proj.weight.grad.dtype == torch.float32
    assert half.llama_proj.weight.grad.isfinite().all()


def with_precision(settings: Settings, precision: str) -> Settings:
    settings.model.precision = precision
    return settings


def test_upstream_files_say_fp16_for_the_vit_on_every_device(tiny_settings: Settings) -> None:
    tiny_settings.model.vit_precision = "fp16"
    assert dtypes(build_model(tiny_settings)[0].vision)["matrices"] == {torch.float32}


def test_without_encoder(tiny_settings: Settings) -> None:
    model, processor = build_model(tiny_settings, with_encoder=False)
    assert model.vision is None
    assert model.trainable_names() == PROJECTION
    assert model(torch.randn(1, TINY.queries, TINY.qformer_width), batch_of(processor)).isfinite()
    with pytest.raises(ValueError, match="without its encoder"):
        model.encode_images(torch.randn(1, 3, 56, 56))


def test_an_unknown_encoder_is_a_settings_error(tiny_settings: Settings) -> None:
    tiny_settings.model.vit_model = "no_such_vit"
    with pytest.raises(SettingsError):
        build_model(tiny_settings)
