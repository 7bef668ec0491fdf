"""Writes rendered photographs to disk as data sets for the real training path, and stand-ins for annotated
photographs.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from skingpt4.data.sources.skincon import read_annotations
from skingpt4.tiny.diseases import DISEASES, DISEASES_BY_NAME
from skingpt4.tiny.renderer import (
    Description,
    Rendering,
    description_for_concepts,
    disease_description,
    random_description,
    render,
    undrawable,
)
from skingpt4.tiny.wording import notes

_STREAM = 20_240  # keeps these photographs apart from those of pre-training, whatever the seeds


@dataclass(frozen=True)
class SetSize:
    """How many photographs of diseases and of random combinations a set has, whether with doctors' notes, and its
    seed.
    """

    diseases: int
    random: int
    notes: bool
    seed: int


# What `quickstart` trains and measures on.
SETS: dict[str, SetSize] = {
    "step1": SetSize(1000, 3000, False, 11),
    "step2": SetSize(600, 0, True, 12),
    "validation": SetSize(200, 0, True, 13),
    "test": SetSize(1000, 0, True, 14),
    "test_random": SetSize(0, 300, False, 15),
}


def draw_set(size: SetSize) -> Iterable[tuple[Rendering, str | None]]:
    """The photographs of a set with their notes, one by one, in a fixed random order; diseases in equal shares."""
    rng = np.random.default_rng([_STREAM, size.seed])
    kinds: list[str | None] = [DISEASES[index % len(DISEASES)].name for index in range(size.diseases)] + [
        None
    ] * size.random
    for index in rng.permutation(len(kinds)):
        disease = kinds[int(index)]
        description = disease_description(disease, rng) if disease else random_description(rng)
        note = None
        if disease and size.notes:
            note = notes(DISEASES_BY_NAME[disease], description.concepts, description.arrangement, rng)
        yield render(description, rng), note


def record(image: str, description: Description, note: str | None) -> dict[str, object]:
    """One line of `records.jsonl`; `disease`, `disease_class` and `notes` only where they apply."""
    line: dict[str, object] = {"image": image, "concepts": list(description.concepts)}
    if description.disease:
        line["disease"] = description.disease
        line["disease_class"] = DISEASES_BY_NAME[description.disease].disease_class
    if note:
        line["notes"] = note
    line["skin_tone"] = description.skin_tone
    return line


def write_dataset(directory: str | Path, size: SetSize, progress: bool = True) -> list[dict[str, object]]:
    """Write `images/000001.png` ... and `records.jsonl` into `directory`; returns the records."""
    folder = Path(directory)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    records = []
    total = size.diseases + size.random
    for number, (rendering, note) in enumerate(
        tqdm(draw_set(size), total=total, desc=folder.name, disable=not progress), 1
    ):
        name = f"images/{number:06d}.png"
        Image.fromarray(rendering.image).save(folder / name, compress_level=1)
        records.append(record(name, rendering.description, note))
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in records)
    (folder / "records.jsonl").write_text(text, encoding="utf-8")
    return records


def stand_in_images(rows: Iterable[tuple[str, Sequence[str]]], folder: str | Path, seed: int) -> dict[str, int]:
    """Draw a photograph for each (file name, SKINCON concepts), saved under that name in the format of its suffix.

    A row's picture depends on the seed and its name alone, not on the other rows. Returns how often each concept that
    has no picture was left out.
    """
    left_out: dict[str, int] = {}
    for name, concepts in rows:
        rng = np.random.default_rng([_STREAM, seed, zlib.crc32(name.encode())])
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(render(description_for_concepts(concepts, rng), rng).image)
        image.save(path, quality=95)  # PNG takes no notice of the quality
        for concept in undrawable(concepts):
            left_out[concept] = left_out.get(concept, 0) + 1
    return left_out


def draw_skincon_stand_ins(annotations: Path, folder: Path, seed: int) -> str:
    """Draw a stand-in for each row of a SKINCON file that training uses; says what was drawn and what has no picture.

    Raises `DataError` as `skingpt4.data.sources.skincon.read_annotations` does.
    """
    found = read_annotations(annotations)
    left_out = stand_in_images(tqdm(found.concepts, desc="stand-ins", mininterval=1), folder, seed)
    most = sorted(left_out.items(), key=lambda item: -item[1])
    words = ", ".join(f"{name} {count}" for name, count in most) or "none"
    return (
        f"Drew {len(found.concepts)} synthetic photographs into {folder} ({found.rows} rows, {found.flagged} flagged, "
        f"{found.without_concept} without a concept). They are not patients' photographs.\n"
        f"Concepts that have no picture, with their rows: {words}."
    )
