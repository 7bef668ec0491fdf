"""The frozen BLIP-2 Q-Former: learned queries that read the photograph's patch tokens by cross-attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import Blip2QFormerConfig, Blip2QFormerModel


class QFormer(nn.Module):
    """Query tokens and the transformer that fills them (`transformers`' `Blip2QFormerModel`, image branch only).

    BLIP-2's is `QFormer(queries=32, width=768, layers=12, heads=12, intermediate_width=3072,
    cross_attention_frequency=2, encoder_width=1408)`; eps 1e-12 as in BERT. Always float32.
    """

    def __init__(
        self,
        queries: int,
        width: int,
        layers: int,
        heads: int,
        intermediate_width: int,
        cross_attention_frequency: int,
        encoder_width: int,
    ):
        super().__init__()
        self.query_tokens = nn.Parameter(torch.empty(1, queries, width).normal_(std=0.02))
        self.qformer = Blip2QFormerModel(
            Blip2QFormerConfig(
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                intermediate_size=intermediate_width,
                cross_attention_frequency=cross_attention_frequency,
                encoder_hidden_size=encoder_width,
                layer_norm_eps=1e-12,
            )
        )

    @property
    def width(self) -> int:
        return self.query_tokens.shape[-1]

    @property
    def queries(self) -> int:
        return self.query_tokens.shape[1]

    def forward(self, vision_tokens: Tensor) -> Tensor:
        """vision_tokens float[B, N, D] -> features float32[B, Q, width]."""
        queries = self.query_tokens.expand(vision_tokens.shape[0], -1, -1)
        with torch.autocast(vision_tokens.device.type, enabled=False):
            return self.qformer(query_embeds=queries, encoder_hidden_states=vision_tokens.float()).last_hidden_state
