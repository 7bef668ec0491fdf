"""The models that the benchmarks of speed compare, with random weights: speed does not depend on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
)

from skingpt4.model.qformer import QFormer
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.model.vision import VisionEncoder, build_eva_vit
from skingpt4.weights.decoder import attention_implementation

QUERIES, IMAGE_PX, VOCABULARY = 32, 224, 32_000
IMAGE_TOKEN = VOCABULARY - 1


@dataclass(frozen=True)
class Size:
    """Width, layers, heads and width within the layers of the three parts."""

    vit: tuple[int, int, int, int]
    qformer: tuple[int, int, int, int]
    decoder: tuple[int, int, int, int]


SIZES = {
    "mini": Size((384, 12, 6, 1536), (384, 6, 6, 1536), (768, 12, 12, 2048)),
    "7b": Size((1408, 39, 16, 6144), (768, 12, 12, 3072), (4096, 32, 32, 11008)),
    "13b": Size((1408, 39, 16, 6144), (768, 12, 12, 3072), (5120, 40, 40, 13824)),
}


def decoder_config(size: Size) -> LlamaConfig:
    """The decoder of both."""
    width, layers, heads, hidden = size.decoder
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=2048,
    )


def baseline(size: Size) -> nn.Module:
    """`transformers`' BLIP-2, everything but `language_projection` frozen."""
    width, layers, heads, hidden = size.vit
    vision = Blip2VisionConfig(
        hidden_size=width, intermediate_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        image_size=IMAGE_PX, patch_size=14,
    )  # fmt: skip
    query_width, query_layers, query_heads, query_hidden = size.qformer
    qformer = Blip2QFormerConfig(
        hidden_size=query_width, intermediate_size=query_hidden, num_hidden_layers=query_layers,
        num_attention_heads=query_heads, encoder_hidden_size=width, cross_attention_frequency=2,
    )  # fmt: skip
    config = Blip2Config(
        vision_config=vision, qformer_config=qformer, text_config=decoder_config(size), num_query_tokens=QUERIES,
        image_token_index=IMAGE_TOKEN,
    )  # fmt: skip
    model = Blip2ForConditionalGeneration(config).eval()
    model.requires_grad_(False)
    model.language_projection.requires_grad_(True)
    return model


def ours(size: Size, dtype: torch.dtype, compiled: bool = False, with_encoder: bool = True) -> SkinGPT4:
    """The same sizes; frozen parts in `dtype`, Q-Former and projection in float32, as `load_model` makes them."""
    width, layers, heads, hidden = size.vit
    query_width, query_layers, query_heads, query_hidden = size.qformer
    vision, qformer = None, None
    if with_encoder:
        backbone = build_eva_vit(IMAGE_PX, 14, width, depth=layers, heads=heads, mlp_ratio=hidden / width)
        for part in backbone.modules():
            if isinstance(part, (nn.Linear, nn.Conv2d)):
                part.to(dtype)  # as `weights/build.py`: matrices in `dtype`, norms in float32
        vision = VisionEncoder(backbone, nn.LayerNorm(width))
        qformer = QFormer(QUERIES, query_width, query_layers, query_heads, query_hidden, 2, width)
    device = torch.get_default_device()
    decoder = LlamaForCausalLM._from_config(
        decoder_config(size), dtype=dtype, attn_implementation=attention_implementation(dtype, device) or "sdpa"
    )
    projection = nn.Linear(query_width, size.decoder[0])
    return SkinGPT4(vision, qformer, projection, decoder.requires_grad_(False), compiled).eval()
