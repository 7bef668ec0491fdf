"""Words in the place of a photograph: the image slot of the text corpus, from crisp words to a noisy mixture.

What a projection gives the decoder later is never a word but something between words, a concept spread over several
of the 16 image tokens. A decoder that has only seen crisp words there does not read it; so most samples are mixed and
noisy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skingpt4.tiny.parts import QUERIES

MOST_PIECES = 40
MIXED_SHARE = 0.65


@dataclass(frozen=True)
class Slot:
    """pieces: int[P] token ids. weights: float[Q, P]: each image token is this mixture of their embeddings. noise:
    its deviation, in units of the embeddings' own.
    """

    pieces: list[int]
    weights: np.ndarray
    noise: float
    offset: float


def fill_slot(phrases: list[list[int]], rng: np.random.Generator) -> Slot:
    """Lay phrases (token ids each) out over the image tokens."""
    pieces = [piece for phrase in phrases for piece in phrase][:MOST_PIECES]
    weights = np.zeros((QUERIES, len(pieces)), np.float32)
    if len(pieces) <= QUERIES and rng.random() >= MIXED_SHARE:
        free = np.sort(rng.choice(QUERIES, len(pieces), replace=False))
        weights[free, np.arange(len(pieces))] = 1.0
        return Slot(pieces, weights, float(rng.uniform(0.02, 0.15)), 0.0)
    start = 0
    for phrase in phrases:
        if start >= len(pieces):
            break
        stop = min(start + len(phrase), len(pieces))
        where = rng.choice(QUERIES, int(rng.integers(1, 6)), replace=False)
        strength = rng.uniform(0.35, 1.25, len(where)).astype(np.float32) / np.sqrt(stop - start)
        weights[where, start:stop] += strength[:, None]
        start = stop
    mixing = np.eye(QUERIES, dtype=np.float32) + rng.normal(0, 0.10, (QUERIES, QUERIES)).astype(np.float32)
    return Slot(
        pieces, mixing @ weights, float(rng.uniform(0.05, 0.6)), float(rng.uniform(0, 0.8) if rng.random() < 0.5 else 0)
    )


def slot_embeddings(slots: list[Slot], table: Tensor, generator: torch.Generator) -> Tensor:
    """Image tokens float[B, Q, D] for `slots`, from the embedding table float[V, D]; gradients reach the table."""
    most = max(len(slot.pieces) for slot in slots)
    pieces = torch.zeros(len(slots), most, dtype=torch.long)
    weights = torch.zeros(len(slots), QUERIES, most)
    for row, slot in enumerate(slots):
        pieces[row, : len(slot.pieces)] = torch.tensor(slot.pieces)
        weights[row, :, : len(slot.pieces)] = torch.from_numpy(slot.weights)
    scale = table.detach().float().pow(2).mean().sqrt()
    noise = torch.tensor([slot.noise for slot in slots]).view(-1, 1, 1) * scale
    offset = torch.tensor([slot.offset for slot in slots]).view(-1, 1, 1) * scale
    mixed = torch.bmm(weights, table[pieces].float())
    mixed = mixed + noise * torch.randn(mixed.shape, generator=generator)
    return mixed + offset * torch.randn(len(slots), 1, mixed.shape[-1], generator=generator)
