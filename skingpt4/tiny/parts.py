"""The embedded default's sizes, and its parts at random weights."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from timm.models.eva import EvaAttention
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from skingpt4.device import cpu_has_bf16 as cpu_has_bf16
from skingpt4.images import CLIP_MEAN, CLIP_STD
from skingpt4.model.qformer import QFormer
from skingpt4.model.vision import VisionEncoder, build_eva_vit

IMAGE_PX, PATCH_PX = 112, 14
VISION_WIDTH, LANGUAGE_WIDTH = 128, 192
QUERIES = 16
CONTEXT_TOKENS = 1024


def build_vision() -> VisionEncoder:
    """The vision transformer and `ln_vision`."""
    backbone = build_eva_vit(IMAGE_PX, PATCH_PX, VISION_WIDTH, depth=5, heads=4, mlp_ratio=4.3637)
    return VisionEncoder(backbone, nn.LayerNorm(VISION_WIDTH, eps=1e-5))


def build_qformer() -> QFormer:
    """The Q-Former of 16 queries."""
    return QFormer(QUERIES, VISION_WIDTH, 3, 4, 512, 2, VISION_WIDTH)


def build_language_model(vocabulary_size: int) -> LlamaForCausalLM:
    """The decoder: a LLaMA of 2 million weights."""
    config = LlamaConfig(
        vocab_size=vocabulary_size,
        hidden_size=LANGUAGE_WIDTH,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT_TOKENS,
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config)


def prefer_eager_attention(*modules: nn.Module) -> None:
    """Plain attention: on a CPU in bf16 it takes half the time of the fused kernel at these sizes."""
    for module in modules:
        for part in module.modules():
            if isinstance(part, EvaAttention):
                part.fused_attn = False
            elif isinstance(part, PreTrainedModel):
                part.set_attn_implementation("eager")


def to_pixels(images: np.ndarray | Tensor) -> Tensor:
    """RGB uint8[B, 112, 112, 3] -> CLIP-normalised float[B, 3, 112, 112]."""
    scaled = torch.as_tensor(images).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor(CLIP_MEAN).view(1, 3, 1, 1), torch.tensor(CLIP_STD).view(1, 3, 1, 1)
    return (scaled - mean) / std


def parameter_groups(modules: Iterable[nn.Module], decay: float) -> list[dict[str, object]]:
    """AdamW groups: weight decay on matrices only."""
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for module in modules:
        for parameter in module.parameters():
            if parameter.requires_grad:
                (matrices if parameter.ndim >= 2 else vectors).append(parameter)
    return [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]


def cosine_lr(step: int, steps: int, peak: float, warmup_steps: int, floor: float = 0.02) -> float:
    """Linear warm-up, then a half cosine down to `floor` of the peak."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return peak * (floor + (1 - floor) * 0.5 * (1 + float(np.cos(np.pi * progress))))
