"""What lies on lesions or runs through the skin: scale, crust, ulcers, warts, vessels, bleeding, dryness."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from skingpt4.tiny.lesions import diffuse_area, flesh
from skingpt4.tiny.shapes import ragged_lesions
from skingpt4.tiny.skin import Canvas, colour, strokes
from skingpt4.tiny.textures import SIZE_PX, Float, cells, crop, place, random_noise

PURPURA, WARTY = "Purpura/Petechiae", "Warty/Papillomatous"
# In the order of drawing: what would hide another comes first.
SURFACES = (WARTY, "Umbilicated", PURPURA, "Telangiectasia", "Scale", "Crust", "Ulcer", "Xerosis")


def draw_surface(canvas: Canvas, concept: str) -> None:
    """Add one of `SURFACES` to the lesions drawn so far (or to an area of bare skin where there are none)."""
    if not canvas.spots:
        center = canvas.layout.points(1, 20.0)[0]
        canvas.spots.append((*center, 20.0))
    {
        WARTY: _warty,
        "Umbilicated": _umbilicated,
        "Ulcer": _ulcer,
        PURPURA: _purpura,
        "Telangiectasia": _telangiectasia,
        "Crust": _crust,
        "Scale": _scale,
        "Xerosis": _xerosis,
    }[concept](canvas)


def _carrier(canvas: Canvas) -> Float:
    """Where a surface change sits, float[S, S] 0-1."""
    if canvas.body.any():
        return canvas.body
    return np.clip(diffuse_area(canvas, 21.0).coverage * 1.6 - 0.3, 0, 1)


def _near(canvas: Canvas, most: int) -> list[tuple[float, float, float]]:
    order = canvas.rng.permutation(len(canvas.spots))[:most]
    return [canvas.spots[int(index)] for index in order]


def _scale(canvas: Canvas) -> None:
    rng = canvas.rng
    at = place(rng)
    dome, gap, lot = (crop(texture, at) for texture in cells(4.2))
    kept = np.clip((lot < rng.uniform(0.6, 0.75)) * (gap > 0.7) * (0.6 + 0.4 * dome), 0, 1)
    patchy = np.clip(0.85 + 0.4 * random_noise(6.0, rng), 0, 1)
    carrier = _grown(_carrier(canvas))
    flakes = kept * patchy * carrier
    dust = 0.22 * carrier * patchy
    shadow = np.clip(np.roll(flakes, (1, 1), (0, 1)) - flakes, 0, 1) * carrier
    canvas.tint(shadow, flesh(canvas, 0.1) * 0.5, 0.45)
    white = colour(0.97, 0.955, 0.93) * (0.86 + 0.14 * canvas.lightness)
    canvas.tint(dust, white)
    canvas.tint(flakes, white, 0.88)
    canvas.height += 1.3 * flakes
    canvas.mark("Scale", carrier)


def _grown(where: Float) -> Float:
    """Two pixels wider: flakes stick out over the edge, and show on small spots too."""
    grey = Image.fromarray((where * 255).astype(np.uint8)).filter(ImageFilter.MaxFilter(5))
    widened: Float = np.asarray(grey, np.float32) / np.float32(255)
    return widened


def _crust(canvas: Canvas) -> None:
    rng = canvas.rng
    spots = _near(canvas, 5)
    radius = float(np.clip(spots[0][2] * 0.72, 4.2, 12.0))
    outline = ragged_lesions([(y, x) for y, x, _ in spots], radius, rng, soft_px=1.3, ragged_px=min(3.0, radius * 0.3))
    at = place(rng)
    dome, gap, lot = (crop(texture, at) for texture in cells(6.0))
    covered = outline.coverage
    honey, dried = colour(0.80, 0.55, 0.17), colour(0.42, 0.22, 0.09)
    shade = np.clip(0.5 + 0.5 * (lot - 0.5) + 0.3 * random_noise(3.0, rng), 0, 1)
    mixed = honey[:, None, None] * (1 - shade)[None] + dried[:, None, None] * shade[None]
    canvas.tint(covered, mixed * (0.78 + 0.22 * canvas.lightness), 0.94)
    canvas.tint(covered * np.clip(1 - gap, 0, 1), dried * 0.5, 0.7)  # cracks between the clods
    canvas.height += covered * (1.6 + 2.2 * dome)
    canvas.gloss += 0.35 * covered
    canvas.mark("Crust", covered)


def _ulcer(canvas: Canvas) -> None:
    rng = canvas.rng
    spots = _near(canvas, 2 if canvas.spots[0][2] < 16 else 1)
    radius = float(np.clip(spots[0][2] * 0.55, 6.0, 12.0))
    outline = ragged_lesions([(y, x) for y, x, _ in spots], radius, rng, soft_px=1.5, ragged_px=1.6)
    crater = outline.coverage
    rim = np.clip(1 - np.abs(outline.depth + 1.8) / 3.2, 0, 1)
    canvas.tint(rim, flesh(canvas, 0.35) * 0.9, 0.6)
    canvas.height += 2.6 * rim
    floor = colour(0.42, 0.05, 0.06)
    canvas.tint(crater, floor * (0.8 + 0.2 * canvas.lightness), 0.95)
    slough = np.clip(random_noise(2.6, rng) * 0.9 - 0.15, 0, 1) * np.clip(outline.depth / 4, 0, 1) * crater
    canvas.tint(slough, colour(0.86, 0.74, 0.46), 0.75)
    canvas.height -= 4.5 * np.clip(outline.depth / 5, 0, 1) * crater
    canvas.height += 0.6 * random_noise(1.6, rng) * crater
    canvas.gloss += 0.9 * crater
    canvas.mark("Ulcer", np.clip(crater + 0.6 * rim, 0, 1))
    np.maximum(canvas.body, crater, out=canvas.body)


def _warty(canvas: Canvas) -> None:
    rng = canvas.rng
    carrier = _carrier(canvas)
    at = place(rng)
    dome, gap, lot = (crop(texture, at) for texture in cells(4.6))
    canvas.height += (1.2 + 3.0 * dome * (0.6 + 0.6 * lot)) * carrier
    canvas.tint(
        carrier * np.clip(1.1 - gap / 1.4, 0, 1), flesh(canvas, 0.1) * 0.38, 0.75
    )  # dark clefts of a cauliflower
    canvas.tint(carrier * np.clip(dome - 0.55, 0, 1), np.clip(canvas.base * 0.6 + 0.38, 0, 1), 0.75)
    canvas.mark("Warty/Papillomatous", carrier)


def _umbilicated(canvas: Canvas) -> None:
    where = np.zeros((SIZE_PX, SIZE_PX), np.float32)
    y, x = np.mgrid[0:SIZE_PX, 0:SIZE_PX].astype(np.float32)
    for cy, cx, radius in canvas.spots[:14]:
        reach = max(1.9, 0.40 * min(radius, 14))
        where = np.maximum(where, np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / reach**2))
    canvas.height -= 4.0 * where
    ring = np.clip(where * 2.2, 0, 1) * np.clip(1.4 - where * 2.2, 0, 1)
    canvas.tint(ring, np.clip(canvas.base * 0.6 + 0.4, 0, 1), 0.65)
    canvas.tint(np.clip(where * 1.6 - 0.55, 0, 1), flesh(canvas, 0.25) * 0.30, 0.95)
    canvas.mark("Umbilicated", np.clip(where * 1.5, 0, 1))


def _purpura(canvas: Canvas) -> None:
    rng = canvas.rng
    y, x = np.mgrid[0:SIZE_PX, 0:SIZE_PX].astype(np.float32)
    dots = np.zeros((SIZE_PX, SIZE_PX), np.float32)
    center, spread = canvas.layout.center, 24.0
    for _ in range(int(rng.integers(26, 48))):
        if canvas.layout.arrangement == "scattered":
            cy, cx = rng.uniform(4, SIZE_PX - 4, 2)
        else:
            cy, cx = center + rng.normal(0, spread * 0.62, 2)
        radius = rng.uniform(0.9, 1.9)
        rows = slice(max(0, int(cy) - 4), max(0, int(cy) + 5))
        columns = slice(max(0, int(cx) - 4), max(0, int(cx) + 5))
        off = np.hypot(y[rows, columns] - cy, x[rows, columns] - cx)
        np.maximum(dots[rows, columns], np.clip(radius - off + 0.5, 0, 1), out=dots[rows, columns])
    blood = colour(0.50, 0.05, 0.20) * (0.55 + 0.45 * canvas.lightness)
    canvas.tint(dots, blood, 0.88)
    canvas.mark(PURPURA, dots)


def _telangiectasia(canvas: Canvas) -> None:
    rng = canvas.rng
    lines: list[list[tuple[float, float]]] = []
    spots = _near(canvas, 4)
    for _ in range(int(rng.integers(7, 11))):
        cy, cx, radius = spots[int(rng.integers(len(spots)))]
        angle = rng.uniform(0, 2 * np.pi)
        start = rng.uniform(0.0, 0.6) * max(radius, 6)
        y, x = cy + start * np.sin(angle), cx + start * np.cos(angle)
        lines += _vessel(y, x, angle, int(rng.integers(9, 15)), rng)
    where = strokes(lines, 1.0)
    canvas.tint(where, colour(0.78, 0.05, 0.11) * (0.72 + 0.28 * canvas.lightness), 0.9)
    canvas.mark("Telangiectasia", np.clip(where * 1.5, 0, 1))


def _vessel(y: float, x: float, angle: float, steps: int, rng: np.random.Generator) -> list[list[tuple[float, float]]]:
    line, branches = [(x, y)], []
    for step in range(steps):
        angle += rng.normal(0, 0.42)
        x, y = x + 2.3 * np.cos(angle), y + 2.3 * np.sin(angle)
        line.append((x, y))
        if step > 2 and rng.random() < 0.16 and steps > 6:
            branches += _vessel(y, x, angle + rng.choice((-0.8, 0.8)), steps // 2, rng)
    return [line, *branches]


def _xerosis(canvas: Canvas) -> None:
    rng = canvas.rng
    gap = crop(cells(12.0)[1], place(rng)) + 0.8 * random_noise(2.2, rng) + 0.7 * random_noise(6.0, rng)
    uneven = np.clip(0.7 + 0.5 * random_noise(13.0, rng), 0.1, 1)
    crack = np.clip(1.3 - np.abs(gap) * 0.9, 0, 1) * uneven
    edge = np.clip(1 - np.abs(gap - 2.2) / 1.1, 0, 1) * uneven  # the curled, whitish edge beside each crack
    calm = 1 - 0.7 * canvas.body
    canvas.tint(edge * calm, np.clip(canvas.base * 0.55 + 0.42, 0, 1), 0.55)
    canvas.tint(crack * calm, flesh(canvas, 0.15) * 0.58, 0.6)
    canvas.height += (0.8 * edge - 1.1 * crack) * calm
    canvas.mark("Xerosis", calm * uneven)
