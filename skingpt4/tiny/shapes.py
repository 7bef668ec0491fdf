"""Where lesions lie and what outline they have."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from skingpt4.tiny.textures import SIZE_PX, Float, random_noise

_Y, _X = np.mgrid[0:SIZE_PX, 0:SIZE_PX].astype(np.float32)
_MARGIN_PX = 9.0


@dataclass
class Layout:
    """One arrangement on the photograph: a centre, a direction and a spread shared by all lesions drawn on it."""

    arrangement: str
    rng: np.random.Generator
    taken: list[tuple[float, float, float]] = field(default_factory=list)  # y, x, radius of what lies there already

    def __post_init__(self) -> None:
        wander_px = {"single": 12, "grouped": 12, "scattered": 0, "in a line": 8, "ring": 4}[self.arrangement]
        self.center = SIZE_PX / 2 + self.rng.uniform(-wander_px, wander_px, 2)
        angle = self.rng.uniform(0, np.pi)
        self.direction = np.array([np.sin(angle), np.cos(angle)])
        self.ring_px = self.rng.uniform(25, 36)

    def points(self, count: int, radius_px: float) -> list[tuple[float, float]]:
        """Up to `count` centres (y, x) for lesions of this radius that hardly overlap."""
        found: list[tuple[float, float]] = []
        for index in range(count):
            for attempt in range(12):
                y, x = self._draw(index, count, radius_px)
                room = 0.85 if attempt < 8 else 0.55
                if all(np.hypot(y - ty, x - tx) > room * (radius_px + tr) for ty, tx, tr in self.taken):
                    found.append((y, x))
                    self.taken.append((y, x, radius_px))
                    break
        return found or [(float(self.center[0]), float(self.center[1]))]

    def _draw(self, index: int, count: int, radius_px: float) -> tuple[float, float]:
        rng = self.rng
        if self.arrangement == "scattered":
            y, x = rng.uniform(_MARGIN_PX, SIZE_PX - _MARGIN_PX, 2)
        elif self.arrangement == "in a line":
            reach = 44.0
            along = -reach + 2 * reach * (index + 0.5) / count + rng.uniform(-1, 1) * reach / count * 0.5
            across = rng.normal(0, 1.5)
            y, x = self.center + along * self.direction + across * self.direction[::-1] * (1, -1)
        elif self.arrangement == "ring":
            turn = 2 * np.pi * (index + rng.uniform(-0.2, 0.2)) / max(count, 1)
            y, x = self.center + (self.ring_px + rng.normal(0, 1)) * np.array([np.sin(turn), np.cos(turn)])
        else:
            spread = radius_px * 1.15 * np.sqrt(count) + 2 if self.arrangement == "grouped" else 0.0
            if self.arrangement == "single" and count > 1:
                spread = 17.0  # small lesions upon and beside the one large lesion
            turn, far = rng.uniform(0, 2 * np.pi), spread * np.sqrt(rng.random())
            y, x = self.center + far * np.array([np.sin(turn), np.cos(turn)])
        bounded = np.clip((y, x), 4, SIZE_PX - 5)
        return float(bounded[0]), float(bounded[1])


@dataclass(frozen=True)
class Outline:
    """What one kind of lesion covers: coverage 0-1 with a soft edge, depth in px inside the edge, dome 0-1 (1 at each
    centre).
    """

    coverage: Float
    depth: Float
    dome: Float


def empty_outline() -> Outline:
    """An outline that covers nothing."""
    zero = np.zeros((SIZE_PX, SIZE_PX), np.float32)
    return Outline(zero, zero.copy() - SIZE_PX, zero.copy())


def round_lesions(
    centers: list[tuple[float, float]], radius_px: float, rng: np.random.Generator, soft_px: float = 1.0
) -> Outline:
    """Small round lesions, nearly of one size."""
    outline = empty_outline()
    for y, x in centers:
        radius = radius_px * rng.uniform(0.85, 1.18)
        reach = int(radius * 1.3 + 3)
        rows = slice(max(0, int(y) - reach), min(SIZE_PX, int(y) + reach + 1))
        columns = slice(max(0, int(x) - reach), min(SIZE_PX, int(x) + reach + 1))
        squeeze, shear = rng.uniform(0.85, 1.15), rng.uniform(-0.15, 0.15)
        dy = _Y[rows, columns] - y
        dx = (_X[rows, columns] - x) * squeeze + shear * dy
        distance = np.sqrt(dy * dy + dx * dx)
        _merge(outline, rows, columns, radius - distance, 1 - (distance / radius) ** 2, soft_px)
    return outline


def ragged_lesions(
    centers: list[tuple[float, float]], radius_px: float, rng: np.random.Generator, soft_px: float, ragged_px: float
) -> Outline:
    """Large lesions with an uneven border: each a stretched disc whose edge is pushed by noise."""
    outline = empty_outline()
    everywhere = slice(None)
    push = ragged_px * (0.75 * random_noise(9.0, rng) + 0.35 * random_noise(3.5, rng))
    for y, x in centers:
        radius = radius_px * rng.uniform(0.88, 1.12)
        angle, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.3)
        dy, dx = _Y - y, _X - x
        along = (np.cos(angle) * dx + np.sin(angle) * dy) / stretch
        across = (np.cos(angle) * dy - np.sin(angle) * dx) * stretch**0.5
        distance = np.sqrt(along * along + across * across)
        _merge(outline, everywhere, everywhere, radius - distance + push, 1 - (distance / radius) ** 2, soft_px)
    return outline


def annular_lesion(
    center: tuple[float, float],
    ring_px: float,
    width_px: float,
    rng: np.random.Generator,
    soft_px: float,
    ragged_px: float,
) -> Outline:
    """One lesion in the shape of a ring, clear in the middle."""
    outline = empty_outline()
    push = ragged_px * 0.6 * random_noise(8.0, rng)
    dy, dx = _Y - center[0], _X - center[1]
    turn = np.arctan2(dy, dx)
    wobble = 1 + 0.06 * np.cos(2 * turn + rng.uniform(0, 6)) + 0.05 * np.cos(3 * turn + rng.uniform(0, 6))
    off = np.abs(np.sqrt(dy * dy + dx * dx) - ring_px * wobble)
    everywhere = slice(None)
    _merge(outline, everywhere, everywhere, width_px / 2 - off + push, 1 - (2 * off / width_px) ** 2, soft_px)
    return outline


def _merge(outline: Outline, rows: slice, columns: slice, depth: Float, dome: Float, soft_px: float) -> None:
    coverage = np.clip(depth / soft_px + 0.5, 0, 1)
    np.maximum(outline.coverage[rows, columns], coverage, out=outline.coverage[rows, columns])
    np.maximum(outline.depth[rows, columns], depth, out=outline.depth[rows, columns])
    np.maximum(outline.dome[rows, columns], np.clip(dome, 0, 1) * (coverage > 0), out=outline.dome[rows, columns])
