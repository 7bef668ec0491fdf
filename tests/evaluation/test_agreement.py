"""Agreement of raters, against published examples and scikit-learn."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from skingpt4.evaluation.figures.agreement import krippendorff_alpha, weighted_kappa

nan = np.nan

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section E: four observers, twelve units, with holes.
OBSERVERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, nan, nan, nan],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nan, 3],
        [nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, nan],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nan],
    ]
)


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorffs_own_example(level: Literal["nominal", "ordinal", "interval"], alpha: float) -> None:
    figure = krippendorff_alpha(OBSERVERS, level)
    assert figure.value == pytest.approx(alpha, abs=5e-4)
    assert figure.n == 11  # the twelfth unit has one rating
    assert figure.low is not None and figure.high is not None
    assert figure.low < alpha < figure.high <= 1


def test_alpha_by_hand() -> None:
    # Four units of two raters: coincidences o11 = 4, o12 = o21 = 1, o22 = 2, so n1 = 5, n2 = 3, n = 8.
    # alpha = 1 - (n - 1) (o12 + o21) / (2 n1 n2) = 1 - 7 * 2 / 30.
    figure = krippendorff_alpha(np.array([[1, 1, 2, 1], [1, 1, 2, 2]]))
    assert figure.value == pytest.approx(8 / 15)
    assert figure.n == 4


def test_raters_who_always_disagree_are_below_chance_and_random_ones_near_it() -> None:
    rng = np.random.default_rng(0)
    assert krippendorff_alpha(np.array([[1, 5] * 20, [5, 1] * 20])).value == pytest.approx(1 - 79 * 80 / (2 * 40 * 40))
    chance = krippendorff_alpha(rng.integers(1, 6, (3, 400)).astype(float))
    assert chance.value == pytest.approx(0, abs=0.08)
    assert chance.low is not None and chance.high is not None and chance.low < 0 < chance.high
    same = rng.integers(1, 6, 50)
    assert krippendorff_alpha(np.array([same, same, same])).value == 1.0


def test_what_has_no_agreement_to_measure_says_why() -> None:
    assert "two raters" in krippendorff_alpha(np.array([[1, nan], [nan, 2]])).note
    assert "two raters" in krippendorff_alpha(np.empty((3, 0))).note
    same = krippendorff_alpha(np.full((2, 6), 4.0))
    assert (same.value, same.n) == (None, 6) and "same one level" in same.note
    assert "both raters" in weighted_kappa(np.array([1, nan]), np.array([nan, 2])).note
    assert weighted_kappa(np.full(5, 3), np.full(5, 3)).value is None


# The second and third rater of "anxiety", the example data of R's package irr: kappa2 says 0.1459075 and 0.2520325.
# (It knows no level that nobody chose, here 5, so that its 6 is the neighbour of 4.)
ANXIETY = np.array(
    [
        [3, 6, 4, 6, 2, 4, 2, 4, 3, 3, 2, 3, 3, 3, 2, 2, 1, 3, 3, 4],
        [2, 1, 4, 4, 3, 2, 1, 6, 1, 1, 1, 2, 3, 3, 1, 1, 3, 3, 2, 2],
    ]
)


@pytest.mark.parametrize(("weights", "irr"), [("linear", 0.1459075), ("quadratic", 0.2520325)])
def test_weighted_kappa_is_that_of_r(weights: Literal["linear", "quadratic"], irr: float) -> None:
    a, b = np.where(ANXIETY == 6, 5, ANXIETY)
    figure = weighted_kappa(a, b, weights)
    assert figure.value == pytest.approx(irr, abs=1e-7)
    assert figure.n == 20 and figure.low is not None and figure.high is not None
    assert figure.low < irr < figure.high


def test_a_level_that_nobody_chose_keeps_its_place() -> None:
    value = weighted_kappa(*ANXIETY).value
    assert value == pytest.approx(cohen_kappa_score(*ANXIETY, labels=[1, 2, 3, 4, 5, 6], weights="quadratic"))
    assert value != pytest.approx(0.2520325, abs=1e-3)


def test_weighted_kappa_is_that_of_sas() -> None:
    # The table with which statsmodels is tested against SAS's PROC FREQ: 0.4701.
    table = np.array([[0, 4, 1], [0, 8, 0], [0, 1, 5]])
    rows, columns = np.indices(table.shape)
    figure = weighted_kappa(np.repeat(rows, table.ravel()), np.repeat(columns, table.ravel()), "linear")
    assert figure.value == pytest.approx(0.4701, abs=5e-5)
    # By hand: disagreement 1 * (4 + 1) + 2 * 1 = 7 of 19; by chance (row totals 5, 8, 6; columns 0, 13, 6):
    # (5 * 13 + 8 * 6 + 6 * 13 + 2 * 5 * 6) / 19 = 251 / 19.
    assert figure.value == pytest.approx(1 - 7 * 19 / 251)


def test_kappa_of_perfect_inverted_and_random_raters() -> None:
    a = np.tile([1, 2, 3, 4, 5], 60)
    assert weighted_kappa(a, a).value == 1.0
    assert weighted_kappa(a, 6 - a).value == pytest.approx(-1.0)
    chance = weighted_kappa(a, np.random.default_rng(1).permutation(a))
    assert chance.value == pytest.approx(0, abs=0.15)


def test_units_that_one_rater_left_out_do_not_count() -> None:
    a, b = np.array([1, 2, 3, nan, 5, 1]), np.array([1, 3, 3, 4, nan, 2])
    figure = weighted_kappa(a, b)
    assert figure.n == 4
    assert figure.value == pytest.approx(cohen_kappa_score([1, 2, 3, 1], [1, 3, 3, 2], weights="quadratic"))


def test_units_of_one_patient_are_resampled_together() -> None:
    rng = np.random.default_rng(2)
    a = rng.integers(1, 6, 30)
    b = np.clip(a + rng.integers(-1, 2, 30), 1, 5)
    alone, patients = weighted_kappa(a, b), [f"patient {row}" for row in range(30) for _ in range(4)]
    together = weighted_kappa(np.repeat(a, 4), np.repeat(b, 4), groups=patients)
    assert together.n == 120
    assert (together.low, together.high) == (pytest.approx(alone.low), pytest.approx(alone.high))


def test_wrong_shapes_and_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="same units"):
        weighted_kappa(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="whole numbers"):
        weighted_kappa(np.array([1.5, 2]), np.array([1, 2]))
    with pytest.raises(ValueError, match="raters, units"):
        krippendorff_alpha(np.ones(4))
