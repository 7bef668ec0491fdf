"""Tileable grey textures, computed once from a fixed seed; a photograph takes random crops of them, which is fast."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

SIZE_PX = 112  # side of a photograph
_TILE_PX = 384  # side of a texture; crops wrap around


@cache
def smooth_noise(scale_px: float) -> Float:
    """Gaussian noise with structures of about `scale_px`, float[T + S, T + S], mean 0, deviation 1."""
    rng = np.random.default_rng(int(scale_px * 1000))
    frequency = np.fft.fftfreq(_TILE_PX)
    squared = frequency[:, None] ** 2 + frequency[None, :] ** 2
    spectrum = np.fft.fft2(rng.standard_normal((_TILE_PX, _TILE_PX))) * np.exp(
        -squared * (2 * np.pi * scale_px) ** 2 / 4
    )
    field = np.fft.ifft2(spectrum).real
    return _wrapped(((field - field.mean()) / field.std()).astype(np.float32))


@cache
def cells(spacing_px: float) -> tuple[Float, Float, Float]:
    """A Voronoi tiling: (dome in each cell 1 -> 0, gap to the border in px, one random number 0-1 per cell), each
    float[T + S, T + S]."""
    rng = np.random.default_rng(int(spacing_px * 1000) + 7)
    per_side = max(4, round(_TILE_PX / spacing_px))
    step = _TILE_PX / per_side
    corners = np.stack(np.meshgrid(np.arange(per_side), np.arange(per_side), indexing="ij"), -1)
    seeds = (corners + rng.uniform(0.05, 0.95, corners.shape)) * step
    values = rng.random((per_side, per_side)).astype(np.float32)
    y, x = np.mgrid[0:_TILE_PX, 0:_TILE_PX].astype(np.float32)
    row, column = (y // step).astype(int), (x // step).astype(int)
    first = np.full(y.shape, np.inf, np.float32)
    second, value = first.copy(), np.zeros(y.shape, np.float32)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            r, c = row + dy, column + dx
            seed = seeds[r % per_side, c % per_side]
            py = seed[..., 0] + (r // per_side) * _TILE_PX
            px = seed[..., 1] + (c // per_side) * _TILE_PX
            distance = np.hypot(y - py, x - px).astype(np.float32)
            nearer = distance < first
            second = np.where(nearer, first, np.minimum(second, distance))
            value = np.where(nearer, values[r % per_side, c % per_side], value)
            first = np.where(nearer, distance, first)
    dome = np.clip(1 - (first / (0.75 * step)) ** 2, 0, 1)
    return _wrapped(dome.astype(np.float32)), _wrapped((second - first).astype(np.float32)), _wrapped(value)


def _wrapped(texture: Float) -> Float:
    """The texture with its first rows and columns repeated at the end, so that every crop is a plain slice."""
    return np.pad(texture, (0, SIZE_PX), mode="wrap")


def crop(texture: Float, at: tuple[int, int, int]) -> Float:
    """The square float[S, S] of a texture at `at` = (row, column, turn 0-7)."""
    row, column, turn = at
    square = np.rot90(texture[row : row + SIZE_PX, column : column + SIZE_PX], turn % 4)
    return square.T if turn >= 4 else square


def place(rng: np.random.Generator) -> tuple[int, int, int]:
    """A random place for `crop`."""
    row, column, turn = rng.integers(0, (_TILE_PX, _TILE_PX, 8))
    return int(row), int(column), int(turn)


def random_noise(scale_px: float, rng: np.random.Generator) -> Float:
    """A random square of `smooth_noise`, float[S, S]."""
    return crop(smooth_noise(scale_px), place(rng))
