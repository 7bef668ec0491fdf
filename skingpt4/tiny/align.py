"""The starting point of fine-tuning: a projection aligned on everyday captions, the counterpart of MiniGPT-4's first
stage.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from skingpt4.tiny import parts
from skingpt4.tiny.asking import ask
from skingpt4.tiny.bridge import features_of, load_frozen, tune_projection
from skingpt4.tiny.corpus import lay_caption
from skingpt4.tiny.renderer import random_description, render

OFF_SKIN = 0.2


def align(assets: Path, photographs: int, epochs: int, peak_lr: float, seed: int) -> dict[str, float]:
    """Train a projection from random weights on `photographs` generic images; writes `projection.safetensors` into
    `assets`.
    """
    frozen = load_frozen(assets)
    rng = np.random.default_rng([seed, 3])
    renderings = [render(random_description(rng, OFF_SKIN), rng) for _ in range(photographs)]
    captions = [lay_caption(rendering.description) for rendering in renderings]
    features = features_of(frozen, np.stack([rendering.image for rendering in renderings]))
    torch.manual_seed(seed)
    projection = nn.Linear(parts.VISION_WIDTH, parts.LANGUAGE_WIDTH)
    steps = photographs * epochs // 32
    losses = tune_projection(
        frozen,
        projection,
        features,
        lambda row, draw: (ask("lay", draw), captions[row]),
        steps,
        peak_lr,
        seed,
        chat_share=0.5,
    )
    save_projection(projection, assets / "projection.safetensors")
    return {"caption loss, last 50 steps": float(np.mean(losses[-50:]))}


def save_projection(projection: nn.Linear, path: Path) -> None:
    """`llama_proj.weight` and `llama_proj.bias`, float32."""
    tensors = {
        f"llama_proj.{key}": value.detach().float().contiguous() for key, value in projection.state_dict().items()
    }
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors writes files that only their owner can read
