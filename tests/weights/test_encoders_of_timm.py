"""Other vision transformers of timm than EVA."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from tiny_models import TINY, Sizes, blip2_shapes, random_tensors
from torch import nn

from skingpt4.errors import SkinGPTError
from skingpt4.settings import Settings
from skingpt4.weights.build import build_encoder, build_model

CPU = torch.device("cpu")
PROJECTION = ["llama_proj.weight", "llama_proj.bias"]


def message_of(settings: Settings) -> str:
    with pytest.raises(SkinGPTError) as caught:
        build_model(settings)
    return str(caught.value)


def save_timm(name: str, path: Path, image_px: int, classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    backbone = timm.create_model(name, pretrained=False, img_size=image_px, num_classes=classes).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():  # biases start at 0 and norms at 1
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    torch.save(backbone.state_dict(), path)
    return backbone


@pytest.mark.parametrize(
    ("name", "width"),
    [("vit_tiny_patch16_224", 192), ("eva02_tiny_patch14_224", 192), ("vit_tiny_r_s16_p8_224", 192)],
)
def test_another_vision_transformer_of_timm(name: str, width: int, tiny_settings: Settings, tmp_path: Path) -> None:
    size = 56 if "patch14" in name else 64
    backbone = save_timm(name, tmp_path / "vit.pth", size)
    tensors = random_tensors(blip2_shapes(Sizes(vit_width=width)), seed=4)
    torch.save({"model": tensors}, tmp_path / "blip2.pth")
    model = tiny_settings.model
    model.vit_model, model.image_size, model.vit_weights = name, size, str(tmp_path / "vit.pth")
    model.q_former_model = str(tmp_path / "blip2.pth")
    loaded, processor = build_model(tiny_settings)
    pixels = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.vision.tokens(pixels), backbone.forward_features(pixels), atol=1e-5, rtol=0)
        assert loaded.encode_images(pixels).shape == (2, TINY.queries, TINY.qformer_width)
    assert processor.image_size == size
    assert [n for n, t in (*loaded.named_parameters(), *loaded.named_buffers()) if t.is_meta] == []
    assert loaded.trainable_names() == PROJECTION


@torch.inference_mode()
def test_positions_of_another_vision_transformer_are_interpolated(tiny_settings: Settings, tmp_path: Path) -> None:
    backbone = save_timm("vit_tiny_patch16_224", tmp_path / "vit.pth", 64)
    torch.save({"model": random_tensors(blip2_shapes(Sizes(vit_width=192)), seed=4)}, tmp_path / "blip2.pth")
    model = tiny_settings.model
    model.vit_model, model.image_size, model.vit_weights = "vit_tiny_patch16_224", 96, str(tmp_path / "vit.pth")
    model.q_former_model = str(tmp_path / "blip2.pth")
    vision, _ = build_encoder(model, torch.float32, CPU)
    assert vision.backbone.pos_embed.shape == (1, 37, 192)
    assert torch.equal(vision.backbone.pos_embed[:, 0], backbone.pos_embed[:, 0])
    assert vision(torch.randn(1, 3, 96, 96)).shape == (1, 37, 192)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vit_enormous_patch99", "model.vit_model 'vit_enormous_patch99' is not a model of timm"),
        ("resnet18", "model.vit_model 'resnet18' is no vision transformer"),
    ],
)
def test_a_name_that_is_no_vision_transformer(name: str, expected: str, tiny_settings: Settings) -> None:
    tiny_settings.model.vit_model = name
    assert expected in message_of(tiny_settings)


def test_a_model_of_timm_that_gives_a_map(tiny_settings: Settings, tmp_path: Path) -> None:
    name = "swin_tiny_patch4_window7_224"
    save_timm(name, tmp_path / "swin.pth", 56)
    torch.save({"model": random_tensors(blip2_shapes(Sizes(vit_width=768)), seed=4)}, tmp_path / "blip2.pth")
    tiny_settings.model.vit_model, tiny_settings.model.vit_weights = name, str(tmp_path / "swin.pth")
    tiny_settings.model.q_former_model = str(tmp_path / "blip2.pth")
    assert "gives numbers of shape (1, 2, 2, 768); tokens [1, N, D] were expected" in message_of(tiny_settings)
