"""Predictions go to a file and come back as they were."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from manifests import write_data_set
from synthetic_answers import synthetic

from skingpt4.data.records import Record, concept_record
from skingpt4.errors import DataError
from skingpt4.evaluation.predictions import Predictions, image_names


def same(one: Predictions, other: Predictions) -> bool:
    """Whether every field is equal, numbers to the last bit."""
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(Predictions)]
    return all(np.array_equal(a, b) and a.dtype == b.dtype if isinstance(a, np.ndarray) else a == b for a, b in pairs)


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    written = synthetic(7, people=True)
    written.concepts[2], written.repeats[3], written.photo_score[4] = None, None, 0.25
    written.write(tmp_path / "some.parquet")
    assert same(Predictions.read(tmp_path / "some.parquet"), written)


def test_unscored_cases_have_scores_of_width_zero(tmp_path: Path) -> None:
    manifest = write_data_set(tmp_path, 5)
    written = Predictions.of_records(manifest, ("eczema",))
    written.write(tmp_path / "some.parquet")
    read = Predictions.read(tmp_path / "some.parquet")
    assert same(read, written) and read.disease_log_scores.shape == (5, 0)
    assert read.disease == ["eczema"] * 5 and read.reference[3].endswith("Note 3.") and read.concepts == [None] * 5


def test_files_are_joined_in_order_and_rows_are_chosen(tmp_path: Path) -> None:
    whole = synthetic(9)
    for name, rows in (("a", np.arange(4)), ("b", np.arange(4, 9))):
        whole.select(rows).write(tmp_path / f"{name}.parquet")
    assert same(Predictions.read(tmp_path / "a.parquet", tmp_path / "b.parquet"), whole)
    chosen = whole.select(np.array([6, 1]))
    assert chosen.image == ["0/6.png", "0/1.png"] and chosen.concept_log_odds[0, 5] == whole.concept_log_odds[6, 5]


def test_no_case_is_a_file_too(tmp_path: Path) -> None:
    synthetic(4).select(np.array([], int)).write(tmp_path / "none.parquet")
    assert len(Predictions.read(tmp_path / "none.parquet")) == 0


def test_other_files_are_refused(tmp_path: Path) -> None:
    write_data_set(tmp_path / "data", 4)
    with pytest.raises(DataError, match=r"manifest\.parquet holds no predictions of `skingpt4 evaluate`"):
        Predictions.read(tmp_path / "data" / "manifest.parquet")
    with pytest.raises(DataError, match=r"absent\.parquet does not exist"):
        Predictions.read(tmp_path / "absent.parquet")
    one, other = synthetic(4), synthetic(4)
    other.diseases = ("a", "b", "c", "d")
    one.write(tmp_path / "one.parquet")
    other.write(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="over other diseases"):
        Predictions.read(tmp_path / "one.parquet", tmp_path / "other.parquet")


def test_names_are_short_where_they_can_be() -> None:
    def record(path: str) -> Record:
        return concept_record(Path(path), ["Papule"], "somewhere")

    assert image_names([record("x/1.png"), record("y/2.png")]) == ["1.png", "2.png"]
    assert image_names([record("x/1.png"), record("y/1.png")]) == ["x/1.png", "y/1.png"]


def test_an_answer_about_concepts_is_no_reference_for_the_diagnosis() -> None:
    record = concept_record(Path("1.png"), ["Papule"], "somewhere", disease="acne")
    found = Predictions.of_records([record], ["acne"])
    assert found.reference == [""] and found.concepts == [("Papule",)]
