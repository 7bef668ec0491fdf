"""What a layman sees in a photograph: the words of general pre-training, which knows no dermatology."""

from __future__ import annotations

import numpy as np

from skingpt4.tiny.renderer import ARRANGEMENTS, COUNTS, DRAWABLE, Description
from skingpt4.tiny.textures import Float

# One everyday phrase for each concept with a picture.
LAY_WORDS: dict[str, str] = {
    "Vesicle": "small blisters",
    "Papule": "small raised bumps",
    "Macule": "small flat spots",
    "Plaque": "a raised slab",
    "Pustule": "heads of pus",
    "Bulla": "big blisters",
    "Patch": "a large flat area",
    "Nodule": "a round lump",
    "Ulcer": "an open sore",
    "Crust": "dried scabs",
    "Purpura/Petechiae": "tiny blood dots",
    "Xerosis": "dry cracked skin",
    "Telangiectasia": "thin red lines",
    "Scale": "white flakes",
    "Warty/Papillomatous": "a rough surface like cauliflower",
    "Brown(Hyperpigmentation)": "brown",
    "White(Hypopigmentation)": "white",
    "Purple": "purple",
    "Yellow": "yellow",
    "Black": "black",
    "Erythema": "red",
    "Comedo": "clogged pores",
    "Umbilicated": "a dent in the middle",
    "Wheal": "puffy swellings",
}
COLOUR_CONCEPTS: tuple[str, ...] = tuple(name for name, words in LAY_WORDS.items() if " " not in words)

LAY_ARRANGEMENTS: dict[str, str] = {
    "single": "alone",
    "grouped": "in a cluster",
    "scattered": "spread around",
    "in a line": "in a row",
    "ring": "in a circle",
}
LAY_COUNTS: dict[str, str] = {"one": "just one", "few": "a few", "many": "lots"}
LAY_TONES: tuple[str, ...] = ("very pale skin", "pale skin", "tan skin", "olive skin", "dark skin", "very dark skin")
LAY_HAIR = "hairs"

ATTRIBUTES: tuple[str, ...] = (
    *(LAY_WORDS[name] for name in DRAWABLE),
    *(LAY_ARRANGEMENTS[name] for name in ARRANGEMENTS),
    *(LAY_COUNTS[name] for name in COUNTS),
    *LAY_TONES,
    LAY_HAIR,
)


def attribute_labels(description: Description) -> Float:
    """Which of `ATTRIBUTES` a photograph has: float[39], 0 or 1."""
    present = {LAY_WORDS[name] for name in description.concepts if name in LAY_WORDS}
    present |= {LAY_ARRANGEMENTS[description.arrangement], LAY_COUNTS[description.count]}
    if description.skin_tone:
        present.add(LAY_TONES[description.skin_tone - 1])
    if description.hair:
        present.add(LAY_HAIR)
    return np.array([name in present for name in ATTRIBUTES], np.float32)
