"""The frozen photograph encoder: a vision transformer and the LayerNorm after it (BLIP-2's `ln_vision`)."""

from __future__ import annotations

from collections.abc import Sequence

import timm
import torch
from timm.models.eva import Eva
from torch import Tensor, nn

from skingpt4.images import CLIP_MEAN, CLIP_STD


def build_eva_vit(image_size_px: int, patch_size_px: int, width: int, depth: int, heads: int, mlp_ratio: float) -> Eva:
    """An EVA vision transformer as LAVIS's `eva_vit.py` uses it: class token, absolute positions, no final norm, no
    head.

    EVA-CLIP-g is `(224, 14, 1408, 39, 16, 4.3637)`. Parameter names equal those of LAVIS's `eva_vit_g.pth`.
    """
    return Eva(
        img_size=image_size_px,
        patch_size=patch_size_px,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        mlp_ratio=mlp_ratio,
        num_classes=0,
        global_pool="token",
        use_post_transformer_norm=False,
        use_fc_norm=False,
    )


def build_timm_vit(name: str, image_size_px: int) -> nn.Module:
    """Any other encoder of timm that returns patch tokens, at random weights.

    Raises `ValueError` when timm has no such model or weights (`NAME.TAG`), or when it is no vision transformer.
    """
    architecture, _, tag = name.partition(".")
    if not timm.is_model(name) or (tag and not timm.is_model_pretrained(name)):
        near = timm.list_pretrained(f"{architecture}.*") or timm.list_models(f"*{name.split('_')[0]}*")
        near = ", ".join(near[:8]) or "see timm.list_models()"
        raise ValueError(f"vit_model {name!r} is not a model of timm {timm.__version__}. Similar names: {near}")
    try:
        backbone = timm.create_model(name, pretrained=False, num_classes=0, img_size=image_size_px)
    except TypeError as error:  # a convolutional network has no `img_size`
        raise ValueError(f"vit_model {name!r} is no vision transformer: it takes no image size ({error})") from error
    return backbone


def pixel_statistics(name: str) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation of RGB in [0, 1] that timm's model of this name was trained with: SigLIP's are 0.5,
    DINO's are ImageNet's. CLIP's where timm knows none.
    """
    trained = timm.get_pretrained_cfg(name)
    return (trained.mean, trained.std) if trained else (CLIP_MEAN, CLIP_STD)


class VisionEncoder(nn.Module):
    """Pixels to patch tokens.

    backbone: a timm vision transformer; its `forward_features` gives float[B, N, D], class token first where it has
    one, then registers where it has some.
    ln_vision: normalises the tokens; BLIP-2 trained it, so it comes with the Q-Former's file.
    mean, std: of the pixels that the backbone was trained with. Pixels come CLIP-normalised, as from every transform of
    this package, and are brought to these: no transform, and no cache of views, needs to know the encoder.
    """

    def __init__(
        self,
        backbone: nn.Module,
        ln_vision: nn.LayerNorm,
        mean: Sequence[float] = CLIP_MEAN,
        std: Sequence[float] = CLIP_STD,
    ):
        super().__init__()
        self.backbone = backbone
        self.ln_vision = ln_vision
        self._scale = [own / wanted for own, wanted in zip(CLIP_STD, std, strict=True)]
        self._shift = [(own - wanted) / scale for own, wanted, scale in zip(CLIP_MEAN, mean, std, strict=True)]

    @property
    def width(self) -> int:
        return self.ln_vision.normalized_shape[0]

    def tokens(self, pixels: Tensor) -> Tensor:
        """pixels float[B, 3, S, S], CLIP-normalised -> tokens before `ln_vision`, float[B, N, D]."""
        tokens: Tensor = self.backbone.forward_features(self._as_trained(pixels))  # type: ignore[operator]
        return tokens

    def _as_trained(self, pixels: Tensor) -> Tensor:
        if self._scale == [1, 1, 1] and self._shift == [0, 0, 0]:
            return pixels
        scale, shift = (pixels.new_tensor(values).view(3, 1, 1) for values in (self._scale, self._shift))
        return pixels * scale + shift

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels float[B, 3, S, S], CLIP-normalised -> float32[B, N, D].

        The big matrices run in the dtype they are stored in; LayerNorms stay float32 (MiniGPT-4's
        `convert_weights_to_fp16` halves Linear and Conv only, under autocast).
        """
        compute_dtype = matrix_dtype(self.backbone)
        reduced = compute_dtype != torch.float32
        with torch.autocast(pixels.device.type, dtype=compute_dtype if reduced else torch.bfloat16, enabled=reduced):
            tokens = self.tokens(pixels)
        with torch.autocast(pixels.device.type, enabled=False):
            return self.ln_vision(tokens.float())


def matrix_dtype(module: nn.Module) -> torch.dtype:
    """The dtype of a module's Linear and Conv weights (LayerNorms may be kept wider)."""
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d)):
            return part.weight.dtype
    raise ValueError(f"{type(module).__name__} has no Linear or Conv layer")
