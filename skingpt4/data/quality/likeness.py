"""Whether two photographs are the same picture: hashes find the pairs worth a look, grey thumbnails decide.

A perceptual hash says little about photographs of skin: a dark spot in the middle of a light square has much the same
64 bits as any other. So a pair counts only if the fine detail of its thumbnails agrees too, after one has been shifted
and stretched onto the other (a copy is often cropped a little). Measured on the 120 shared dermoscopic photographs and
300 drawn ones: different pictures that pass the hash agree by at most 0.77; copies saved as JPEG of quality 20-40,
resized, cropped by 2-8 %, 20 % brighter or 30 % richer in contrast by 0.97 and more in the median and by less than 0.87
in fewer than 1 %. Pictures that were turned or mirrored are not found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

THUMBNAIL_PX = 32  # what `imagehash.phash` itself looks at
NEAR_BITS = 12  # of 64 that may differ in a pair worth a look; crops of 2-3 % differ by up to 12
SURE_BITS = 4  # a pair whose pictures cannot be looked at counts up to here
SAME_DETAIL = 0.87  # least correlation of detail; see above
STRUCTURE_BITS = 16  # a picture's hash has about 32 bits set; with fewer it is blank, and like every other blank one

_BLOCK = 512  # hashes compared with as many others at a time: what fits into a cache
_PAIRS = 64  # pairs of thumbnails aligned at a time: as above
_STEPS = 5
_SMOOTHED_PX, _DETAIL_PX = 0.7, 1.5  # standard deviations: against noise, and between detail and shading
_MARGIN_PX = 3  # left out of the comparison: after the shift nothing is known there
_LARGEST_CHANGE = 0.12  # of the side: stretch or shift
_WORTH_ALIGNING = 0.3  # least correlation of the thumbnails as they are; copies within `NEAR_BITS` have 0.6


def thumbnail(image: Image) -> np.ndarray:
    """uint8[32, 32], grey: a picture squashed to a square."""
    from PIL.Image import Resampling

    return np.asarray(image.convert("L").resize((THUMBNAIL_PX, THUMBNAIL_PX), Resampling.LANCZOS))


def perceptual_hash(thumb: np.ndarray) -> str:
    """16 hex digits: `imagehash.phash` of the picture whose `thumbnail` this is."""
    import imagehash
    from PIL import Image

    return str(imagehash.phash(Image.fromarray(thumb)))


def near_pairs(hashes: np.ndarray, others: np.ndarray | None = None, bits: int = NEAR_BITS) -> np.ndarray:
    """int64[P, 2]: which of uint64[N] hashes differ from which of uint64[M] others in at most `bits` bits; without
    `others` each pair of `hashes` once, the smaller index first. Hashes without structure match nothing.
    """
    within = others is None
    against = hashes if others is None else others
    left, right = _structured(hashes), _structured(against)
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(left), _BLOCK):
        rows = left[start : start + _BLOCK]
        for begin in range(start if within else 0, len(right), _BLOCK):
            columns = right[begin : begin + _BLOCK]
            apart = np.bitwise_count(hashes[rows, None] ^ against[None, columns])
            row, column = np.nonzero(apart <= bits)
            pairs = np.stack([rows[row], columns[column]], axis=1)
            found.append(pairs[pairs[:, 0] < pairs[:, 1]] if within else pairs)
    return np.concatenate(found)


def _structured(hashes: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.bitwise_count(hashes) >= STRUCTURE_BITS)


def same_picture(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """bool[P]: whether the thumbnails uint8[P, 32, 32] show the same picture, pair by pair."""
    same = np.zeros(len(first), bool)
    for start in range(0, len(first), _PAIRS):
        part = slice(start, start + _PAIRS)
        one, two = _smoothed(first[part]), _smoothed(second[part])
        likely = np.flatnonzero(_correlation(one, two) >= _WORTH_ALIGNING)
        same[start + likely] = _correlation(*_details(one[likely], two[likely])) >= SAME_DETAIL
    return same


def _smoothed(thumbs: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(thumbs.astype(np.float32), (0, _SMOOTHED_PX, _SMOOTHED_PX))


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """float[P], -1 to 1; 0 where one of them is plain."""
    one, two = (part - part.mean((1, 2), keepdims=True) for part in (first, second))
    power = (one**2).sum((1, 2)) * (two**2).sum((1, 2))
    return (one * two).sum((1, 2)) / np.sqrt(power + 1e-6)


def _details(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is left of each without its shading, the second laid onto the first, without the margins."""
    from scipy.ndimage import gaussian_filter

    if not len(first):
        return first, second
    inner = slice(_MARGIN_PX, -_MARGIN_PX)
    laid = (first, _laid_onto(first, second))
    one, two = (part - gaussian_filter(part, (0, _DETAIL_PX, _DETAIL_PX)) for part in laid)
    return one[:, inner, inner], two[:, inner, inner]


def _laid_onto(target: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """float[P, 32, 32]: `moving` stretched and shifted along each axis, brightness left as it is, so that it fits
    `target` best: Lucas and Kanade's iteration (Gauss-Newton) over stretch and shift per axis, gain and offset.
    """
    count, grid = len(target), np.arange(THUMBNAIL_PX, dtype=np.float32) - (THUMBNAIL_PX - 1) / 2
    motion = np.tile(np.array([1, 0, 1, 0], np.float32), (count, 1))  # stretch and shift in y, then in x
    best, best_fit = moving, np.full(count, -np.inf, np.float32)
    inner = slice(2, -2)
    for step in range(_STEPS + 1):
        moved = _moved(moving, motion, grid)
        fit = _correlation(target[:, inner, inner], moved[:, inner, inner])
        best = np.where((fit > best_fit)[:, None, None], moved, best)
        best_fit = np.maximum(fit, best_fit)
        if step == _STEPS:
            break
        in_y, in_x = np.gradient(moved, axis=(1, 2))
        columns = (in_y * grid[:, None], in_y, in_x * grid, in_x, moved, np.ones_like(moved))
        slopes = np.stack([column[:, inner, inner].reshape(count, -1) for column in columns], axis=2)
        wanted = target[:, inner, inner].reshape(count, -1, 1)
        normal = slopes.transpose(0, 2, 1) @ slopes
        # a little damping: along a plain axis nothing says how far to go
        damping = 1e-6 * np.trace(normal, axis1=1, axis2=2) + 1e-6
        solved = np.linalg.solve(normal + damping[:, None, None] * np.eye(6), slopes.transpose(0, 2, 1) @ wanted)
        gain = np.maximum(solved[:, 4], 0.2)
        motion = motion + np.clip(solved[:, :4, 0] / gain, -1.5, 1.5).astype(np.float32)
        motion[:, ::2] = np.clip(motion[:, ::2], 1 - _LARGEST_CHANGE, 1 + _LARGEST_CHANGE)
        motion[:, 1::2] = np.clip(motion[:, 1::2], *(np.array([-1, 1]) * _LARGEST_CHANGE * THUMBNAIL_PX / 2))
    return best


def _moved(thumbs: np.ndarray, motion: np.ndarray, grid: np.ndarray) -> np.ndarray:
    down, across = (_sampling(motion[:, axis : axis + 2], grid) for axis in (0, 2))
    return down @ thumbs @ across.transpose(0, 2, 1)


def _sampling(motion: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """float32[P, 32, 32]: the weights with which each place of an axis takes the old ones (linear interpolation)."""
    size = THUMBNAIL_PX
    place = np.clip(grid * motion[:, :1] + motion[:, 1:] + (size - 1) / 2, 0, size - 1)
    before = np.minimum(place.astype(np.int64), size - 2)
    weights = np.zeros((len(motion), size, size), np.float32)
    pair, target = np.indices(place.shape)
    weights[pair, target, before] = 1 - (place - before)
    weights[pair, target, before + 1] += place - before
    return weights


def as_numbers(hashes: Sequence[str]) -> np.ndarray:
    """uint64[N] of hex digits; 0, which matches nothing, for those that are empty."""
    return np.array([int(digits, 16) if digits else 0 for digits in hashes], np.uint64)
