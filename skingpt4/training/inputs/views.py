"""A photograph -> the pixels of one view of it: the whole picture, or one of its random crops.

Which crop a view is depends on the seed, the photograph's content and the view's number, so that it is the same
wherever the photograph stands in the data, and cached or not.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import RandomResizedCrop, functional

from skingpt4.data.records import ImageRef
from skingpt4.images import CLIP_MEAN, CLIP_STD, CROP_AREA, open_image, squash

if TYPE_CHECKING:
    from PIL.Image import Image

CROP_SHAPE = (3 / 4, 4 / 3)  # of the training view, width to height; torchvision's and the original's
_DRAWING = threading.Lock()  # torch's random numbers belong to the process, and threads draw crops


@dataclass(frozen=True)
class Viewer:
    """How photographs are seen. random_crop: a crop of 0.5-1.0 of the area per view, drawn by `seed`; else the whole
    picture, squashed to the square.
    """

    image_size_px: int
    random_crop: bool
    seed: int

    def see(self, image: ImageRef, views: range) -> tuple[bytes, np.ndarray]:
        """SHA-256 of the photograph's file, and uint8[views, S, S, 3]. Raises `ImageError` for what is no picture."""
        file = _ReadOnce(image)
        picture = open_image(file)
        digest = hashlib.sha256(file.content)
        pixels = [self._square(picture, f"{self.seed}:{digest.hexdigest()}:{view}") for view in views]
        return digest.digest(), np.stack(pixels)

    def _square(self, picture: Image, seed: str) -> np.ndarray:
        if self.random_crop:
            picture = random_crop(picture, seed)
        return np.asarray(squash(picture, self.image_size_px))


class Pixels(Viewer):
    """The input of an objective that encodes: float32[3, S, S] of a record's photograph, read at every call. (A class,
    so that it can be sent to worker processes.)
    """

    def __call__(self, number: int, image: ImageRef, view: int) -> Tensor:
        return normalised(torch.from_numpy(self.see(image, range(view, view + 1))[1]))[0]


def random_crop(picture: Image, seed: str) -> Image:
    """The crop of 0.5-1.0 of the area that belongs to `seed`; the original flips nothing."""
    with _DRAWING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7], "big"))
        top, left, height, width = RandomResizedCrop.get_params(picture, list(CROP_AREA), list(CROP_SHAPE))
    return picture.crop((left, top, left + width, top + height))


def normalised(pixels: Tensor) -> Tensor:
    """uint8[..., S, S, 3], 0-255 -> float32[..., 3, S, S], CLIP-normalised, on the same device. (What
    `images.evaluation_transform` does after `squash`, for many at once and on a GPU.)
    """
    values = functional.convert_image_dtype(pixels.movedim(-1, -3), torch.float32)
    return functional.normalize(values, list(CLIP_MEAN), list(CLIP_STD)).contiguous()


class _ReadOnce:
    """A photograph's file, whose bytes are kept when they are read: one reading for the picture and its digest."""

    def __init__(self, image: ImageRef):
        self._image = image
        self.content = b""

    def __str__(self) -> str:
        return str(self._image)

    def read_bytes(self) -> bytes:
        self.content = self._image.read_bytes()
        return self.content
