"""Draws small synthetic photographs of skin: deterministic, 112 x 112, a few milliseconds each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from skingpt4.tiny.diseases import DISEASES_BY_NAME
from skingpt4.tiny.lesions import COLOURS, LARGE, SMALL, diffuse_area, draw_lesions, halo, outline_of, paint_colours
from skingpt4.tiny.shapes import Layout, Outline
from skingpt4.tiny.skin import SKIN_TONES, Canvas, bare_skin, draw_hair, photograph
from skingpt4.tiny.surface import SURFACES, WARTY, draw_surface
from skingpt4.tiny.textures import SIZE_PX, Float
from skingpt4.vocabulary import CONCEPTS

__all__ = [
    "ARRANGEMENTS", "COUNTS", "DRAWABLE", "SIZE_PX", "Description", "Rendering", "description_for_concepts",
    "disease_description", "patch_coverage", "random_description", "render", "undrawable",
]  # fmt: skip

ARRANGEMENTS: tuple[str, ...] = ("single", "grouped", "scattered", "in a line", "ring")
COUNTS: tuple[str, ...] = ("one", "few", "many")
# The 24 concepts with a picture of their own, in SKINCON's order.
DRAWABLE: tuple[str, ...] = tuple(name for name in CONCEPTS if name in {*LARGE, *SMALL, *COLOURS, *SURFACES})
# What would not show beside the first: a rough surface covers small lesions, the plug of a comedo fills its dent.
# Random combinations leave these out.
_HIDDEN_BY: dict[str, tuple[str, ...]] = {
    WARTY: (*SMALL, "Scale", "Umbilicated"),
    "Comedo": ("Umbilicated",),
}


@dataclass(frozen=True)
class Description:
    """What a photograph shows.

    concepts: SKINCON names, in SKINCON's order; those outside `DRAWABLE` are kept and not drawn. skin_tone:
    Fitzpatrick 1-6, or 0 for a backdrop that is no skin (only used in pre-training).
    """

    concepts: tuple[str, ...]
    arrangement: str = "single"
    count: str = "one"
    skin_tone: int = 3
    hair: bool = False
    disease: str | None = None


@dataclass(frozen=True)
class Rendering:
    """image: uint8[S, S, 3], RGB. masks: drawn concept -> float[S, S], 0-1, where it shows."""

    image: np.ndarray
    description: Description
    masks: Mapping[str, Float]


def undrawable(concepts: Iterable[str]) -> tuple[str, ...]:
    """The concepts among these that the renderer has no picture for."""
    return tuple(name for name in concepts if name not in DRAWABLE)


def render(description: Description, rng: np.random.Generator) -> Rendering:
    """Draw a photograph; the same description and generator state give the same pixels."""
    unknown = [name for name in description.concepts if name not in CONCEPTS]
    if unknown:
        raise ValueError(f"not SKINCON concepts: {', '.join(unknown)} (the names are in skingpt4.vocabulary.CONCEPTS)")
    canvas = bare_skin(_skin_colour(description.skin_tone, rng), Layout(description.arrangement, rng), rng)
    _draw_concepts(canvas, [name for name in description.concepts if name in DRAWABLE], description.count)
    if description.hair:
        draw_hair(canvas)
    return Rendering(photograph(canvas), description, canvas.masks)


def _skin_colour(tone: int, rng: np.random.Generator) -> Float:
    if tone == 0:
        return rng.uniform(0.25, 0.9, 3).astype(np.float32)
    base = np.array(SKIN_TONES[tone - 1]) * rng.normal(1.0, 0.025) * rng.normal(1.0, 0.012, 3)
    return np.clip(base, 0.08, 0.98).astype(np.float32)


def _draw_concepts(canvas: Canvas, names: list[str], count: str) -> None:
    kinds = [kind for kind in (*LARGE, *SMALL) if kind in names]
    colours = [name for name in COLOURS if name in names]
    # Redness beside another colour is a red surround; alone it is the colour of the lesion.
    pigments = [name for name in colours if name != "Erythema"] or colours
    surround = "Erythema" in colours and pigments != ["Erythema"]
    outlines: list[tuple[str, Outline]] = []
    for index, kind in enumerate(kinds):
        outlines.append((kind, outline_of(canvas, kind, count if index == 0 else _secondary_count(kind, count))))
    solid = any(kind in ("Patch", "Plaque", "Wheal", "Nodule", "Macule", "Papule") for kind in kinds)
    if surround or (colours and kinds and not solid):
        _red_surround(canvas, outlines, ["Erythema"] if surround else pigments)
    if not kinds and colours:
        _colour_area(canvas, pigments)
    for index, (kind, outline) in enumerate(outlines):
        own = kind in ("Vesicle", "Bulla", "Pustule", "Comedo")
        takes = pigments if not own or (index == 0 and not solid and pigments != ["Erythema"]) else []
        draw_lesions(canvas, kind, outline, takes)
    for name in SURFACES:
        if name in names:
            draw_surface(canvas, name)


def _secondary_count(kind: str, count: str) -> str:
    return "many" if kind in SMALL or count == "many" else count


def _colour_area(canvas: Canvas, pigments: list[str]) -> None:
    """Colour without any named lesion: a diffuse area."""
    area = diffuse_area(canvas)
    paint_colours(canvas, area.coverage, pigments, 0.82)
    canvas.spots.append((float(canvas.layout.center[0]), float(canvas.layout.center[1]), 22.0))


def _red_surround(canvas: Canvas, outlines: list[tuple[str, Outline]], names: list[str]) -> None:
    if outlines:
        around = np.maximum.reduce(
            [halo(canvas, outline, 8.0 if kind in SMALL else 11.0) for kind, outline in outlines]
        )
    else:
        around = diffuse_area(canvas, 34.0).coverage
    paint_colours(canvas, around, names, 0.72)


def patch_coverage(masks: Mapping[str, Float], patch_px: int = 14) -> Float:
    """How much of each patch each drawable concept covers: float[P, P, 24], 0-1, `P` patches a side."""
    side = SIZE_PX // patch_px
    out = np.zeros((side, side, len(DRAWABLE)), np.float32)
    for name, mask in masks.items():
        out[..., DRAWABLE.index(name)] = mask.reshape(side, patch_px, side, patch_px).mean((1, 3))
    return out


def random_description(rng: np.random.Generator, off_skin: float = 0.0) -> Description:
    """A random combination of concepts; `off_skin` is the share on a backdrop that is no skin."""
    large = list(rng.permutation(LARGE))[: rng.choice(3, p=(0.42, 0.5, 0.08))]
    small = list(rng.permutation(SMALL))[: rng.choice(3, p=(0.45, 0.45, 0.10))]
    colours = list(rng.permutation(COLOURS))[: rng.choice(4, p=(0.12, 0.52, 0.30, 0.06))]
    surfaces = list(rng.permutation(SURFACES))[: rng.choice(4, p=(0.34, 0.42, 0.20, 0.04))]
    bare = not large and not small
    if bare and (not (colours or surfaces) or rng.random() < 0.4):  # colour or surface alone stays, now and then
        small.append(str(rng.choice(SMALL)))
    names = {str(name) for name in (*large, *small, *colours, *surfaces)}
    for cover, hidden in _HIDDEN_BY.items():
        names -= set(hidden) if cover in names else set()
    arrangement, count = _random_arrangement(rng, bool(large))
    tone = 0 if rng.random() < off_skin else int(rng.integers(1, 7))
    return Description(_ordered(names), arrangement, count, tone, bool(rng.random() < 0.25))


def disease_description(disease: str, rng: np.random.Generator) -> Description:
    """One case of a disease of `skingpt4.tiny.diseases`: its concepts, drawn from its rule."""
    rule = DISEASES_BY_NAME[disease]
    names = set(rule.always) | {name for name, share in rule.sometimes.items() if rng.random() < share}
    arrangement = str(rng.choice(rule.arrangements))
    count = "one" if arrangement == "single" else str(rng.choice(rule.counts))
    return Description(_ordered(names), arrangement, count, int(rng.integers(1, 7)), bool(rng.random() < 0.25), disease)


def description_for_concepts(concepts: Iterable[str], rng: np.random.Generator) -> Description:
    """A stand-in for any set of SKINCON concepts; see `undrawable` for those that will not show."""
    names = set(concepts)
    arrangement, count = _random_arrangement(rng, any(name in LARGE for name in names))
    return Description(_ordered(names), arrangement, count, int(rng.integers(1, 7)), bool(rng.random() < 0.25))


def _random_arrangement(rng: np.random.Generator, large: bool) -> tuple[str, str]:
    if large:
        arrangement = str(rng.choice(ARRANGEMENTS, p=(0.40, 0.17, 0.17, 0.11, 0.15)))
        count = "few" if rng.random() < 0.75 else "many"
    else:
        arrangement = str(rng.choice(ARRANGEMENTS, p=(0.14, 0.24, 0.26, 0.18, 0.18)))
        count = "few" if rng.random() < 0.3 else "many"
    return arrangement, "one" if arrangement == "single" else count


def _ordered(names: Iterable[str]) -> tuple[str, ...]:
    wanted = set(names)
    return tuple(name for name in CONCEPTS if name in wanted)
