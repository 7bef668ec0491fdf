"""Figures per group of people, against hand-worked cases and fairlearn."""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from skingpt4.evaluation.figures.groups import AGE_BANDS, SKIN_TYPES, UNKNOWN, age_bands, by_group, skin_types
from skingpt4.evaluation.figures.intervals import Rows


def mean_of(values: np.ndarray) -> Callable[[Rows], float]:
    return lambda rows: float(values[rows].mean())


def test_by_hand() -> None:
    # Type 1: 9 of 12 right; type 6: 3 of 12; unknown: none of 5; type 3: 1 of 1, too few to compare.
    members = ["1"] * 12 + ["6"] * 12 + [UNKNOWN] * 4 + [""] + ["3"]
    right = np.array([1] * 9 + [0] * 3 + [1] * 3 + [0] * 9 + [0] * 5 + [1])
    found = by_group(mean_of(right), members, expected=SKIN_TYPES)
    assert list(found.values) == ["1", "2", "3", "4", "5", "6", UNKNOWN]
    values = {name: (figure.value, figure.n) for name, figure in found.values.items()}
    assert values == {
        "1": (0.75, 12), "2": (None, 0), "3": (1, 1), "4": (None, 0), "5": (None, 0), "6": (0.25, 12), UNKNOWN: (0, 5)
    }  # fmt: skip
    assert (found.worst, found.best) == ("6", "1")
    assert (found.gap.value, found.gap.n) == (0.5, 24)
    assert found.gap.low is not None and found.gap.high is not None and 0 < found.gap.low < 0.5 < found.gap.high
    assert found.left_out == ("2", "3", "4", "5", UNKNOWN)
    assert found.to_dict()["values"]["2"]["note"]


def test_lower_may_be_better() -> None:
    members = ["a"] * 10 + ["b"] * 10
    error = np.array([0.1] * 10 + [0.4] * 10)
    found = by_group(mean_of(error), members, better="lower")
    assert (found.worst, found.best, found.gap.value) == ("b", "a", pytest.approx(0.3))


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_fairlearn_on_random_cases(seed: int) -> None:
    fairlearn = pytest.importorskip("fairlearn.metrics")
    rng = np.random.default_rng(seed)
    truth, given, members = rng.integers(0, 3, 200), rng.integers(0, 3, 200), rng.choice(["1", "2", "3", "6"], 200)

    def balanced(rows: Rows) -> float:
        right = np.bincount(truth[rows], truth[rows] == given[rows], minlength=3)
        counts = np.bincount(truth[rows], minlength=3)
        return float((right[counts > 0] / counts[counts > 0]).mean())

    for ours, theirs in ((mean_of(truth == given), accuracy_score), (balanced, balanced_accuracy_score)):
        frame = fairlearn.MetricFrame(metrics=theirs, y_true=truth, y_pred=given, sensitive_features=members)
        found = by_group(ours, members.tolist())
        assert {name: figure.value for name, figure in found.values.items()} == pytest.approx(frame.by_group.to_dict())
        assert found.gap.value == pytest.approx(frame.difference())
        assert found.values[found.worst].value == pytest.approx(frame.group_min())
        assert found.values[found.best].value == pytest.approx(frame.group_max())


def test_a_group_of_one_class_is_undefined_and_not_compared() -> None:
    members = ["f"] * 20 + ["m"] * 20 + ["x"] * 20
    truth = np.array([0, 1] * 20 + [1] * 20)
    scores = np.random.default_rng(0).random(60)

    def auroc(rows: Rows) -> float | None:
        ill, well = scores[rows][truth[rows] == 1], scores[rows][truth[rows] == 0]
        return float((ill[:, None] > well).mean()) if len(ill) and len(well) else None

    found = by_group(auroc, members, undefined="all cases are of one diagnosis")
    assert found.values["x"].value is None and found.values["x"].n == 20
    assert found.values["x"].note == "all cases are of one diagnosis"
    assert found.left_out == ("x",) and found.gap.n == 40
    assert found.values["f"].value == pytest.approx(roc_auc_score(truth[:20], scores[:20]))


def test_no_two_groups_to_compare() -> None:
    values = np.ones(30)
    for members in (["1"] * 30, ["1"] * 20 + [UNKNOWN] * 10, ["1"] * 21 + ["2"] * 9):
        found = by_group(mean_of(values), members)
        assert (found.gap.value, found.gap.n, found.worst) == (None, 30, "") and "two known groups" in found.gap.note
    empty = by_group(mean_of(values), [], expected=SKIN_TYPES)
    assert empty.gap.value is None and all(figure.n == 0 for figure in empty.values.values())


def test_the_gaps_interval_covers_the_true_gap() -> None:
    rng = np.random.default_rng(1)
    members = ["light"] * 80 + ["dark"] * 80
    covered = 0
    for _ in range(30):
        right = np.concatenate([rng.random(80) < 0.8, rng.random(80) < 0.5])
        gap = by_group(mean_of(right), members).gap
        covered += gap.low <= 0.3 <= gap.high  # type: ignore[operator]
    assert 25 <= covered <= 30  # 28.5 expected


def test_alike_groups_are_told_from_unlike_ones() -> None:
    rng = np.random.default_rng(3)
    members = rng.choice(list(SKIN_TYPES), 300).tolist()
    alike = by_group(mean_of(rng.random(300) < 0.6), members)
    unlike = by_group(mean_of(rng.random(300) < np.where(np.array(members) == "6", 0.2, 0.7)), members)
    assert alike.gap.value is not None and alike.gap.value > 0.1  # six groups of fifty: luck
    low, high = alike.gap_if_alike.low, alike.gap_if_alike.high
    assert low is not None and high is not None and low < alike.gap.value < high
    assert alike.chance is not None and alike.chance > 0.05
    assert unlike.worst == "6" and unlike.chance is not None and unlike.chance < 0.01
    assert unlike.gap.value > unlike.gap_if_alike.high  # type: ignore[operator]


def test_the_chance_is_the_share_of_random_deals() -> None:
    # 11 right in one group of 20 and 9 in the other: of all deals a share of 1 - P(10) = 0.7475 is as far apart, where
    # P(10) = C(20, 10) C(20, 10) / C(40, 20).
    members = ["a"] * 20 + ["b"] * 20
    right = np.array([1] * 11 + [0] * 9 + [1] * 9 + [0] * 11)
    found = by_group(mean_of(right), members)
    assert found.gap.value == pytest.approx(0.1)
    assert found.chance == pytest.approx(1 - comb(20, 10) ** 2 / comb(40, 20), abs=0.045)


def test_patients_are_resampled_whole() -> None:
    rng = np.random.default_rng(2)
    right, members = rng.random(60) < 0.6, rng.choice(["female", "male"], 60)
    alone = by_group(mean_of(right), members.tolist())
    patients = [f"patient {row}" for row in range(60) for _ in range(3)]
    threefold = by_group(mean_of(right.repeat(3)), members.repeat(3).tolist(), patients)
    assert (threefold.gap.low, threefold.gap.high) == (pytest.approx(alone.gap.low), pytest.approx(alone.gap.high))
    # Three pictures of a patient say no more than one.
    assert threefold.gap_if_alike.value == pytest.approx(alone.gap_if_alike.value, rel=0.1)
    assert threefold.values["male"].n == 3 * alone.values["male"].n


def test_names_of_groups() -> None:
    assert skin_types([1, 2, 3, 4, 5, 6, -1, 0, 12]) == [*SKIN_TYPES, UNKNOWN, UNKNOWN, UNKNOWN]
    assert age_bands([0, 17, 18, 39, 40, 64, 65, 101, -1]) == [
        "0-17", "0-17", "18-39", "18-39", "40-64", "40-64", "65 and more", "65 and more", UNKNOWN
    ]  # fmt: skip
    assert set(age_bands(range(120))) == set(AGE_BANDS)


def test_a_small_group_that_is_all_right_or_all_wrong_has_wilsons_interval() -> None:
    """Three of three right are no proof: every resample agrees, and a bootstrap would say "1 to 1"."""
    members, right = ["5"] * 3 + ["6"] * 12, np.array([1.0] * 3 + [0.0] * 12)
    found = by_group(mean_of(right), members, groups=["", "", "", *"aabbccddeeff"], is_share=True).values
    ends = {name: (found[name].low, found[name].high) for name in "56"}
    assert ends == {"5": (pytest.approx(0.4385, abs=1e-4), 1), "6": (pytest.approx(0), pytest.approx(0.3903, abs=1e-4))}
    assert found["6"].note == "the same for all: Wilson interval over 6 patients"
