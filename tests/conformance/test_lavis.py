"""Our encoder gives what LAVIS's gives: random weights, LAVIS's state dicts as files, loaded by the normal path."""

from __future__ import annotations

from pathlib import Path

import lavis_reference as lavis
import pytest
import torch
from tiny_models import Sizes, settings_for
from torch import Tensor, nn

from skingpt4.model.qformer import QFormer
from skingpt4.model.vision import VisionEncoder
from skingpt4.settings import ModelSettings
from skingpt4.weights.build import build_encoder

LIMIT = 1e-5
CPU = torch.device("cpu")

SIZES = {
    "small": Sizes(),
    "one block, one patch row more": Sizes(image_px=70, vit_width=48, vit_depth=1, vit_heads=3, queries=5),
    "deep and narrow": Sizes(
        image_px=28, vit_width=16, vit_depth=7, vit_heads=2, qformer_width=16, qformer_layers=7, queries=3
    ),
    "wide, whole mlp ratio": Sizes(
        vit_width=96, vit_depth=3, vit_heads=8, mlp_ratio=4.0, qformer_width=64, qformer_layers=2, qformer_heads=8,
        qformer_intermediate=200, queries=32,
    ),
    "EVA-g's heads": Sizes(image_px=42, vit_width=176, vit_depth=2, vit_heads=2, qformer_width=128, qformer_heads=2),
}  # fmt: skip


def randomise(module: nn.Module, seed: int) -> nn.Module:
    """Every parameter at a value that matters: LAVIS starts with zero biases and unit norms."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = "norm" in name.lower() and name.endswith("weight")
            parameter.copy_(
                1 + 0.2 * noise if is_norm else noise * (0.1 if parameter.dim() == 1 else parameter.shape[-1] ** -0.5)
            )
    return module


def lavis_vit(sizes: Sizes, blocks: int) -> nn.Module:
    return lavis.eva_vit(sizes.image_px, sizes.vit_width, blocks, sizes.vit_heads, sizes.mlp_ratio)


def write_eva(folder: Path, sizes: Sizes) -> dict[str, Tensor]:
    """`eva_vit.pth` as published: one block more than is used, a final norm and a head."""
    state = dict(randomise(lavis_vit(sizes, sizes.vit_depth + 1), seed=1).state_dict())
    width = sizes.vit_width
    leftovers = {"norm.weight": (width,), "norm.bias": (width,), "head.weight": (5, width), "head.bias": (5,)}
    state |= {name: torch.randn(shape) for name, shape in leftovers.items()}
    torch.save(state, folder / "eva_vit.pth")
    return state


def write_blip2(folder: Path, sizes: Sizes, frequency: int = 2) -> tuple[nn.Module, Tensor, nn.LayerNorm]:
    """`blip2_qformer.pth` as published; returns LAVIS's Q-Former, the queries and `ln_vision`."""
    reference = lavis.qformer(
        sizes.queries, sizes.qformer_width, sizes.qformer_layers, sizes.qformer_heads, sizes.qformer_intermediate,
        frequency, sizes.vit_width,
    )  # fmt: skip
    randomise(reference, seed=2)
    generator = torch.Generator().manual_seed(3)
    queries = torch.randn(1, sizes.queries, sizes.qformer_width, generator=generator)
    ln_vision = nn.LayerNorm(sizes.vit_width, eps=1e-5)
    randomise(ln_vision, seed=4)
    tensors = {
        "query_tokens": queries,
        "t5_proj.weight": torch.zeros(9, sizes.qformer_width),
        "t5_proj.bias": torch.zeros(9),
    }
    tensors |= {f"ln_vision.{name}": value for name, value in ln_vision.state_dict().items()}
    tensors |= {f"Qformer.{name}": value for name, value in reference.state_dict().items()}
    torch.save({"model": tensors}, folder / "blip2_qformer.pth")
    return reference, queries, ln_vision


def ours(folder: Path, sizes: Sizes, **changes: object) -> tuple[VisionEncoder, QFormer]:
    settings: ModelSettings = settings_for(folder, sizes).model
    for name, value in changes.items():
        setattr(settings, name, value)
    return build_encoder(settings, torch.float32, CPU)


def pixels_of(side: int) -> Tensor:
    return torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(5))


def lavis_queries_out(reference: nn.Module, queries: Tensor, tokens: Tensor) -> Tensor:
    """What `Blip2Base`'s models compute from the image: MiniGPT-4's `encode_img`."""
    attended = torch.ones(tokens.shape[:2], dtype=torch.long)
    return reference.bert(
        query_embeds=queries.expand(len(tokens), -1, -1), encoder_hidden_states=tokens, encoder_attention_mask=attended,
        return_dict=True,
    ).last_hidden_state  # fmt: skip


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())
@torch.inference_mode()
def test_whole_encoder_equals_lavis(sizes: Sizes, tmp_path: Path) -> None:
    state = write_eva(tmp_path, sizes)
    reference, queries, ln_vision = write_blip2(tmp_path, sizes)
    vit = lavis_vit(sizes, sizes.vit_depth)
    report = vit.load_state_dict(state, strict=False)
    assert not report.missing_keys
    vision, qformer = ours(tmp_path, sizes)

    pixels = pixels_of(sizes.image_px)
    expected_tokens = vit(pixels)
    expected = lavis_queries_out(reference, queries, ln_vision(expected_tokens))

    assert expected.std() > 0.1  # the comparison is about something
    assert vision.tokens(pixels).shape == expected_tokens.shape == (3, 1 + (sizes.image_px // 14) ** 2, sizes.vit_width)
    torch.testing.assert_close(vision.tokens(pixels), expected_tokens, atol=LIMIT, rtol=0)
    torch.testing.assert_close(vision(pixels), ln_vision(expected_tokens), atol=LIMIT, rtol=0)
    torch.testing.assert_close(qformer(vision(pixels)), expected, atol=LIMIT, rtol=0)


@pytest.mark.parametrize("new_side", [28, 70, 98], ids=lambda side: f"56 to {side} pixels")
@torch.inference_mode()
def test_position_interpolation_equals_lavis(new_side: int, tmp_path: Path) -> None:
    sizes = Sizes(image_px=56)
    state = write_eva(tmp_path, sizes)
    write_blip2(tmp_path, sizes)
    vit = lavis_vit(Sizes(image_px=new_side), sizes.vit_depth)
    lavis.eva_module().interpolate_pos_embed(vit, state)
    vit.load_state_dict(state, strict=False)
    vision, _ = ours(tmp_path, sizes, image_size=new_side)

    assert vision.backbone.pos_embed.shape == (1, 1 + (new_side // 14) ** 2, sizes.vit_width)
    torch.testing.assert_close(vision.backbone.pos_embed, vit.pos_embed, atol=1e-6, rtol=0)
    pixels = pixels_of(new_side)
    torch.testing.assert_close(vision.tokens(pixels), vit(pixels), atol=LIMIT, rtol=0)


@pytest.mark.parametrize("frequency", [1, 2, 3])
@torch.inference_mode()
def test_cross_attention_frequency_equals_lavis(frequency: int, tmp_path: Path) -> None:
    sizes = Sizes(qformer_layers=5)
    write_eva(tmp_path, sizes)
    reference, queries, _ = write_blip2(tmp_path, sizes, frequency)
    _, qformer = ours(tmp_path, sizes, qformer_cross_attention_frequency=frequency)
    tokens = torch.randn(2, 11, sizes.vit_width, generator=torch.Generator().manual_seed(6))
    expected = lavis_queries_out(reference, queries, tokens)
    torch.testing.assert_close(qformer(tokens), expected, atol=LIMIT, rtol=0)


def test_the_same_matrices_are_halved_as_in_lavis(tmp_path: Path) -> None:
    """fp16 is MiniGPT-4's `convert_weights_to_fp16`: matrices in half, LayerNorms, positions and q/v biases not."""
    sizes = Sizes()
    write_eva(tmp_path, sizes)
    write_blip2(tmp_path, sizes)
    reference = lavis_vit(sizes, sizes.vit_depth)
    lavis.eva_module().convert_weights_to_fp16(reference)
    vision, _ = build_encoder(settings_for(tmp_path, sizes).model, torch.float16, CPU)
    expected = {name: parameter.dtype for name, parameter in reference.named_parameters()}
    found = {name: parameter.dtype for name, parameter in vision.backbone.named_parameters()}
    assert found == expected
    assert set(found.values()) == {torch.float16, torch.float32}
