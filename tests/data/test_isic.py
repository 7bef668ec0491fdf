from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from skingpt4.config import DataSettings, SourceSettings
from skingpt4.data.isic import prepare_isic
from skingpt4.data.loading import load_records
from skingpt4.errors import DataError
from skingpt4.images import open_image

HEADER = "image,diagnosis,benign_malignant,age_approx,sex\n"


def test_the_shared_photographs_become_90_and_30(shared_data: Path, tmp_path: Path) -> None:
    isic = shared_data / "isic"
    train, test = prepare_isic(isic / "metadata.csv", isic / "images", tmp_path / "out")

    def source(path: Path) -> SourceSettings:
        return SourceSettings("table", str(path), images=str(isic / "images"))

    loaded = load_records(DataSettings(train=[source(train)], validation=[source(test)]), "", 0)
    assert Counter(record.disease for record in loaded.train) == {"melanoma": 45, "nevus": 45}
    assert Counter(record.disease for record in loaded.validation) == {"melanoma": 15, "nevus": 15}
    assert not {record.image for record in loaded.train} & {record.image for record in loaded.validation}
    assert {record.answer for record in loaded.train} == {
        "This could be a skin disease image of melanoma. The lesion is malignant.",
        "This could be a skin disease image of nevus. The lesion is benign.",
    }
    assert {open_image(record.image).size for record in loaded.validation} == {(250, 250)}


def test_the_same_seed_gives_the_same_files(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    rows = []
    for index in range(12):
        draw_picture(tmp_path / "images" / f"{index}.jpg")
        rows.append(f"{index}.jpg,{'Melanoma,malignant' if index % 3 == 0 else 'nevus,'},{50 if index else ''},\n")
    metadata = tmp_path / "metadata.csv"
    metadata.write_text(HEADER + "".join(rows), encoding="utf-8")

    def texts(name: str, seed: int) -> list[str]:
        train, test = prepare_isic(metadata, tmp_path / "images", tmp_path / name, test_count=3, seed=seed)
        return [train.read_text(encoding="utf-8"), test.read_text(encoding="utf-8")]

    assert texts("a", 0) == texts("b", 0)
    assert texts("a", 0) != texts("c", 1)
    lines = [json.loads(line) for text in texts("a", 0) for line in text.splitlines()]
    by_image = {line["image"]: line for line in lines}
    assert len(lines) == len(by_image) == 12
    assert by_image["0.jpg"] == {
        "image": "0.jpg",
        "disease": "melanoma",
        "notes": "The lesion is malignant.",
        "benign_malignant": "malignant",
    }
    assert by_image["1.jpg"] == {"image": "1.jpg", "disease": "nevus", "notes": "", "age_approx": "50"}


def test_wrong_metadata_is_an_error(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    draw_picture(tmp_path / "images" / "1.jpg")
    metadata = tmp_path / "metadata.csv"

    def error_of(text: str) -> str:
        metadata.write_text(text, encoding="utf-8")
        with pytest.raises(DataError) as caught:
            prepare_isic(metadata, tmp_path / "images", tmp_path / "out", test_count=1)
        assert not (tmp_path / "out").exists()
        return str(caught.value)

    assert "1 of its images are missing in" in error_of(HEADER + "1.jpg,nevus,benign,,\n2.jpg,nevus,benign,,\n")
    assert "no column `diagnosis`" in error_of("image,dx,benign_malignant\n1.jpg,nevus,benign\n")
    assert "row 2: `diagnosis` is empty" in error_of(HEADER + "1.jpg,,benign,,\n")
    assert "row 2: image '../1.jpg' leads out" in error_of(HEADER + "../1.jpg,nevus,benign,,\n")
    assert "1 test records cannot be split from 1 of 1 diseases" in error_of(HEADER + "1.jpg,nevus,benign,,\n")
