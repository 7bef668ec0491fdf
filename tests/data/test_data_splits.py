from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skingpt4.data.records import Record
from skingpt4.data.splits import split_by_class
from skingpt4.errors import DataError


def records_of(sizes: list[int]) -> list[Record]:
    """Records of one disease after another, `sizes` of each."""
    diseases = [f"d{number}" for number, size in enumerate(sizes) for _ in range(size)]
    return [Record(Path(f"{index}.png"), ("?",), "!", disease=name) for index, name in enumerate(diseases)]


def test_classes_keep_their_proportions() -> None:
    train, test = split_by_class(records_of([60, 30, 10]), 20, seed=0)
    assert Counter(record.disease for record in test) == {"d0": 12, "d1": 6, "d2": 2}
    assert len(train) == 80


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_any_split_is_exact_disjoint_and_repeatable(sizes: list[int], data: st.DataObject) -> None:
    records = records_of(sizes)
    most = len(records) - len(sizes)
    if most == 0:
        with pytest.raises(DataError, match="from 1 to 0 are possible"):
            split_by_class(records, 1, 0)
        return
    count = data.draw(st.integers(1, most))
    train, test = split_by_class(records, count, seed=3)
    assert len(test) == count
    assert sorted([*train, *test], key=records.index) == records
    assert {record.disease for record in train} == {record.disease for record in records}
    assert (train, test) == split_by_class(records, count, seed=3)


def test_the_seed_decides() -> None:
    records = records_of([40, 40])
    assert split_by_class(records, 20, seed=0) != split_by_class(records, 20, seed=1)


def test_what_cannot_be_split_is_an_error() -> None:
    records = records_of([3, 1])
    with pytest.raises(DataError, match="3 test records cannot be split from 4 of 2 diseases; from 1 to 2"):
        split_by_class(records, 3, 0)
    with pytest.raises(DataError, match="0 test records"):
        split_by_class(records, 0, 0)
    with pytest.raises(DataError, match="occurs in more than one record"):
        split_by_class([*records, records[0]], 1, 0)
