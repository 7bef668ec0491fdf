"""A small run on disk: photographs, a table, and the YAML file that trains on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from PIL import Image

from skingpt4.settings import Settings, SourceSettings

ANSWERS = ("eczema", "psoriasis", "acne")


def write_table(folder: Path, count: int = 12) -> Path:
    """`count` photographs, each with the colour of its disease, and the JSONL that names them."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    lines = []
    for number in range(count):
        disease = number % len(ANSWERS)
        pixels = draw.integers(0, 60, (40, 50, 3), dtype=np.uint8)
        pixels[..., disease] += 150
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append(
            {"image": f"{number}.png", "disease": ANSWERS[disease], "notes": "Keep it dry." if number % 2 else ""}
        )
    table = folder / "pairs.jsonl"
    table.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return table


def write_yaml(settings: Settings, folder: Path, **run: object) -> Path:
    """Settings of a short run over `write_table`'s photographs, as a YAML file."""
    settings.data.train = [SourceSettings(source="table", path=str(write_table(folder / "data")))]
    settings.data.random_crop = False
    values = OmegaConf.to_container(OmegaConf.structured(settings))
    assert isinstance(values, dict)
    values["run"] |= {
        "init_lr": 0.02,
        "min_lr": 0.001,
        "batch_size_train": 4,
        "max_epoch": 3,
        "log_every_steps": 1,
        **run,
    }
    path = folder / "run.yaml"
    OmegaConf.save(OmegaConf.create(values), path)
    return path
