"""Other vision transformers of timm than EVA."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import timm
import torch
from accelerate import init_empty_weights
from PIL import Image
from tiny_models import TINY, Sizes, blip2_shapes, random_tensors
from torch import nn
from torchvision.transforms.functional import normalize, to_tensor

from skingpt4.errors import SkinGPTError
from skingpt4.images import CLIP_MEAN, CLIP_STD, squash
from skingpt4.model.attention import attention_map
from skingpt4.settings import Settings
from skingpt4.weights.build import build_encoder, build_model

CPU = torch.device("cpu")
PROJECTION = ["llama_proj.weight", "llama_proj.bias"]


def message_of(settings: Settings) -> str:
    with pytest.raises(SkinGPTError) as caught:
        build_model(settings)
    return str(caught.value)


def save_timm(name: str, path: Path, image_px: int) -> nn.Module:
    """A file of random weights as timm publishes them; returns the model that holds them."""
    # The values that timm draws take seconds for the larger ones; a hybrid's stem must run once while it is made.
    with nullcontext() if "_r_" in name else init_empty_weights(include_buffers=False):
        backbone = timm.create_model(name, pretrained=False, img_size=image_px, num_classes=3).eval()
    generator = torch.Generator().manual_seed(0)
    values = {}
    for key, parameter in backbone.named_parameters():
        drawn = torch.empty(parameter.shape).uniform_(-1, 1, generator=generator)
        is_norm = "norm" in key and key.endswith("weight")
        values[key] = (1 + 0.1 * drawn if is_norm else drawn * (0.1 if drawn.dim() == 1 else 0.04)).half()
    torch.save({**backbone.state_dict(), **values}, path)
    backbone.load_state_dict({key: value.float() for key, value in values.items()}, strict=False, assign=True)
    return backbone


def use(name: str, width: int, settings: Settings, folder: Path, image_px: int) -> nn.Module:
    """Settings of this encoder with a Q-Former of its width; returns timm's own model of the same weights."""
    backbone = save_timm(name, folder / "vit.pth", image_px)
    torch.save({"model": random_tensors(blip2_shapes(Sizes(vit_width=width)), seed=4)}, folder / "blip2.pth")
    model = settings.model
    model.vit_model, model.image_size, model.vit_weights = name, image_px, str(folder / "vit.pth")
    model.q_former_model = str(folder / "blip2.pth")
    return backbone


HALVES = (0.5, 0.5, 0.5)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# name, width, pixels of the patches' grid, tokens before it (class, registers), mean and std it was trained with
ENCODERS = [
    ("vit_tiny_patch16_224", 192, 16, 1, HALVES, HALVES),
    ("deit_tiny_distilled_patch16_224", 192, 16, 2, IMAGENET_MEAN, IMAGENET_STD),
    ("vit_tiny_r_s16_p8_224", 192, 32, 1, HALVES, HALVES),
    ("eva02_tiny_patch14_224", 192, 14, 1, CLIP_MEAN, CLIP_STD),
    ("vit_small_patch14_reg4_dinov2", 384, 14, 5, IMAGENET_MEAN, IMAGENET_STD),
    ("vit_tiny_patch16_dinov3_qkvb", 192, 16, 5, IMAGENET_MEAN, IMAGENET_STD),
    pytest.param("vit_base_patch16_siglip_224", 768, 16, 0, HALVES, HALVES, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "width", "patch", "prefix", "mean", "std"), ENCODERS)
@torch.inference_mode()
def test_another_vision_transformer_of_timm(
    name: str, width: int, patch: int, prefix: int, mean: tuple, std: tuple, tiny_settings: Settings, tmp_path: Path
) -> None:
    """Its tokens are those of timm's own model for the same photograph, normalised as that model was trained."""
    size = 4 * patch
    backbone = use(name, width, tiny_settings, tmp_path, size)
    loaded, processor = build_model(tiny_settings)
    photographs = [Image.effect_noise((90, 70), 60).convert("RGB"), Image.new("RGB", (50, 80), (190, 120, 60))]
    expected = torch.stack([normalize(to_tensor(squash(photo, size)), mean, std) for photo in photographs])
    pixels = torch.stack([processor.pixels(photo) for photo in photographs])
    tokens = loaded.vision.tokens(pixels)
    assert tokens.shape == (2, prefix + 16, width)
    torch.testing.assert_close(tokens, backbone.forward_features(expected), atol=1e-4, rtol=1e-4)
    assert loaded.encode_images(pixels).shape == (2, TINY.queries, TINY.qformer_width)
    seen = attention_map(loaded, pixels)
    assert seen is not None
    assert seen.shape == (2, 4, 4)
    total = seen.sum((1, 2))
    assert (total <= 1 + 1e-5).all() if prefix == 0 else (total < 1).all()
    assert [n for n, t in (*loaded.named_parameters(), *loaded.named_buffers()) if t.is_meta] == []
    assert loaded.trainable_names() == PROJECTION


def test_eva_clip_sees_the_pixels_as_they_are(tiny_settings: Settings) -> None:
    vision, _ = build_encoder(tiny_settings.model, torch.float32, CPU)
    seen = []
    vision.backbone.forward_features = lambda pixels: seen.append(pixels) or torch.zeros(1, 17, 32)
    pixels = torch.randn(1, 3, 56, 56)
    vision.tokens(pixels)
    assert seen[0] is pixels


@torch.inference_mode()
def test_positions_of_another_vision_transformer_are_interpolated(tiny_settings: Settings, tmp_path: Path) -> None:
    backbone = use("vit_tiny_patch16_224", 192, tiny_settings, tmp_path, 64)
    tiny_settings.model.image_size = 96
    vision, _ = build_encoder(tiny_settings.model, torch.float32, CPU)
    assert vision.backbone.pos_embed.shape == (1, 37, 192)
    assert torch.equal(vision.backbone.pos_embed[:, 0], backbone.pos_embed[:, 0])
    assert vision(torch.randn(1, 3, 96, 96)).shape == (1, 37, 192)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vit_enormous_patch99", "model.vit_model 'vit_enormous_patch99' is not a model of timm"),
        ("vit_tiny_patch16_224.imagined", "Similar names: vit_tiny_patch16_224.augreg_in21k"),
        ("resnet18", "model.vit_model 'resnet18' is no vision transformer"),
    ],
)
def test_a_name_that_is_no_vision_transformer(name: str, expected: str, tiny_settings: Settings) -> None:
    tiny_settings.model.vit_model = name
    assert expected in message_of(tiny_settings)


def test_a_model_of_timm_that_gives_a_map(tiny_settings: Settings, tmp_path: Path) -> None:
    use("swin_tiny_patch4_window7_224", 768, tiny_settings, tmp_path, 56)
    assert "gives numbers of shape (1, 2, 2, 768); tokens [1, N, D] were expected" in message_of(tiny_settings)
