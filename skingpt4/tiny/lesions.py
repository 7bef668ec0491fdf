"""The primary lesions: what a dermatologist names first (papule, plaque, vesicle ...), each with its outline, relief
and colour.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from skingpt4.tiny.shapes import Outline, annular_lesion, ragged_lesions, round_lesions
from skingpt4.tiny.skin import Canvas, colour
from skingpt4.tiny.textures import SIZE_PX, Float, random_noise

BROWN, WHITE = "Brown(Hyperpigmentation)", "White(Hypopigmentation)"
LARGE = ("Patch", "Plaque", "Wheal", "Nodule", "Bulla")
SMALL = ("Macule", "Papule", "Vesicle", "Pustule", "Comedo")
COLOURS = ("Erythema", BROWN, WHITE, "Purple", "Yellow", "Black")

# Colour on the lightest skin and on the darkest.
_PIGMENT: dict[str, tuple[Float, Float]] = {
    "Erythema": (colour(0.80, 0.27, 0.26), colour(0.52, 0.12, 0.13)),
    BROWN: (colour(0.45, 0.27, 0.15), colour(0.17, 0.09, 0.05)),
    WHITE: (colour(0.99, 0.96, 0.93), colour(0.84, 0.77, 0.72)),
    "Purple": (colour(0.53, 0.29, 0.53), colour(0.37, 0.16, 0.43)),
    "Yellow": (colour(0.93, 0.79, 0.38), colour(0.78, 0.62, 0.24)),
    "Black": (colour(0.12, 0.10, 0.11), colour(0.05, 0.04, 0.05)),
}
# Radius in px when there is one lesion, a few, many.
_RADIUS_PX: dict[str, tuple[float, float, float]] = {
    "Patch": (27, 16, 11),
    "Plaque": (25, 15, 11),
    "Wheal": (21, 13, 10),
    "Nodule": (15, 12, 9),
    "Bulla": (15, 11, 8.5),
    "Macule": (8.0, 6.4, 5.0),
    "Papule": (8.0, 6.4, 5.2),
    "Vesicle": (7.0, 5.8, 4.8),
    "Pustule": (7.0, 5.8, 4.8),
    "Comedo": (4.4, 3.8, 3.2),
}


def pigment(canvas: Canvas, name: str) -> Float:
    """The colour of a colour concept on this skin, float[3] 0-1."""
    light, dark = _PIGMENT[name]
    return dark + canvas.lightness * (light - dark)


def flesh(canvas: Canvas, redder: float = 0.0) -> Float:
    """The skin's own colour, a little redder."""
    return np.clip(canvas.base * np.array((1 + 0.3 * redder, 1 - redder, 1 - redder), np.float32), 0, 1)


def diffuse_area(canvas: Canvas, radius_px: float = 27.0) -> Outline:
    """An area of skin without an edge of its own: where there is only redness, scale, crust ... and no named lesion."""
    center = [(float(canvas.layout.center[0]), float(canvas.layout.center[1]))]
    return ragged_lesions(center, radius_px, canvas.rng, soft_px=14.0, ragged_px=4.0)


def paint_colours(canvas: Canvas, where: Float, names: list[str], strength: float = 0.85) -> None:
    """Colour `where` with one pigment, or with several side by side in blotches, and mark them."""
    if len(names) == 1:
        parts = [np.ones_like(where)]
    else:
        blotch = random_noise(8.0, canvas.rng) + 0.35 * random_noise(2.5, canvas.rng)
        cuts = (
            [-9.0, *np.quantile(blotch[where > 0.5], np.linspace(0, 1, len(names) + 1)[1:-1])]
            if (where > 0.5).any()
            else [-9.0]
        )
        cuts = [*cuts, 9.0]
        parts = [
            np.clip((blotch - low) * 2 + 0.5, 0, 1) * np.clip((high - blotch) * 2 + 0.5, 0, 1)
            for low, high in pairwise(cuts)
        ]
    uneven = 1 + 0.09 * random_noise(4.0, canvas.rng)
    for name, part in zip(names, parts, strict=False):
        shown = where * part
        canvas.tint(shown, pigment(canvas, name)[:, None, None] * uneven[None], strength)
        canvas.mark(name, shown)


def outline_of(canvas: Canvas, kind: str, size: str) -> Outline:
    """Lay the lesions of one kind out; `size` is `one`, `few` or `many`."""
    rng, layout = canvas.rng, canvas.layout
    step = ("one", "few", "many").index(size)
    radius = _RADIUS_PX[kind][step] * rng.uniform(0.88, 1.15)
    count = (1, int(rng.integers(2, 5)), int(rng.integers(6, 10)))[step]
    if kind in SMALL and step == 2:
        count = int(rng.integers(7, 14))
    if kind in ("Patch", "Plaque", "Wheal") and layout.arrangement == "ring":
        width = radius * (1.0, 0.9, 0.9)[step]
        center = (float(layout.center[0]), float(layout.center[1]))
        for turn in np.arange(0, 2 * np.pi, np.pi / 3):
            y, x = layout.center + layout.ring_px * np.array((np.sin(turn), np.cos(turn)))
            canvas.spots.append((float(y), float(x), width / 2))
        return annular_lesion(center, layout.ring_px, min(width, 17.0), rng, 5.0 if kind == "Patch" else 2.0, 3.0)
    hosts = [spot for spot in canvas.spots if spot[2] > 1.6 * radius] if kind in SMALL else []
    centers = _upon(hosts, radius, rng) if hosts else layout.points(count, radius)
    canvas.spots += [(y, x, radius) for y, x in centers]
    if kind in ("Nodule", "Bulla") or kind in SMALL:
        return round_lesions(centers, radius, rng, soft_px=2.6 if kind == "Macule" else 1.4)
    edge = {"Patch": 8.0, "Plaque": 1.6, "Wheal": 2.0}[kind]
    return ragged_lesions(
        centers, radius, rng, edge, ragged_px={"Patch": 3.4, "Plaque": 2.4, "Wheal": 3.0}[kind] * (1.0, 0.8, 0.6)[step]
    )


def _upon(
    hosts: list[tuple[float, float, float]], radius_px: float, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Centres of four to nine small lesions upon (now and then beside) large ones."""
    centers: list[tuple[float, float]] = []
    wanted = int(rng.integers(4, 10))
    for _ in range(60):
        y, x, reach = hosts[int(rng.integers(len(hosts)))]
        turn, far = rng.uniform(0, 2 * np.pi), 1.05 * reach * np.sqrt(rng.random())
        y, x = (
            float(np.clip(y + far * np.sin(turn), 4, SIZE_PX - 5)),
            float(np.clip(x + far * np.cos(turn), 4, SIZE_PX - 5)),
        )
        if len(centers) < wanted and all(np.hypot(y - cy, x - cx) > 2.1 * radius_px for cy, cx in centers):
            centers.append((y, x))
    return centers


def halo(canvas: Canvas, outline: Outline, reach_px: float) -> Float:
    """Skin around lesions, fading over `reach_px`, float[S, S] 0-1 (1 under the lesions themselves)."""
    return np.clip(1 + outline.depth / reach_px, 0, 1) ** 1.5


def draw_lesions(canvas: Canvas, kind: str, outline: Outline, colours: list[str]) -> None:
    """Draw one kind of primary lesion. `colours`: the colour concepts its body takes; empty for the skin's own
    colour.
    """
    covered = outline.coverage
    if kind in ("Vesicle", "Bulla"):
        _blister(canvas, outline, colours, large=kind == "Bulla")
    elif kind == "Pustule":
        _pustule(canvas, outline, colours)
    elif kind == "Comedo":
        _comedo(canvas, outline, colours)
    elif kind == "Wheal":
        _wheal(canvas, outline, colours)
    else:
        _solid(canvas, kind, outline, colours)
    np.maximum(canvas.body, covered, out=canvas.body)
    canvas.mark(kind, covered)


def _solid(canvas: Canvas, kind: str, outline: Outline, colours: list[str]) -> None:
    flat = kind in ("Patch", "Macule")
    covered = outline.coverage
    upon = canvas.body.copy()
    if colours:
        paint_colours(canvas, covered, colours, 0.78 if flat else 0.84)
    else:
        canvas.tint(covered, flesh(canvas, 0.06) * (0.86 if flat else 0.95), 0.85)
    if kind == "Macule":  # a flat spot upon another lesion shows by its darker shade alone
        canvas.tint(covered * upon, canvas.base * 0.25, 0.62)
    if kind == "Plaque":  # a table: steep edge, flat and slightly pebbled top
        canvas.height += (
            3.4 * np.clip(outline.depth / 3.5, 0, 1) * covered + 0.35 * random_noise(2.2, canvas.rng) * covered
        )
        canvas.tint(covered * np.clip(1 - outline.depth / 3.0, 0, 1), flesh(canvas, 0.2) * 0.6, 0.55)
    elif not flat:
        high = 8.5 if kind == "Nodule" else 6.0
        canvas.height += high * outline.dome * covered
        canvas.gloss += (0.35 if kind == "Nodule" else 0.5) * covered
        canvas.tint(covered * (1 - outline.dome) ** 2, flesh(canvas, 0.25) * 0.62, 0.4)


def _wheal(canvas: Canvas, outline: Outline, colours: list[str]) -> None:
    covered = outline.coverage
    flare = halo(canvas, outline, 9.0) * (1 - covered)
    canvas.tint(flare, flesh(canvas, 0.30), 0.45)
    paler = np.clip(outline.depth / 8, 0, 1)
    if colours:
        paint_colours(canvas, covered, colours, 0.62)
    else:
        canvas.tint(covered, flesh(canvas, 0.22), 0.7)
    pale = np.clip(canvas.base * 1.12 + 0.05, 0, 1).astype(np.float32)
    canvas.tint((covered * paler).astype(np.float32), pale, 0.42)  # swollen and pale in the middle
    canvas.height += 3.6 * np.sqrt(np.clip(outline.depth / 9, 0, 1)) * covered
    canvas.gloss += 0.55 * covered


def _blister(canvas: Canvas, outline: Outline, colours: list[str], large: bool) -> None:
    covered, dome = outline.coverage, outline.dome
    rim = covered * np.clip(1 - np.abs(outline.depth - 1.2) / 1.5, 0, 1)
    clear = np.clip(canvas.base * 0.70 + colour(0.27, 0.25, 0.19), 0, 1)
    canvas.tint(covered, clear, 0.55)
    if large:  # light that crossed the fluid gathers at the far side
        far_side = np.clip(np.roll(outline.dome, (-4, -3), (0, 1)) - outline.dome, 0, 1) * covered
        canvas.tint(np.clip(far_side * 1.8, 0, 1), np.clip(clear * 1.15 + 0.1, 0, 1), 0.8)
    if colours:
        paint_colours(canvas, covered, colours, 0.5 if large else 0.45)
    canvas.tint(rim, flesh(canvas, 0.3) * 0.55, 0.6)
    canvas.height += (6.0 if large else 3.6) * np.sqrt(dome) * covered
    canvas.gloss += 1.0 * covered
    canvas.tint(np.clip((dome - 0.30) * 3, 0, 1) * covered, clear, 0.22)
    for y, x, radius in canvas.spots:  # the window mirrored in the fluid
        _glint(canvas, y - 0.36 * radius, x - 0.30 * radius, max(0.9, 0.17 * radius), covered)


def _glint(canvas: Canvas, y: float, x: float, radius_px: float, within: Float) -> None:
    reach = int(radius_px * 2 + 2)
    rows = slice(max(0, int(y) - reach), min(SIZE_PX, int(y) + reach + 1))
    columns = slice(max(0, int(x) - reach), min(SIZE_PX, int(x) + reach + 1))
    dy = np.arange(rows.start, max(rows.stop, rows.start), dtype=np.float32)[:, None] - y
    dx = np.arange(columns.start, max(columns.stop, columns.start), dtype=np.float32)[None, :] - x
    if dy.size and dx.size:
        bright = np.exp(-(dy * dy + dx * dx) / radius_px**2) * within[rows, columns] * 0.9
        canvas.rgb[:, rows, columns] += bright[None] * (1 - canvas.rgb[:, rows, columns])


def _pustule(canvas: Canvas, outline: Outline, colours: list[str]) -> None:
    covered = outline.coverage
    if colours:
        paint_colours(canvas, halo(canvas, outline, 3.0), colours, 0.7)
    else:
        canvas.tint(covered, flesh(canvas, 0.3), 0.8)
    head = np.clip((outline.dome - 0.25) * 3, 0, 1) * covered
    canvas.tint(head, colour(0.97, 0.93, 0.66) * (0.86 + 0.14 * canvas.lightness), 0.95)
    canvas.height += 3.8 * outline.dome * covered
    canvas.gloss += 0.7 * covered


def _comedo(canvas: Canvas, outline: Outline, colours: list[str]) -> None:
    covered = outline.coverage
    if colours:
        paint_colours(canvas, halo(canvas, outline, 3.5), colours, 0.55)
    canvas.tint(
        halo(canvas, outline, 2.0), np.clip(canvas.base * 1.08 + 0.05, 0, 1), 0.6
    )  # the stretched pore around the plug
    plug = np.clip((outline.dome - 0.15) * 4, 0, 1) * covered
    canvas.tint(plug, colour(0.10, 0.075, 0.06), 0.95)
    canvas.height += 1.2 * covered - 1.6 * plug
