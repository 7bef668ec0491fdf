"""A small real study: drawn photographs, the embedded default's answers, a written second arm."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from studies import DISEASES, WRITTEN, new

from skingpt4.data.manifest import row_of, write_manifest
from skingpt4.data.records import Record, diagnosis_record
from skingpt4.study.folder import Folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photographs of two diseases with a manifest, whose file names tell the disease; texts beside the folder."""
    import numpy
    from PIL import Image

    from skingpt4.tiny.renderer import disease_description, render

    folder = tmp_path_factory.mktemp("study") / "data"
    (folder / "images").mkdir(parents=True)
    numbers = numpy.random.default_rng(4)
    rows, texts = [], [["image", "text", "seconds"]]
    for number in range(6):
        disease = list(DISEASES)[number % 2]
        name = f"images/{disease}_{number}.png"
        Image.fromarray(render(disease_description(disease, numbers), numbers).image).save(folder / name)
        record = vars(diagnosis_record(folder / name, disease, "", "drawn"))
        more = {"disease_class": DISEASES[disease], "skin_type": number % 3 + 1, "group": f"patient {number}"}
        rows.append(row_of(Record(**{**record, **more}), name))
        texts.append([name, WRITTEN.format(number=number), str(30 + number)])
    write_manifest(folder / "manifest.parquet", rows)
    with (folder.parent / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(texts)
    return folder


@pytest.fixture(scope="session")
def made(data: Path) -> Path:
    """The folder that `study new` wrote; do not change it."""
    out = data.parent / "made"
    assert new(data, out) == 0
    return out


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Folder:
    """A copy of it, to change."""
    shutil.copytree(made, tmp_path / "own")
    return Folder(tmp_path / "own")
