"""Small data sets of drawn photographs (112 x 112 px) with a manifest, and the damage that is done to copies."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from skingpt4.data.manifest import row_of, write_manifest
from skingpt4.data.records import Record
from skingpt4.tiny.renderer import random_description, render


@lru_cache
def drawn(seed: int) -> Image.Image:
    """A photograph that no other seed gives."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(render(random_description(rng), rng).image)


def jpeg(image: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def cropped(image: Image.Image, share: float) -> Image.Image:
    """Without `share` of the width at the left and of the height at the top."""
    return image.crop((round(image.width * share), round(image.height * share), image.width, image.height))


# What happens to pictures on their way through the web.
COPIES: dict[str, Callable[[Image.Image], Image.Image | bytes]] = {
    "saved again.jpg": lambda image: jpeg(image, 40),
    "half size.png": lambda image: image.resize((56, 56)),
    "twice the size.png": lambda image: image.resize((224, 224)),
    "brighter.png": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "cropped.png": lambda image: cropped(image, 0.03),
    "cropped, brighter, saved again.jpg": lambda image: jpeg(
        ImageEnhance.Brightness(cropped(image, 0.02)).enhance(1.1), 50
    ),
}


def write_set(folder: Path, pictures: Mapping[str, Image.Image | bytes], **columns: Sequence[Any]) -> Path:
    """Write pictures by name and a manifest over them (columns: one value per picture); returns the folder."""
    rows = []
    for number, (name, picture) in enumerate(pictures.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(picture, bytes):
            path.write_bytes(picture)
        else:
            picture.save(path)
        values = {column: values[number] for column, values in columns.items()}
        rows.append(row_of(Record(path, ("?",), ("!",)), name) | values)
    write_manifest(folder / "manifest.parquet", rows)
    return folder


def run_command(module: Any, *arguments: str | Path) -> int:
    """A command of `skingpt4.commands` with its arguments, as the command line calls it."""
    parser = argparse.ArgumentParser()
    module.add(parser)
    parsed = parser.parse_args([str(argument) for argument in arguments])
    return int(parsed.run(parsed))
