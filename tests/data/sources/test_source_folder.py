from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from skingpt4.data.sources.folder import disease_name, read_disease_folders, read_folder
from skingpt4.data.sources.names import read_classes
from skingpt4.errors import DataError
from skingpt4.settings import SourceSettings
from skingpt4.vocabulary import DIAGNOSIS_PROMPTS


@pytest.mark.parametrize(
    ("folder", "disease"),
    [
        ("Eczema Photos", "eczema"),
        ("Atopic_Dermatitis-Photos", "atopic dermatitis"),
        ("Poison Ivy Photos and other Contact Dermatitis", "poison ivy and other contact dermatitis"),
        ("Psoriasis pictures Lichen Planus and related diseases", "psoriasis lichen planus and related diseases"),
        ("Herpes HPV and other STDs Photos", "herpes HPV and other STDs"),
        ("1. Eczema", "eczema"),
        ("02_tinea  corporis", "tinea corporis"),
        ("BasalCellCarcinoma", "basal cell carcinoma"),
        ("ECZEMA", "eczema"),
        ("Neurofibromatosis type 1", "neurofibromatosis type 1"),
        ("Photos", ""),
    ],
)
def test_folder_names_become_diseases(folder: str, disease: str) -> None:
    assert disease_name(folder) == disease


def test_each_image_becomes_a_diagnosis(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    root = tmp_path / "dermnet"
    for name in ("Eczema Photos/2.JPG", "Eczema Photos/1.png", "Vitiligo/x.webp", "Vitiligo/.hidden.jpg", "stray.jpg"):
        draw_picture(root / name)
    (root / "Vitiligo" / "photo.psd").write_bytes(b"not read")
    (root / "Scabies").mkdir()
    (root / "readme.txt").write_text("notes")
    report = read_folder(SourceSettings("folder", str(root)))
    assert [(record.image.name, record.disease) for record in report.records] == [
        ("1.png", "eczema"),
        ("2.JPG", "eczema"),
        ("x.webp", "vitiligo"),
    ]
    assert report.records[0].answers[0] == "This could be a skin disease image of eczema."
    assert report.records[0].questions == DIAGNOSIS_PROMPTS
    assert report.summary() == (
        "folder dermnet: 4 rows, 1 without an answer, 3 kept; folders without images: Scabies; "
        "files that are no images left out: 1 .psd"
    )


def test_images_one_level_deeper_are_an_error_that_names_the_path(
    tmp_path: Path, draw_picture: Callable[..., Path]
) -> None:
    draw_picture(tmp_path / "train" / "Eczema" / "1.png")
    with pytest.raises(DataError, match=r"one level deeper \(train/Eczema\); set the source's `path` to .*train"):
        read_folder(SourceSettings("folder", str(tmp_path)))


@pytest.mark.parametrize("name", ["train", "Photos"])
def test_a_folder_whose_name_says_no_disease_is_an_error(
    tmp_path: Path, draw_picture: Callable[..., Path], name: str
) -> None:
    draw_picture(tmp_path / name / "1.png")
    with pytest.raises(DataError, match=rf"{name} holds images, but its name says no disease"):
        read_folder(SourceSettings("folder", str(tmp_path)))


def test_wrong_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no folder of images \(\.jpg, .*\); one per disease was expected"):
        read_folder(SourceSettings("folder", str(tmp_path)))
    with pytest.raises(
        DataError, match=r"derm does not exist \(looked in .*\); a folder with one folder of images per"
    ):
        read_folder(SourceSettings("folder", str(tmp_path / "derm")))
    file = tmp_path / "a.csv"
    file.write_text("x")
    with pytest.raises(DataError, match=r"a\.csv is a file; a folder"):
        read_folder(SourceSettings("folder", str(file)))
    with pytest.raises(DataError, match="leave `images` empty"):
        read_folder(SourceSettings("folder", str(tmp_path), images="elsewhere"))


def test_folders_have_the_classes_of_a_mapping(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    for name in ("Eczema Photos", "Warts"):
        draw_picture(tmp_path / "derm" / name / "1.png")
    mapping = tmp_path / "classes.yaml"
    mapping.write_text("eczema photos: Dermatitis\nwarts: Others\n", encoding="utf-8")
    report = read_disease_folders(tmp_path / "derm", read_classes(mapping))
    assert [(record.disease, record.disease_class) for record in report.records] == [
        ("eczema", "Dermatitis"),
        ("warts", "Others"),
    ]
    mapping.write_text("eczema: Dermatitis\nwart: Others\n", encoding="utf-8")
    with pytest.raises(
        DataError, match=r"(?s)2 folders without a class in .*'Eczema Photos'.*'Warts', did you mean 'wart'"
    ):
        read_disease_folders(tmp_path / "derm", read_classes(mapping))


def test_all_folders_whose_names_say_no_disease_are_named(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    for name in ("train", "Photos"):
        draw_picture(tmp_path / name / "1.png")
    with pytest.raises(DataError, match=r"Photos holds images.*; .*train holds images.*; name each folder"):
        read_disease_folders(tmp_path)
