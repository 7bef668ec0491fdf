"""Paired tests against hand-worked and published cases."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from skingpt4.evaluation.figures.diagnosis import Diagnoses
from skingpt4.evaluation.figures.paired import mcnemar, paired_bootstrap


def answers(both: int, only_first: int, only_second: int, neither: int) -> tuple[list[bool], list[bool]]:
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return first, second


def test_mcnemar_by_hand() -> None:
    """One case for the first run alone, five for the second: 2 (1 + 6) / 2^6 of the coin tosses are as uneven."""
    found = mcnemar(*answers(10, 1, 5, 4))
    assert (found.only_first, found.only_second) == (1, 5)
    assert found.p_value == pytest.approx(14 / 64)
    assert found.difference.value == pytest.approx(-4 / 20) and found.difference.n == 20


def test_mcnemar_of_a_published_table() -> None:
    """Agresti 1990, prime minister's approval: 794, 150, 86, 570 of 1600; the exact test is the binomial one."""
    found = mcnemar(*answers(794, 150, 86, 570))
    assert found.p_value == pytest.approx(binomtest(86, 236).pvalue)
    assert found.p_value == pytest.approx(3.7e-5, rel=0.02)
    assert found.difference.value == pytest.approx(0.04)
    assert found.difference.low == pytest.approx(0.021, abs=0.003)  # Agresti's interval: 0.021 to 0.059
    assert found.difference.high == pytest.approx(0.059, abs=0.003)


def test_equal_runs_do_not_differ() -> None:
    first, _ = answers(5, 5, 0, 0)
    found = mcnemar(first, first)
    assert (found.p_value, found.difference.value) == (1.0, 0.0)
    right = np.array(first)
    metric = lambda rows: float(right[rows].mean())  # noqa: E731
    assert paired_bootstrap(metric, metric, None, 10).p_value == 1.0


def test_mcnemar_says_that_it_does_not_know_patients() -> None:
    first, second = answers(10, 2, 6, 2)
    patients = [str(row // 2) for row in range(20)]
    assert "of one patient for independent" in mcnemar(first, second, patients).difference.note
    assert mcnemar(first, second, [str(row) for row in range(20)]).difference.note == ""
    assert mcnemar(first, second, [""] * 20).difference.note == ""


def test_the_bootstrap_finds_a_difference_that_is_there_and_none_that_is_not() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 150)
    noise = random.normal(size=(150, 3))
    good, bad, like_bad = (
        Diagnoses.from_scores(truth, scores, "abc").metric("macro_auroc")
        for scores in (noise + 2 * np.eye(3)[truth], noise, random.normal(size=(150, 3)))
    )
    there = paired_bootstrap(good, bad, None, 150)
    assert there.p_value == pytest.approx(2 / 1001)  # no resample is on the other side
    assert there.difference.low is not None and there.difference.low > 0.2
    rows = np.arange(150)
    assert there.difference.value == pytest.approx(good(rows) - bad(rows))  # type: ignore[operator]
    absent = paired_bootstrap(like_bad, bad, None, 150)
    assert absent.p_value is not None and absent.p_value > 0.05
    back = paired_bootstrap(bad, good, None, 150)
    assert back.difference.high is not None and back.difference.high < -0.2 and back.p_value == there.p_value


def test_pairing_is_what_makes_it_sharp() -> None:
    """The second run equals the first but for five cases: its interval is far narrower than those of the runs."""
    right = np.random.default_rng(1).random(200) < 0.5
    other = right.copy()
    other[np.flatnonzero(~right)[:5]] = True
    found = paired_bootstrap(lambda rows: float(other[rows].mean()), lambda rows: float(right[rows].mean()), None, 200)
    low, high = found.difference.low, found.difference.high
    assert low is not None and high is not None and high - low < 0.06 and low > 0


def test_what_cannot_be_compared_says_why() -> None:
    undefined = paired_bootstrap(lambda rows: None, lambda rows: 1.0, None, 5)
    assert (undefined.p_value, undefined.difference.value) == (None, None)
    assert undefined.difference.note == "the metric is undefined for one of the two runs"
    assert paired_bootstrap(lambda rows: 1.0, lambda rows: 0.5, ["p"] * 5, 5).p_value is None
    assert (
        mcnemar([], []).difference.n == paired_bootstrap(lambda rows: 1.0, lambda rows: 1.0, None, 0).difference.n == 0
    )
    with pytest.raises(ValueError, match="the same cases, not 2 and 1"):
        mcnemar([True, False], [True])
    assert json.dumps(mcnemar(*answers(1, 2, 3, 4)).to_dict(), allow_nan=False)
