"""The frozen encoder's output, computed once per photograph and view and kept on disk.

A file is named by what it was made from (encoder weights, image size, crops, the photographs' bytes), so a stale one is
never read.
With it, training does not load the encoder at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from skingpt4.config import resolve_path
from skingpt4.data.records import ImageRef, file_sha256
from skingpt4.device import resolve_device, resolve_dtype, resolve_vit_dtype
from skingpt4.images import evaluation_transform, open_image, training_transform
from skingpt4.settings import Settings
from skingpt4.weights.build import build_encoder
from skingpt4.weights.files import find_file

if TYPE_CHECKING:
    from PIL.Image import Image

Progress = Callable[[Iterable[int], str, int], Iterable[int]]  # items, what they are, how many
BATCH_IMAGES = 32


class FeatureFile:
    """Features of some photographs, memory-mapped: float32[photographs, views, Q, W] in the order of the paths."""

    def __init__(self, path: Path):
        self.values = np.load(path, mmap_mode="r")

    def __call__(self, number: int, view: int) -> Tensor:
        """float32[Q, W] of photograph `number`, view `view`."""
        return torch.from_numpy(self.values[number, view].copy())


def cached_features(
    settings: Settings, images: Sequence[ImageRef], random_crop: bool, folder: Path, progress: Progress
) -> FeatureFile:
    """The features of these photographs, from disk where they were computed before.

    random_crop: `data.cached_views` training views per photograph; else one evaluation view. Raises `ImageError` for a
    photograph that cannot be read.
    """
    views = settings.data.cached_views if random_crop else 1
    path = folder / f"features-{_key(settings, images, random_crop, views)}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _compute(settings, images, random_crop, views, path, progress)
    return FeatureFile(path)


def _compute(
    settings: Settings, images: Sequence[ImageRef], random_crop: bool, views: int, path: Path, progress: Progress
) -> None:
    device = resolve_device(settings.run.device)
    decoder_dtype = resolve_dtype(settings.model.precision, device)
    vision, qformer = build_encoder(
        settings.model, resolve_vit_dtype(settings.model.vit_precision, decoder_dtype, device), device
    )
    partial = path.with_suffix(".partial")
    shape = (len(images), views, qformer.queries, qformer.width)
    values = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=shape)
    step = max(1, BATCH_IMAGES // views)
    for start in progress(range(0, len(images), step), "reading photographs", -(-len(images) // step)):
        stack = [
            view_pixels(
                open_image(image),
                settings.model.image_size,
                random_crop,
                f"{settings.run.seed}:{start + offset}:{view}",
            )
            for offset, image in enumerate(images[start : start + step])
            for view in range(views)
        ]
        with torch.inference_mode():
            features = qformer(vision(torch.stack(stack).to(device))).float().cpu()
        values[start : start + step] = features.reshape(-1, *shape[1:]).numpy()
    values.flush()
    del values
    partial.replace(path)


def view_pixels(image: Image, size_px: int, random_crop: bool, seed: str) -> Tensor:
    """float32[3, S, S] of one view: the evaluation view, or the random crop that belongs to `seed`."""
    if not random_crop:
        return evaluation_transform(size_px)(image)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7], "big"))
        return training_transform(size_px)(image)


@dataclass(frozen=True)
class Pixels:
    """float32[3, S, S] of record `number`, decoded at every call; the random crop belongs to the record and the view.
    (A class, so that it can be sent to worker processes.)
    """

    image_size_px: int
    random_crop: bool
    seed: int

    def __call__(self, number: int, image: ImageRef, view: int) -> Tensor:
        return view_pixels(open_image(image), self.image_size_px, self.random_crop, f"{self.seed}:{number}:{view}")


def _key(settings: Settings, images: Sequence[ImageRef], random_crop: bool, views: int) -> str:
    """Hash of everything that the features depend on."""
    model, run = settings.model, settings.run
    device = resolve_device(run.device)
    digest = hashlib.sha256()
    crop = f"{views} views, seed {run.seed}" if random_crop else "whole"
    not_values = ("vit_weights", "vit_precision")  # their content and their outcome count, below
    sizes = [
        vars(model)[name] for name in vars(model) if name.startswith(("vit_", "qformer_")) and name not in not_values
    ]
    dtype = resolve_vit_dtype(model.vit_precision, resolve_dtype(model.precision, device), device)
    digest.update(f"{model.image_size} {model.num_query_token} {sizes} {dtype} {crop}".encode())
    for weights in (model.vit_weights, model.q_former_model):
        digest.update(_file_hash(find_file(resolve_path(weights)) or Path(resolve_path(weights))))
    for image in images:
        digest.update(_content_hash(image) if image.is_file() else b"missing")
    return digest.hexdigest()[:24]


def _file_hash(path: Path) -> bytes:
    return bytes.fromhex(file_sha256(path))


def _content_hash(image: ImageRef) -> bytes:
    return _file_hash(image) if isinstance(image, Path) else hashlib.sha256(image.read_bytes()).digest()
