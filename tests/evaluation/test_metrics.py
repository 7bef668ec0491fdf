"""Micro and macro F1 against cases worked out by hand."""

from __future__ import annotations

import pytest

from skingpt4.evaluation.figures.metrics import micro_macro_f1


def test_f1_by_hand() -> None:
    truth = [{"Plaque", "Scale"}, {"Plaque"}, {"Crust"}]
    found = [{"Plaque"}, {"Plaque", "Scale"}, set[str]()]
    # Plaque: 2 hits of 2 and 2 -> 1. Scale: 0 of 1 and 1 -> 0. Crust: 0 of 1 and 0 -> 0. All: 2 hits of 4 and 3.
    assert micro_macro_f1(truth, found) == (pytest.approx(4 / 7), pytest.approx(1 / 3))


def test_a_wrong_label_that_is_never_true_costs_micro_and_has_no_macro_of_its_own() -> None:
    assert micro_macro_f1([{"Plaque"}], [{"Plaque", "Wheal"}]) == (pytest.approx(2 / 3), 1.0)


def test_perfect_and_empty() -> None:
    assert micro_macro_f1([{"a"}, {"b"}], [{"a"}, {"b"}]) == (1.0, 1.0)
    with pytest.raises(ValueError, match="undefined"):
        micro_macro_f1([set()], [{"a"}])
