"""Micro and macro F1 against cases worked out by hand; rankings of few of many cases against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from skingpt4.evaluation.figures.metrics import Ranking, micro_macro_f1


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


def test_the_ranking_of_a_small_group_is_that_of_the_group_alone() -> None:
    """The cases of few rows are sorted again; ties and rows that come twice included."""
    rng = np.random.default_rng(0)
    truth, scores = rng.random((400, 5)) < 0.4, rng.normal(size=(400, 5)).round(1)
    rows = rng.integers(100, 140, 30)
    auroc, precision = Ranking(truth, scores).auroc_and_precision(rows)
    for column in range(5):
        given = truth[rows, column], scores[rows, column]
        assert auroc[column] == pytest.approx(roc_auc_score(*given))
        assert precision[column] == pytest.approx(average_precision_score(*given))
