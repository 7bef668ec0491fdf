"""General pre-training of the eyes: the vision transformer and the Q-Former learn what a layman sees, and no
dermatology.

Multi-label loss on 39 everyday attributes, read from the best query as in BLIP-2's contrastive loss, plus the same
for each patch from the renderer's masks. Without the patch loss the small network finds nothing in this time.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from skingpt4.model.qformer import QFormer
from skingpt4.model.vision import VisionEncoder
from skingpt4.tiny import parts
from skingpt4.tiny.attributes import ATTRIBUTES, attribute_labels
from skingpt4.tiny.renderer import DRAWABLE, SIZE_PX, patch_coverage, random_description, render

PATCH_LOSS_WEIGHT = 10.0
OFF_SKIN = 0.2  # share of photographs on a backdrop that is no skin
_CHUNK = 500


@dataclass(frozen=True)
class Photographs:
    """images uint8[N, S, S, 3]; labels uint8[N, 39]; patches uint8[N, P, P, 24], coverage 0-255."""

    images: np.ndarray
    labels: np.ndarray
    patches: np.ndarray


def _render_chunk(job: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    seed, count = job
    rng = np.random.default_rng(seed)
    images, labels, patches = [], [], []
    for _ in range(count):
        rendering = render(random_description(rng, OFF_SKIN), rng)
        images.append(rendering.image)
        labels.append(attribute_labels(rendering.description).astype(np.uint8))
        patches.append((patch_coverage(rendering.masks) * 255).astype(np.uint8))
    return np.stack(images), np.stack(labels), np.stack(patches)


def generic_photographs(folder: Path, count: int, seed: int) -> Photographs:
    """`count` random combinations; kept in `folder` and mapped from there, so that they need no memory of their own."""
    side = SIZE_PX // parts.PATCH_PX
    shapes = {
        "images": (count, SIZE_PX, SIZE_PX, 3),
        "labels": (count, len(ATTRIBUTES)),
        "patches": (count, side, side, len(DRAWABLE)),
    }
    paths = {name: folder / f"{name}-{count}-{seed}.npy" for name in shapes}
    done = folder / f"photographs-{count}-{seed}.done"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        arrays = [np.lib.format.open_memmap(paths[name], "w+", np.uint8, shape) for name, shape in shapes.items()]
        jobs = [(seed * 1_000_003 + start, min(_CHUNK, count - start)) for start in range(0, count, _CHUNK)]
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            chunks = pool.imap(_render_chunk, jobs)
            for index, chunk in enumerate(
                tqdm(chunks, total=len(jobs), desc=f"render {count} photographs", mininterval=5)
            ):
                for array, values in zip(arrays, chunk, strict=True):
                    array[index * _CHUNK : index * _CHUNK + len(values)] = values
        for array in arrays:
            array.flush()
        done.touch()
    return Photographs(*(np.load(paths[name], mmap_mode="r") for name in shapes))


class AttributeHead(nn.Module):
    """Attribute logits from query features and patch tokens; only used in pre-training."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(parts.VISION_WIDTH, 96)
        self.attributes = nn.Parameter(torch.randn(len(ATTRIBUTES), 96) * 0.1)
        self.bias = nn.Parameter(torch.full((len(ATTRIBUTES),), -4.0))
        self.patch = nn.Linear(parts.VISION_WIDTH, len(DRAWABLE))

    def forward(self, features: Tensor) -> Tensor:
        """features float[B, Q, D] -> logits float[B, 39]."""
        return torch.logsumexp((self.query(features) @ self.attributes.T).float(), dim=1) + self.bias

    def patches(self, vision_tokens: Tensor) -> Tensor:
        """vision_tokens float[B, N, D], class token first -> logits float[B, P * P, 24]."""
        return self.patch(vision_tokens[:, 1:]).float()


def see(vision: VisionEncoder, qformer: QFormer, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """pixels float[B, 3, S, S] -> (patch tokens float[B, N, D], query features float[B, Q, D]), under the caller's
    autocast.
    """
    tokens = vision.ln_vision(vision.tokens(pixels))
    queries = qformer.query_tokens.expand(len(tokens), -1, -1)
    return tokens, qformer.qformer(query_embeds=queries, encoder_hidden_states=tokens).last_hidden_state


def _augment(images: Tensor, patches: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror and turn the whole batch one way, and jitter each photograph's colours."""
    flip_rows, flip_columns, transpose = (torch.rand(3, generator=generator) < 0.5).tolist()
    for axis, wanted in ((1, flip_rows), (2, flip_columns)):
        if wanted:
            images, patches = images.flip(axis), patches.flip(axis)
    if transpose:
        images, patches = images.transpose(1, 2), patches.transpose(1, 2)
    count = len(images)
    gain = (
        1
        + 0.06 * torch.randn(count, 1, 1, 1, generator=generator)
        + 0.02 * torch.randn(count, 1, 1, 3, generator=generator)
    )
    return (images.float() * gain).clamp(0, 255), patches.contiguous()


def pretrain_vision(
    folder: Path, steps: int, photographs: int, batch: int, peak_lr: float, seed: int, start: Path | None = None
) -> dict[str, float]:
    """Train from scratch, or on from the weights in `start`; writes `vision.safetensors` (backbone, ln_vision, qformer,
    head) and returns held-out figures.
    """
    data = generic_photographs(folder, photographs, seed)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    vision, qformer, head = parts.build_vision(), parts.build_qformer(), AttributeHead()
    if start is not None:
        weights = load_file(start)
        for name, part in _named(vision, qformer, head):
            part.load_state_dict(
                {k.removeprefix(f"{name}."): v for k, v in weights.items() if k.startswith(f"{name}.")}
            )
    parts.prefer_eager_attention(vision, qformer)
    modules = nn.ModuleList([vision, qformer, head])
    groups = parts.parameter_groups([vision, qformer, head], decay=0.05)
    optimizer = torch.optim.AdamW(groups, lr=peak_lr, betas=(0.9, 0.98))
    order = torch.empty(0, dtype=torch.long)
    progress = tqdm(range(steps), desc="vision", mininterval=10)
    for step in progress:
        if len(order) < batch:
            order = torch.randperm(photographs, generator=generator)
        index, order = np.sort(order[:batch].numpy()), order[batch:]
        images, patches = _augment(
            torch.from_numpy(data.images[index]), torch.from_numpy(data.patches[index]), generator
        )
        labels = torch.from_numpy(data.labels[index]).float()
        with torch.autocast("cpu", torch.bfloat16, enabled=parts.cpu_has_bf16()):
            tokens, features = see(vision, qformer, parts.to_pixels(images))
            logits, patch_logits = head(features), head.patches(tokens)
        loss = F.binary_cross_entropy_with_logits(logits, labels)
        covered = patches.flatten(1, 2).float() / 255
        patch_loss = F.binary_cross_entropy_with_logits(patch_logits, (covered * 2).clamp(0, 1))
        (loss + PATCH_LOSS_WEIGHT * patch_loss).backward()
        nn.utils.clip_grad_norm_(modules.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = parts.cosine_lr(step, steps, peak_lr, 300)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 0:
            progress.set_postfix(loss=f"{loss.item():.4f}", patch=f"{patch_loss.item():.4f}", refresh=False)
        if step % 2000 == 1999:
            micro, macro = evaluate_vision(vision, qformer, head, folder, seed + 1, 500)
            progress.write(f"vision step {step + 1}: held-out concept F1 micro {micro:.4f} macro {macro:.4f}")
    weights = {
        f"{name}.{key}": value
        for name, part in _named(vision, qformer, head)
        for key, value in part.state_dict().items()
    }
    micro, macro = evaluate_vision(vision, qformer, head, folder, seed + 1, 2000)
    save_file({key: value.contiguous().clone() for key, value in weights.items()}, folder / "vision.safetensors")
    return {"head concept micro-F1 (2,000 random combinations)": micro, "head concept macro-F1 (same)": macro}


def _named(vision: VisionEncoder, qformer: QFormer, head: AttributeHead) -> list[tuple[str, nn.Module]]:
    return [("vision", vision), ("qformer", qformer), ("head", head)]


@torch.no_grad()
def evaluate_vision(
    vision: VisionEncoder, qformer: QFormer, head: AttributeHead, folder: Path, seed: int, count: int
) -> tuple[float, float]:
    """Micro and macro F1 of the head's 24 concept attributes on fresh random combinations."""
    data = generic_photographs(folder, count, seed)
    said = []
    with torch.autocast("cpu", torch.bfloat16, enabled=parts.cpu_has_bf16()):
        for start in range(0, count, 100):
            _, features = see(vision, qformer, parts.to_pixels(np.array(data.images[start : start + 100])))
            said.append(head(features)[:, : len(DRAWABLE)] > 0)
    guess = torch.cat(said)
    truth = torch.from_numpy(data.labels[:, : len(DRAWABLE)] > 0)
    hit, total = (guess & truth).sum(0).float(), (guess.sum(0) + truth.sum(0)).float().clamp(min=1)
    return float(2 * hit.sum() / total.sum()), float((2 * hit / total).mean())
