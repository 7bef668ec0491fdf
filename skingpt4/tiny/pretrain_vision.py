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
from safetensors.torch import save_file
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
    """Mirror and turn the whole batch one way, jitter each photograph's colours, blur or roughen some batches."""
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
    changed = images.float() * gain
    kind, strength = torch.rand(2, generator=generator).tolist()
    if kind < 0.2:
        changed = _blurred(changed, 0.4 + 1.6 * strength)
    elif kind < 0.4:
        changed = changed + 25 * strength * torch.randn(changed.shape, generator=generator)
    return changed.clamp(0, 255), patches.contiguous()


def _blurred(images: Tensor, deviation_px: float) -> Tensor:
    """Gaussian blur of float[B, H, W, 3]."""
    steps = torch.arange(-5.0, 6.0)
    kernel = torch.exp(-0.5 * (steps / deviation_px) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    planes = images.permute(0, 3, 1, 2).flatten(0, 1)[:, None]
    planes = F.conv2d(F.pad(planes, (5, 5, 0, 0), mode="replicate"), kernel)
    planes = F.conv2d(F.pad(planes, (0, 0, 5, 5), mode="replicate"), kernel.transpose(2, 3))
    return planes.view(len(images), 3, *images.shape[1:3]).permute(0, 2, 3, 1)


def pretrain_vision(
    folder: Path, steps: int, photographs: int, batch: int, peak_lr: float, seed: int
) -> dict[str, float]:
    """Train from scratch; writes `vision.safetensors` (backbone, ln_vision, qformer, head). Returns figures."""
    data = generic_photographs(folder, photographs, seed)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    vision, qformer, head = parts.build_vision(), parts.build_qformer(), AttributeHead()
    parts.prefer_eager_attention(vision, qformer)
    modules = nn.ModuleList([vision, qformer, head])
    optimizers = _optimizers(modules, head, peak_lr)
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
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = parts.cosine_lr(step, steps, peak_lr, 100)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if step % 100 == 0:
            progress.set_postfix(loss=f"{loss.item():.4f}", patch=f"{patch_loss.item():.4f}", refresh=False)
        if step % 2000 == 1999:
            micro, macro = evaluate_vision(vision, qformer, head, folder, seed + 1, 500)
            progress.write(f"vision step {step + 1}: held-out concept F1 micro {micro:.4f} macro {macro:.4f}")
    named = {"vision": vision, "qformer": qformer, "head": head}
    weights = {f"{name}.{key}": value for name, part in named.items() for key, value in part.state_dict().items()}
    micro, macro = evaluate_vision(vision, qformer, head, folder, seed + 1, 2000)
    save_file({key: value.contiguous().clone() for key, value in weights.items()}, folder / "vision.safetensors")
    return {"head concept micro-F1 (2,000 random combinations)": micro, "head concept macro-F1 (same)": macro}


def _optimizers(modules: nn.Module, head: AttributeHead, peak_lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the backbone and the Q-Former, AdamW for the rest: in equal CPU time the loss fell
    about a third faster than under AdamW alone (tried over 1,000 steps).
    """
    in_head = {id(parameter) for parameter in head.parameters()}
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for parameter in modules.parameters():
        is_matrix = parameter.ndim == 2 and min(parameter.shape) >= 64 and id(parameter) not in in_head
        (matrices if is_matrix else rest).append(parameter)
    return [
        torch.optim.Muon(matrices, lr=peak_lr, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=peak_lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


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
