"""What would make a study's figures worthless in silence: guessed arms, texts of other pictures, cases learnt from."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from studies import new, study

from skingpt4.config import save_settings
from skingpt4.data.manifest import open_manifest
from skingpt4.data.rewrite import write_columns
from skingpt4.errors import DataError
from skingpt4.settings import Settings, SourceSettings
from skingpt4.study.asking import read_answers
from skingpt4.study.folder import Folder, Study
from skingpt4.study.items import StudyError
from skingpt4.study.texts import read_texts, require_one_photograph_each, text_of_image


def test_the_order_cannot_be_worked_out_from_the_seed(made: Path, data: Path, tmp_path: Path):
    """With the seed's own shuffle every study of two arms would have the model's texts at the same places."""
    assert new(data, tmp_path / "again", "--raters", "12") == 0

    def places(key: Study) -> list[tuple[str, ...]]:
        return [tuple(f"{key.case_of(code).id} {key.arm_of(code)}" for code in rater.order) for rater in key.raters]

    one, other = Folder(made).read(), Folder(tmp_path / "again").read()
    assert [case.name for case in one.cases] == [case.name for case in other.cases]  # the seed draws the cases
    assert places(one)[:3] != places(other)[:3] and len(set(places(other))) > 10


def test_a_text_that_could_be_of_two_photographs_is_refused(tmp_path: Path):
    table = tmp_path / "texts.csv"
    table.write_text("image,text\n1.jpg,of one\nb/1.jpg,of the other\n", encoding="utf-8")
    texts = read_texts(table, "written")
    found = {name: text_of_image(texts, name) for name in ("a/1.jpg", "x/b/1.jpg", "2.jpg")}
    assert [text and text.parts["text"] for text in found.values()] == ["of one", "of the other", None]
    require_one_photograph_each(texts, found, "written")
    with pytest.raises(
        StudyError, match=r"text of 1\.jpg in the table of written could be of a/1\.jpg and of c/1\.jpg"
    ):
        require_one_photograph_each(texts, [*found, "c/1.jpg"], "written")


def test_texts_that_were_changed_meanwhile_are_refused(folder: Folder, data: Path):
    with (data.parent / "texts.csv").open(newline="", encoding="utf-8") as file:
        rows = [[row[0], f"{row[1]} Corrected." if row[0] != "image" else "text", row[2]] for row in csv.reader(file)]
    answers = read_answers(folder.answers)
    design = ("--each", "2", "--raters", "3", "--lay-raters", "1", "--max-new-tokens", "10")
    texts = data.parent / "texts.csv"
    before = texts.read_bytes()
    try:
        with texts.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
        with pytest.raises(StudyError, match=r"has another text about images/.* than the study"):
            study("new", "--data", data, "--out", folder.root, "--arm", f"written={texts}", *design)
    finally:
        texts.write_bytes(before)
    assert read_answers(folder.answers) == answers


def test_photographs_that_the_model_was_trained_on_are_refused(tiny_settings: Settings, data: Path, tmp_path: Path):
    own, out = tmp_path / "data", tmp_path / "study"
    shutil.copytree(data, own)
    manifest = open_manifest(own)
    write_columns(manifest, {"split": ["train", "train", "test", "test", "train", "train"]}, own)
    tiny_settings.data.train = [SourceSettings(source="manifest", path=str(own), split="train")]
    save_settings(tiny_settings, tmp_path / "model.yaml")
    command = ("new", "--cfg-path", tmp_path / "model.yaml", "--data", own, "--each", "1", "--max-new-tokens", "2")
    with pytest.raises(DataError, match=r"(?s)4 of the 6 cases .*--allow-leaks"):
        study(*command, "--out", out, "--split", "")
    assert not out.exists()
    assert study(*command, "--out", out) == 0  # of the split test
    assert not Folder(out).read().remarks
    assert study(*command, "--out", tmp_path / "leaky", "--split", "", "--allow-leaks") == 0
    assert "the figures are too good" in Folder(tmp_path / "leaky").read().remarks[0]
