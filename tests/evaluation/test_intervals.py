"""Intervals against published values, theory, and whole patients."""

from __future__ import annotations

import math

import numpy as np
import pytest

from skingpt4.evaluation.figures.intervals import (
    Rows,
    bootstrap,
    measured,
    measured_many,
    proportion,
    resample,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (0, 20, 0.0, 0.1611), (15, 30, 0.3315, 0.6685)],  # the first: Newcombe 1998, table I
)
def test_wilson_interval(right: int, count: int, low: float, high: float) -> None:
    assert wilson_interval(right, count) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@pytest.mark.parametrize(("right", "count"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_interval_of_nothing(right: int, count: int) -> None:
    with pytest.raises(ValueError, match="no proportion"):
        wilson_interval(right, count)


def test_the_interval_of_a_mean_is_the_one_of_theory() -> None:
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap(lambda rows: float(values[rows].mean()), None, 400, resamples=4000)
    assert found is not None
    spread = 1.959964 * values.std() / math.sqrt(400)
    assert found == (pytest.approx(values.mean() - spread, abs=0.01), pytest.approx(values.mean() + spread, abs=0.01))


def test_copies_of_a_picture_do_not_narrow_the_interval() -> None:
    """Four pictures per patient, all alike, say no more than one: the interval by patient stays as wide."""
    hits = np.random.default_rng(1).random(100) < 0.7
    one = proportion(hits, None)
    four = proportion(np.repeat(hits, 4), [str(row // 4) for row in range(400)])
    taken_apart = proportion(np.repeat(hits, 4), None)
    assert (four.value, four.n, four.low, four.high) == (one.value, 400, one.low, one.high)
    assert taken_apart.high - taken_apart.low == pytest.approx((one.high - one.low) / 2, rel=0.1)  # type: ignore[operator]


def test_resamples_take_whole_patients_and_rows_without_one_stand_alone() -> None:
    groups = ["a", "", "b", "a", "", "b", "b"]
    seen: list[Rows] = []

    def look(rows: Rows) -> np.ndarray:
        seen.append(rows)
        return np.array([float(len(rows))])

    drawn = resample(look, groups, 7, resamples=200)
    assert drawn is not None and drawn.shape == (200, 1)
    for rows in seen:
        times = np.bincount(rows, minlength=7)
        assert times[0] == times[3] and times[2] == times[5] == times[6]
    assert any(np.bincount(rows, minlength=7)[1] != np.bincount(rows, minlength=7)[4] for rows in seen)


def test_the_seed_decides() -> None:
    values = np.random.default_rng(2).random(50)
    first, again, other = (bootstrap(lambda rows: float(values[rows].mean()), None, 50, seed) for seed in (0, 0, 1))
    assert first == again != other


def test_undefined_resamples_are_left_out_and_counted() -> None:
    """Two of twenty rows count: the statistic has no value where a resample misses both, (18/20)^20 = 12 % of them."""
    special = np.arange(20) < 2

    def share(rows: Rows) -> float | None:
        return float(rows[special[rows]].mean()) if special[rows].any() else None

    figure = measured(share, None, 20, "no special row")
    assert figure.value == 0.5 and figure.low is not None
    missing = int(figure.note.split()[2])
    assert 80 < missing < 160 and figure.note.endswith("of 1000 resamples, which are left out")


def test_too_many_undefined_resamples_leave_no_interval() -> None:
    """One row of twenty counts: 36 % of the resamples miss it."""

    def found(rows: Rows) -> float | None:
        return 1.0 if (rows == 0).any() else float("nan")

    figure = measured(found, None, 20, "row 0 is not there")
    assert figure.value == 1.0 and figure.low is None
    assert figure.note.startswith("no interval: undefined in 3")
    assert bootstrap(found, None, 20) is None


def test_undefined_on_all_rows_and_no_rows() -> None:
    assert str(measured(lambda rows: None, None, 9, "nothing to see")) == "undefined (nothing to see, n 9)"
    empty = measured(lambda rows: 1 / 0, None, 0, "nothing to see")
    assert (empty.value, empty.n, empty.note) == (None, 0, "no case to measure it on")
    assert bootstrap(lambda rows: 1 / 0, [], 0) is None


def test_one_patient_has_a_value_and_no_interval() -> None:
    figure = measured(lambda rows: float(rows.mean()), ["p"] * 5, 5, "")
    assert (figure.value, figure.low) == (2.0, None)
    assert figure.note == "no interval: all cases are of one patient or lesion"
    assert proportion([True, False], ["p", "p"]).note == figure.note


def test_a_share_of_all_or_none_has_wilsons_interval_over_patients() -> None:
    all_right = proportion([True] * 40, [str(row // 2) for row in range(40)])
    assert (all_right.low, all_right.high) == wilson_interval(20, 20)
    assert "20 patients" in all_right.note
    none_right = proportion([False] * 20, None)
    assert (none_right.value, none_right.low, none_right.high) == (0.0, *wilson_interval(0, 20))
    assert proportion([], None).value is None


def test_metrics_together_share_their_resamples() -> None:
    values = np.random.default_rng(3).random(30)
    alone = measured(lambda rows: float(values[rows].mean()), None, 30, "")
    both = measured_many(lambda rows: np.array([values[rows].mean(), np.nan]), None, 30, ["", "never"])
    assert both[0] == alone and both[1].note == "never"


def test_a_metric_that_resampling_lowers_is_moved_back() -> None:
    """A resample has 63 % of the different rows: unmoved percentiles would lie far below the value of 100 %."""
    figure = measured(lambda rows: len(np.unique(rows)) / 100, None, 100, "")
    assert figure.value == 1.0 and figure.high == 1.0 and figure.low is not None and figure.low > 0.9


def test_groups_are_one_for_each_row() -> None:
    with pytest.raises(ValueError, match="3 groups were given for 4 rows"):
        bootstrap(lambda rows: 1.0, ["a", "b", "c"], 4)


def test_the_interval_covers_the_truth_as_often_as_it_says_by_patient_and_not_by_picture() -> None:
    """200 studies of 60 patients with five alike pictures each, the true share 0.6."""
    random = np.random.default_rng(4)
    patients = [str(row // 5) for row in range(300)]
    covered = {"by patient": 0, "by picture": 0}
    for _ in range(200):
        hits = np.repeat(random.random(60) < 0.6, 5)
        for name, groups in (("by patient", patients), ("by picture", None)):
            figure = proportion(hits, groups)
            covered[name] += figure.low <= 0.6 <= figure.high  # type: ignore[operator]
    assert 180 <= covered["by patient"] <= 200  # 190 expected
    assert covered["by picture"] < 150
