"""Risk, coverage and abstention, against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.figures.selection import abstention_figures, abstention_threshold, aurc, risk_coverage_curve

CONFIDENCE = np.array([0.9, 0.8, 0.8, 0.6, 0.5])
RIGHT = np.array([True, True, False, True, False])


def test_curve_by_hand() -> None:
    curve = risk_coverage_curve(CONFIDENCE[::-1], RIGHT[::-1])  # in any order
    assert curve.thresholds.tolist() == [0.9, 0.8, 0.6, 0.5]
    assert curve.coverage.tolist() == pytest.approx([0.2, 0.6, 0.8, 1.0])
    assert curve.risk.tolist() == pytest.approx([0, 1 / 3, 1 / 4, 2 / 5])


def test_area_by_hand() -> None:
    # At 1 .. 5 cases: 0, then half a case of the two at 0.8 is wrong (0.5 / 2), 1/3, 1/4, 2/5.
    figure = aurc(CONFIDENCE, RIGHT)
    assert figure.value == pytest.approx((0 + 0.25 + 1 / 3 + 0.25 + 0.4) / 5)
    assert figure.n == 5


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 40))
def test_area_is_the_mean_of_the_risks_in_order(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    confidence, right = rng.random(n), rng.random(n) < 0.6
    wrong = ~right[np.argsort(-confidence)]
    expected = np.mean([wrong[:first].mean() for first in range(1, n + 1)])
    figure = aurc(confidence, right)
    assert figure.value == pytest.approx(expected)
    curve = risk_coverage_curve(confidence, right)
    assert figure.value == pytest.approx(curve.risk.mean())  # without ties the curve has every coverage
    assert curve.risk[-1] == pytest.approx(wrong.mean()) and curve.coverage[-1] == 1


def test_perfect_random_and_inverted_confidence() -> None:
    right = np.arange(1000) % 4 > 0
    rng = np.random.default_rng(0)
    assert aurc(rng.random(1000), np.ones(1000, dtype=bool)).value == 0
    assert aurc(rng.random(1000), np.zeros(1000, dtype=bool)).value == 1
    chance = aurc(rng.random(1000), right)
    assert chance.low is not None and chance.high is not None and chance.low < 0.25 < chance.high
    assert aurc(np.full(1000, 0.5), right).value == pytest.approx(0.25)  # says nothing: the error rate, exactly
    best, worst = aurc(right.astype(float), right), aurc(~right, right)
    # Right first: no risk up to 750 of 1000; then k - 750 of k. Wrong first: all of the first 250, then 250 of k.
    k = np.arange(1, 1001)
    assert best.value == pytest.approx(np.clip(k - 750, 0, None).dot(1 / k) / 1000)
    assert worst.value == pytest.approx(np.clip(k, None, 250).dot(1 / k) / 1000)


def test_the_threshold_takes_the_largest_coverage_that_keeps_the_risk() -> None:
    assert abstention_threshold(CONFIDENCE, RIGHT, 0.25).value == 0.6  # though the risk is 1/3 in between
    assert abstention_threshold(CONFIDENCE, RIGHT, 0.1).value == 0.9
    assert abstention_threshold(CONFIDENCE, RIGHT, 0.4).value == 0.5
    assert "80.0%" in abstention_threshold(CONFIDENCE, RIGHT, 0.25).note
    none = abstention_threshold(CONFIDENCE, ~RIGHT, 0.4)  # risks 1, 2/3, 3/4, 3/5
    assert (none.value, none.n) == (None, 5) and "60.0%" in none.note


def test_a_threshold_on_the_test_cases() -> None:
    threshold = abstention_threshold(CONFIDENCE, RIGHT, 0.25)
    figures = abstention_figures(threshold, np.array([0.7, 0.6, 0.59, 0.2]), np.array([True, False, False, True]))
    assert (figures["coverage"].value, figures["coverage"].n) == (0.5, 4)
    assert (figures["risk"].value, figures["risk"].n) == (0.5, 2)
    silent = abstention_figures(Figure(0.99, 5), CONFIDENCE, RIGHT)
    assert silent["coverage"].value == 0 and silent["risk"].value is None and "sure enough" in silent["risk"].note
    undefined = abstention_figures(Figure.undefined("no validation case", 0), CONFIDENCE, RIGHT)
    assert [figure.note for figure in undefined.values()] == ["no validation case"] * 2
    assert {figure.n for figure in undefined.values()} == {5}


def cases(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    confidence = rng.random(n)
    return confidence, rng.random(n) < 0.5 + confidence / 2  # risk (1 - c) / 2 at confidence c; 0.25 of all


def test_a_wanted_surety_is_kept_where_the_plain_choice_is_a_toss() -> None:
    # From threshold t on, the true risk is the mean of (1 - c) / 2 over c > t: (1 - t) / 4.
    rng = np.random.default_rng(0)
    broken = {None: 0, 0.95: 0}
    answered = {None: 0.0, 0.95: 0.0}
    for _ in range(200):
        validation = cases(500, rng)
        for surety in broken:
            threshold = abstention_threshold(*validation, wanted_risk=0.15, surety=surety)
            if threshold.value is not None:
                broken[surety] += (1 - threshold.value) / 4 > 0.15
                answered[surety] += (1 - threshold.value) / 200
    assert broken[0.95] <= 10  # 5 % of 200
    assert broken[None] > 60
    assert 0.1 < answered[0.95] < answered[None]  # the price


def test_the_bound_is_clopper_and_pearsons() -> None:
    # 400 cases of one confidence, 8 wrong: one coverage is tried, so nothing is corrected.
    right = np.arange(400) >= 8
    bound = proportion_confint(8, 400, alpha=0.1, method="beta")[1]  # its upper end has 5 % above it
    for wanted, found in ((bound + 1e-6, 0.7), (bound - 1e-6, None)):
        assert abstention_threshold(np.full(400, 0.7), right, wanted, surety=0.95).value == found


def test_undefined_and_refused() -> None:
    empty = np.empty(0)
    assert risk_coverage_curve(empty, empty).risk.shape == (0,)
    for figure in (aurc(empty, empty), abstention_threshold(empty, empty, 0.1)):
        assert (figure.value, figure.n) == (None, 0) and figure.note
    few = abstention_threshold(np.array([0.9, 0.8]), np.array([True, True]), 0.1, surety=0.95)
    assert few.value is None and "95% surety" in few.note
    all_wrong = abstention_threshold(CONFIDENCE, np.zeros(5, dtype=bool), 0.5, surety=0.9)
    assert all_wrong.value is None and "100.0%" in all_wrong.note
    for figure in abstention_figures(Figure(0.5, 5), empty, empty).values():
        assert figure.value is None and figure.n == 0
    with pytest.raises(ValueError, match="no NaN"):
        aurc(np.array([np.nan]), np.array([True]))
    with pytest.raises(ValueError, match="wanted risk"):
        abstention_threshold(CONFIDENCE, RIGHT, 1.5)
