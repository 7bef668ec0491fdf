from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from skingpt4.data.sources.dermnet import read_dermnet
from skingpt4.data.sources.names import DERMNET_CLASSES_FILE, read_classes
from skingpt4.errors import DataError

FOLDERS = read_classes(DERMNET_CLASSES_FILE).names


@pytest.fixture
def tree(tmp_path: Path, draw_picture: Callable[..., Path]) -> Path:
    """The 23 folders of both splits: two images each in train/, one in test/."""
    root = tmp_path / "dermnet"
    for number, name in enumerate(FOLDERS):
        draw_picture(root / "train" / name / f"acne-cystic-{number}.jpg")
        draw_picture(root / "train" / name / f"1IMG{number:03}.jpg")
        draw_picture(root / "test" / name / f"07PerioralDermatitis{number}.jpg")
    return root


def test_split_class_and_disease_come_from_the_tree(tree: Path) -> None:
    report = read_dermnet(tree)
    assert Counter(record.split for record in report.records) == {"train": 46, "test": 23}
    classes = Counter(record.disease_class for record in report.records)
    assert (len(classes), classes["Dermatitis"], classes["Others"], classes["Fungal Infections"]) == (16, 12, 12, 6)
    (eczema,) = [record for record in report.records if record.disease == "eczema" and record.split == "test"]
    assert eczema.image == tree / "test" / "Eczema Photos" / "07PerioralDermatitis5.jpg"
    assert eczema.answers == ("This could be a skin disease image of eczema.",)
    assert (eczema.source, eczema.disease_class) == ("dermnet", "Dermatitis")
    assert report.summary() == "dermnet dermnet: 69 rows, 69 kept"


def test_files_name_finer_diseases(tree: Path) -> None:
    report = read_dermnet(tree, from_file=True)
    diseases = Counter(record.disease for record in report.records)
    assert (diseases["acne cystic"], diseases["perioral dermatitis"], diseases["eczema"]) == (23, 23, 1)
    assert report.remarks == ["files whose name says no disease, which is their folder's: 23"]


def test_absent_folders_and_other_files_are_remarks(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    for name in FOLDERS[:21]:
        draw_picture(tmp_path / "train" / name / "1.jpg")
    (tmp_path / "train" / FOLDERS[0] / "Thumbs.db").write_bytes(b"")
    draw_picture(tmp_path / "train" / "stray.jpg")
    report = read_dermnet(tmp_path)
    assert (report.rows, report.without_answer, len(report.records)) == (22, 1, 21)
    assert report.remarks == [
        "files that are no images left out: 1 .db",
        "folders of dermnet_classes.yaml that are not there: "
        "Vasculitis Photos, Warts Molluscum and other Viral Infections",
    ]


def test_unknown_folders_of_both_splits_are_reported_together(tree: Path) -> None:
    (tree / "train" / "Eczema Photos").rename(tree / "train" / "Eczma Photos")
    (tree / "test" / "Systemic Disease").rename(tree / "test" / "Sunburn")
    with pytest.raises(DataError) as caught:
        read_dermnet(tree)
    message = str(caught.value)
    assert "2 folders without a class in" in message
    assert "'Eczma Photos', did you mean 'Eczema Photos'?" in message
    assert message.endswith("'Sunburn'")


def test_a_mapping_of_ones_own(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    draw_picture(tmp_path / "tree" / "test" / "My_Warts" / "1.png")
    (tmp_path / "mine.yaml").write_text("my warts: Benign Tumors\n", encoding="utf-8")
    (record,) = read_dermnet(tmp_path / "tree", read_classes(tmp_path / "mine.yaml")).records
    assert (record.disease, record.disease_class, record.split) == ("my warts", "Benign Tumors", "test")


def test_another_tree_is_an_error(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"is not Kaggle's Dermnet: train/ and test/ .* it holds no folder\.$"):
        read_dermnet(tmp_path)
    draw_picture(tmp_path / "Eczema Photos" / "1.jpg")
    with pytest.raises(DataError, match=r"it holds Eczema Photos\. 'Eczema Photos' belongs into train/ or test/"):
        read_dermnet(tmp_path)
    with pytest.raises(DataError, match=r"nothing does not exist .*Kaggle's Dermnet"):
        read_dermnet(tmp_path / "nothing")
