"""Where the Q-Former looked: exact, without a trace in the model, for every encoder with a grid of patches."""

from __future__ import annotations

import math
import threading

import pytest
import timm
import torch
from tiny_models import TINY
from torch import Tensor, nn

from skingpt4.model.attention import attention_map, cross_attention, patch_grid
from skingpt4.model.qformer import QFormer
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.model.vision import VisionEncoder
from skingpt4.processor import Processor

Loaded = tuple[SkinGPT4, Processor]
SIDE = TINY.image_px // TINY.patch_px


def pictures(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, TINY.image_px, TINY.image_px, generator=torch.Generator().manual_seed(seed))


def plain_cross_attention(qformer: QFormer, vision_tokens: Tensor) -> list[Tensor]:
    """softmax(Q·Kᵀ / √d) from the weights, with einsum; what goes into each layer is caught on its way."""
    inputs: dict[int, Tensor] = {}
    layers = [layer for layer in qformer.qformer.encoder.layer if layer.has_cross_attention]

    def catch(index: int, arguments: dict[str, Tensor]) -> None:
        inputs[index] = arguments["hidden_states"].detach()

    hooks = [
        layer.crossattention.register_forward_pre_hook(
            lambda _module, _args, arguments, index=index: catch(index, arguments), with_kwargs=True
        )
        for index, layer in enumerate(layers)
    ]
    with torch.no_grad():
        qformer(vision_tokens)
    for hook in hooks:
        hook.remove()
    found = []
    for index, layer in enumerate(layers):
        attention = layer.crossattention.attention
        heads, width = attention.num_attention_heads, attention.attention_head_size
        q = inputs[index] @ attention.query.weight.T + attention.query.bias
        k = vision_tokens @ attention.key.weight.T + attention.key.bias
        q, k = (x.unflatten(-1, (heads, width)) for x in (q, k))
        found.append((torch.einsum("bqhd,bnhd->bhqn", q, k) / math.sqrt(width)).softmax(-1).detach())
    return found


def test_weights_equal_a_plain_computation(tiny_model: Loaded) -> None:
    model, _ = tiny_model
    assert model.vision is not None and model.qformer is not None
    with torch.no_grad():
        tokens = model.vision(pictures(3))
        found = cross_attention(model.qformer, tokens)
    expected = plain_cross_attention(model.qformer, tokens)
    assert len(found) == len(expected) == 2  # layers 0 and 2 of four
    for one, other in zip(found, expected, strict=True):
        assert one.shape == (3, TINY.qformer_heads, TINY.queries, 1 + SIDE**2)
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(one.sum(-1), torch.ones_like(one[..., 0]))
        assert one.std() > 1e-4  # not merely even


def test_a_map_is_the_mean_over_layers_heads_and_queries_without_the_class_token(tiny_model: Loaded) -> None:
    model, _ = tiny_model
    assert model.vision is not None and model.qformer is not None
    pixels = pictures(2)
    with torch.no_grad():
        tokens = model.vision(pixels)
    expected = plain_cross_attention(model.qformer, tokens)
    mean = torch.stack(expected).mean((0, 2, 3))
    found = attention_map(model, pixels)
    assert found is not None and found.shape == (2, SIDE, SIDE) and found.dtype == torch.float32
    torch.testing.assert_close(found, mean[:, 1:].reshape(2, SIDE, SIDE))
    torch.testing.assert_close(found.sum((1, 2)), 1 - mean[:, 0])
    last = attention_map(model, pixels, layers=1)
    assert last is not None
    torch.testing.assert_close(last, expected[-1].mean((1, 2))[:, 1:].reshape(2, SIDE, SIDE))


def test_the_patch_that_the_keys_favour_is_the_one_that_lights_up(tiny_model: Loaded) -> None:
    """Rows are rows and columns are columns: one patch of the picture is made to draw all attention."""
    model, _ = tiny_model
    assert model.vision is not None and model.qformer is not None
    tokens = torch.zeros(1, 1 + SIDE**2, TINY.vit_width)
    tokens[0, 1 + 2 * SIDE + 1] = 1.0  # row 2, column 1
    layers = [layer for layer in model.qformer.qformer.encoder.layer if layer.has_cross_attention]
    with torch.no_grad():
        for layer in layers:
            attention = layer.crossattention.attention
            attention.query.weight.zero_()
            attention.query.bias.fill_(1.0)
            attention.key.weight.fill_(1.0)
    model.vision.forward = lambda pixels: tokens  # type: ignore[method-assign]
    found = attention_map(model, pictures(1))
    assert found is not None
    assert found[0, 2, 1] > 0.99


def test_the_model_is_left_as_it_was_to_the_bit(tiny_model: Loaded) -> None:
    model, _ = tiny_model
    assert model.qformer is not None
    pixels = pictures(2)
    with torch.inference_mode():
        before = model.encode_images(pixels)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    implementation = model.qformer.qformer.config._attn_implementation
    assert implementation != "eager"  # otherwise this test could not fail
    hooks = [len(module._forward_hooks) for module in model.modules()]
    attention_map(model, pixels)
    assert model.qformer.qformer.config._attn_implementation == implementation
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    with torch.inference_mode():
        assert torch.equal(model.encode_images(pixels), before)


def test_someone_else_s_features_made_meanwhile_are_the_same_to_the_bit(tiny_model: Loaded) -> None:
    model, _ = tiny_model
    pixels = pictures(2)
    with torch.inference_mode():
        before = model.encode_images(pixels)
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            attention_map(model, pixels)

    other = threading.Thread(target=look)
    other.start()
    try:
        for _ in range(40):
            with torch.inference_mode():
                assert torch.equal(model.encode_images(pixels), before)
    finally:
        stop.set()
        other.join()


def encoder(name: str, size_px: int) -> SkinGPT4:
    """A random model around an encoder of timm."""
    torch.manual_seed(0)
    backbone = timm.create_model(name, pretrained=False, num_classes=0, img_size=size_px).eval()
    vision = VisionEncoder(backbone, nn.LayerNorm(backbone.num_features)).eval()
    qformer = QFormer(4, 24, 2, 4, 48, 2, vision.width).eval()
    model = SkinGPT4.__new__(SkinGPT4)
    nn.Module.__init__(model)
    model.vision, model.qformer = vision, qformer
    return model


@pytest.mark.parametrize(
    ("name", "prefix_tokens"),
    [
        ("vit_tiny_patch16_224", 1),
        ("deit_tiny_distilled_patch16_224", 2),  # class and distillation token
        ("vit_small_patch14_reg4_dinov2", 5),  # class and four register tokens
        ("vit_base_patch16_siglip_gap_224", 0),
    ],
)
def test_tokens_without_a_place_in_the_picture_are_left_out(name: str, prefix_tokens: int) -> None:
    model = encoder(name, 112)
    assert model.vision is not None and model.qformer is not None
    pixels = torch.randn(1, 3, 112, 112)
    with torch.no_grad():
        tokens = model.vision(pixels)
    grid = patch_grid(model.vision)
    assert grid in ((7, 7), (8, 8))
    assert tokens.shape[1] == prefix_tokens + grid[0] * grid[1]
    (weights,) = cross_attention(model.qformer, tokens)
    found = attention_map(model, pixels)
    assert found is not None and found.shape == (1, *grid)
    torch.testing.assert_close(found.flatten(1), weights.mean((1, 2))[:, prefix_tokens:])


def test_an_encoder_without_a_grid_of_patches_has_no_map(tiny_model: Loaded) -> None:
    model, _ = tiny_model
    assert model.vision is not None
    tokens = model.vision(pictures(1))
    model.vision.forward = lambda pixels: tokens[:, :-3]  # type: ignore[method-assign]
    assert attention_map(model, pictures(1)) is None  # tokens were merged or dropped
    del model.vision.backbone.patch_embed
    assert patch_grid(model.vision) is None


def test_a_model_without_its_encoder_says_so(tiny_model: Loaded) -> None:
    model, _ = tiny_model
    model.vision = None
    with pytest.raises(ValueError, match="without its encoder"):
        attention_map(model, pictures(1))
