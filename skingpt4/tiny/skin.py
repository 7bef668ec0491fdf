"""Bare skin, the light on it and the camera: everything of a photograph but the lesions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from skingpt4.tiny.shapes import Layout
from skingpt4.tiny.textures import SIZE_PX, Float, cells, crop, place, random_noise

# Fitzpatrick's six types, sRGB 0-1.
SKIN_TONES: tuple[tuple[float, float, float], ...] = (
    (0.945, 0.820, 0.745),
    (0.890, 0.725, 0.615),
    (0.800, 0.615, 0.480),
    (0.670, 0.475, 0.345),
    (0.500, 0.330, 0.235),
    (0.335, 0.220, 0.165),
)
_RAMP = np.linspace(-1, 1, SIZE_PX, dtype=np.float32)


def colour(red: float, green: float, blue: float) -> Float:
    """One colour, float[3], 0-1."""
    return np.array((red, green, blue), np.float32)


@dataclass
class Canvas:
    """A photograph being drawn: rgb float[3, S, S] 0-1, height float[S, S] in px above the skin, gloss float[S, S]
    0-1.
    """

    rgb: Float
    height: Float
    gloss: Float
    base: Float  # colour of the bare skin, float[3]
    layout: Layout
    rng: np.random.Generator
    body: Float  # where any lesion lies, float[S, S] 0-1
    spots: list[tuple[float, float, float]] = field(default_factory=list)  # y, x, radius of each lesion
    masks: dict[str, Float] = field(default_factory=dict)  # concept -> where it shows, float[S, S] 0-1

    def tint(self, where: Float, target: Float, strength: float = 1.0) -> None:
        """Mix the colour `target` (float[3] or float[3, S, S]) in at `where` (float[S, S] 0-1)."""
        wanted = target[:, None, None] if target.ndim == 1 else target
        self.rgb += (where * strength)[None] * (wanted - self.rgb)

    def mark(self, concept: str, where: Float) -> None:
        """Note that `concept` shows at `where`."""
        self.masks[concept] = np.maximum(self.masks[concept], where) if concept in self.masks else where

    @property
    def lightness(self) -> float:
        """0 for the darkest skin, 1 for the lightest."""
        return float(np.clip((self.base.mean() - 0.24) / 0.6, 0, 1))


def bare_skin(base: Float, layout: Layout, rng: np.random.Generator) -> Canvas:
    """Skin of one colour with mottling, pores and the fine net of skin lines."""
    lines = np.clip(crop(cells(5.0)[1], place(rng)) * 0.55, 0, 1)
    relief = 0.32 * lines + 0.10 * random_noise(1.2, rng) + 0.5 * random_noise(14.0, rng)
    mottle = 0.020 * random_noise(11.0, rng) + 0.013 * random_noise(3.0, rng)
    rgb = base[:, None, None] * (1 + mottle + 0.022 * (lines - 0.6))[None]
    flush = 0.012 * random_noise(18.0, rng)  # blood under the skin: redder here, paler there
    rgb[0] *= 1 + 0.5 * flush
    rgb[1:] *= 1 - flush
    zero = np.zeros((SIZE_PX, SIZE_PX), np.float32)
    return Canvas(rgb.astype(np.float32), relief.astype(np.float32), zero, base, layout, rng, zero.copy())


def strokes(lines: list[list[tuple[float, float]]], width_px: float) -> Float:
    """Polylines of (x, y) points with smooth edges, float[S, S] 0-1."""
    scale = 3
    sheet = Image.new("L", (SIZE_PX * scale, SIZE_PX * scale))
    pen = ImageDraw.Draw(sheet)
    for line in lines:
        pen.line(
            [(x * scale, y * scale) for x, y in line], fill=255, width=max(1, round(width_px * scale)), joint="curve"
        )
    return np.asarray(sheet.reduce(scale), np.float32) / np.float32(255)


def draw_hair(canvas: Canvas) -> None:
    """A few body hairs, curved, roughly in one direction."""
    rng = canvas.rng
    towards = rng.uniform(0, 2 * np.pi)
    hairs = []
    for _ in range(int(rng.integers(5, 13))):
        x, y = rng.uniform(-5, SIZE_PX + 5, 2)
        angle, bend = towards + rng.normal(0, 0.35), rng.normal(0, 0.05)
        hair = []
        for _ in range(int(rng.integers(6, 13))):
            hair.append((float(x), float(y)))
            x, y, angle = x + 3 * np.cos(angle), y + 3 * np.sin(angle), angle + bend
        hairs.append(hair)
    dark = colour(0.16, 0.11, 0.08) * (0.45 + 0.55 * canvas.lightness)
    where = strokes(hairs, 0.7)
    canvas.tint(where, dark, 0.8)
    canvas.height += 0.25 * where


def photograph(canvas: Canvas) -> np.ndarray:
    """Light, lens and sensor: uint8[S, S, 3]."""
    rng = canvas.rng
    angle = rng.uniform(np.pi * 1.1, np.pi * 1.9)  # the light comes from above
    slope = np.zeros_like(canvas.height)
    slope[:, 1:] += np.cos(angle) * (canvas.height[:, 1:] - canvas.height[:, :-1])
    slope[1:] += np.sin(angle) * (canvas.height[1:] - canvas.height[:-1])
    # A slope that rises away from the light is lit less; both ends saturate as in a soft-box photograph.
    lit = 1 + 0.30 * np.tanh(-0.9 * slope)
    fall = rng.uniform(0, 0.10) * (np.cos(angle) * _RAMP[None, :] + np.sin(angle) * _RAMP[:, None])
    vignette = 1 - rng.uniform(0, 0.10) * (_RAMP[None, :] ** 2 + _RAMP[:, None] ** 2)
    shine = canvas.gloss * np.clip(-slope - 0.22, 0, 0.8)
    rgb = canvas.rgb * (lit * (vignette + fall) * rng.uniform(0.92, 1.06))[None]
    rgb += 0.75 * shine[None]
    rgb *= (1 + rng.normal(0, 0.015, 3)).astype(np.float32)[:, None, None]  # white balance
    grain = rng.standard_normal((SIZE_PX, SIZE_PX), np.float32) * rng.uniform(0.003, 0.016)
    rgb += grain[None]
    image = Image.fromarray((np.clip(rgb, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0).copy())
    blur_px = rng.uniform(0, 0.65)
    if blur_px > 0.2:
        image = image.filter(ImageFilter.GaussianBlur(blur_px))
    return np.asarray(image)
