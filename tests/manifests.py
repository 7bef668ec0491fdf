"""Small data sets with a manifest, for the tests that read one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from skingpt4.data.manifest import Manifest, open_manifest, row_of, write_manifest
from skingpt4.data.records import Record, diagnosis_record

SPLITS = ("train", "train", "validation", "test")


def draw_data_set(folder: Path, count: int, suffix: str = ".png", size_px: int = 16) -> list[Record]:
    """`count` different photographs in two folders below `folder`, with a record each; the splits take turns."""
    draw = np.random.default_rng(0)
    records = []
    for number in range(count):
        image = folder / ("a", "b")[number % 2] / f"{number}{suffix}"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 255, (size_px, size_px, 3), dtype=np.uint8)).save(image)
        record = diagnosis_record(image, "eczema", f"Note {number}.", "drawn")
        records.append(Record(**{**vars(record), "split": SPLITS[number % 4], "group": f"patient {number // 2}"}))
    return records


def write_data_set(folder: Path, count: int, suffix: str = ".png", name: str = "manifest.parquet") -> Manifest:
    """The same with its manifest in the folder."""
    records = draw_data_set(folder, count, suffix)
    names = [Path(str(record.image)).relative_to(folder).as_posix() for record in records]
    write_manifest(folder / name, (row_of(record, image) for record, image in zip(records, names, strict=True)))
    return open_manifest(folder)
