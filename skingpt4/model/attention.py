"""Where the Q-Former looked: its cross-attention over the photograph's patches."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from skingpt4.model.qformer import QFormer
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.model.vision import VisionEncoder

LAST_LAYERS = 2  # of those with cross-attention: 6 in BLIP-2's Q-Former


@torch.inference_mode()
def attention_map(model: SkinGPT4, pixels: Tensor, layers: int = LAST_LAYERS) -> Tensor | None:
    """The share of the queries' attention that each patch got: pixels float[B, 3, S, S], CLIP-normalised ->
    float32[B, h, w] in [0, 1], mean over the queries, the heads and the last `layers` cross-attentions.

    What the class token and other tokens without a place in the picture got is left out, so a map sums to 1 or less.
    None where the encoder's tokens form no grid of patches. Raises `ValueError` for a model without its encoder.
    """
    if model.vision is None or model.qformer is None:
        raise ValueError("This model was built without its encoder; load it with the encoder to see where it looks.")
    vision_tokens = model.vision(pixels)
    grid = patch_grid(model.vision)
    prefix = int(getattr(model.vision.backbone, "num_prefix_tokens", 0))
    if grid is None or vision_tokens.shape[1] != prefix + grid[0] * grid[1]:
        return None
    weights = cross_attention(model.qformer, vision_tokens)[-layers:]
    return torch.stack(weights).mean(dim=(0, 2, 3))[:, prefix:].unflatten(1, grid)


def cross_attention(qformer: QFormer, vision_tokens: Tensor) -> list[Tensor]:
    """softmax(Q·Kᵀ / √d) of every layer that has cross-attention, in order.

    vision_tokens: float[B, N, D] -> list of float32[B, heads, Q, N]. Runs in a second set of modules around the same
    tensors: the model itself, which may be answering someone else at this moment, is not touched.
    """
    shared: dict[int, object] = {id(tensor): tensor for tensor in (*qformer.parameters(), *qformer.buffers())}
    eager = copy.deepcopy(qformer.qformer, shared)
    eager.set_attn_implementation("eager")  # the fused kernels do not give their weights
    queries = qformer.query_tokens.expand(vision_tokens.shape[0], -1, -1)
    with torch.autocast(vision_tokens.device.type, enabled=False):
        output = eager(query_embeds=queries, encoder_hidden_states=vision_tokens.float(), output_attentions=True)
    return [weights.float() for weights in output.cross_attentions]


def patch_grid(vision: VisionEncoder) -> tuple[int, int] | None:
    """Rows and columns of patches of a plain vision transformer; None for an encoder that has no such grid."""
    rows, columns = getattr(getattr(vision.backbone, "patch_embed", None), "grid_size", None) or (0, 0)
    return (int(rows), int(columns)) if rows and columns else None
