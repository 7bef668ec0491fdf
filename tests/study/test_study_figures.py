"""Counts that give known percentages and intervals, agreement and tests worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from skingpt4.study.collect import Rating
from skingpt4.study.figures import TOTAL, agree_share, kruskal_wallis, study_figures, wilcoxon
from skingpt4.study.folder import Case, Rater, Study, Text
from skingpt4.study.items import ITEMS
from skingpt4.study.tables import level_table
from skingpt4.study.texts import Answer

# The paper's Figure 4a gives 78.76, 80.63, 83.13, 85.00, 91.88 and 90.62 %: of 160 ratings these counts, of 150 none.
OF_160 = {126: 78.75, 129: 80.625, 133: 83.125, 136: 85.0, 147: 91.875, 145: 90.625}


def small_study(cases: int, raters: int, classes: Sequence[str] = ("",), lay: int = 0) -> Study:
    """One arm; the classes take turns."""
    own = tuple(Case(f"c{n}", f"{n}.png", disease_class=classes[n % len(classes)]) for n in range(cases))
    texts = tuple(Text(f"T{case.id}", case.id, "model") for case in own)
    order = tuple(text.code for text in texts)
    people = [Rater(f"D{n}", "dermatologist", order) for n in range(raters)] + [Rater("L1", "lay", order)] * lay
    return Study("S", "t", "2026-01-01", "0", {}, ("model",), own, texts, tuple(people))


def all_alike(study: Study, levels: Sequence[int]) -> list[Rating]:
    """`levels`, one after the other, for the judgements of all raters; the same level for every item of a text."""
    texts = [(rater, code) for rater in study.raters for code in rater.order]
    return [judgement(rater, code, level) for (rater, code), level in zip(texts, levels, strict=True)]


def judgement(rater: Rater, code: str, level: int) -> Rating:
    return Rating(rater.id, code, {item.key: level for item in ITEMS if item.wording(rater.group)})


@pytest.mark.parametrize(
    ("agree", "n", "low", "high"),
    [
        # Newcombe 1998 (Statistics in Medicine 17:857), Table I, method 3 (Wilson's score without correction).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # 126 of 160 by hand: (0.7875 + 3.8415/320 ± 1.96 √(0.7875 · 0.2125/160 + 3.8415/102400)) / (1 + 3.8415/160)
        (126, 160, 0.7178, 0.8438),
    ],
)
def test_known_counts_give_known_intervals(agree: int, n: int, low: float, high: float):
    figure = agree_share([n - agree, 0, 0, agree // 2, agree - agree // 2])
    assert (figure.value, figure.n) == (agree / n, n)
    assert figure.low == pytest.approx(low, abs=6e-5) and figure.high == pytest.approx(high, abs=6e-5)


def test_the_papers_percentages_come_back_with_their_true_n():
    study = small_study(cases=160, raters=1)
    for agree, percent in OF_160.items():
        levels = [5] * (agree - 9) + [4] * 9 + [3] * 4 + [1] * (160 - agree - 4)
        figures = study_figures(study, all_alike(study, levels), {})
        assert len(figures.items) == 7
        for row in figures.items:
            assert row.counts == (160 - agree - 4, 0, 4, 9, agree - 9)
            assert row.agree.value == pytest.approx(percent / 100) and row.agree.n == 160
        if agree == 126:
            full = level_table(figures.items)
            assert full.rows[0][3:] == ("30", "0", "4", "9", "117", "160", "126", "0.7875", "0.7178", "0.8438")
    of_150 = {round(100 * count / 150, 2) for count in range(151)}
    assert of_150 & {78.75, 80.63, 83.13, 91.88, 90.63} == set()


def test_lay_users_are_asked_two_items_and_counted_apart():
    study = small_study(cases=4, raters=1, classes=("a", "b"), lay=1)
    figures = study_figures(study, all_alike(study, [5, 1, 5, 1, 2, 4, 2, 4]), {})
    by = {(row.item, row.group): row.counts for row in figures.items}
    assert by["useful", "dermatologist"] == (2, 0, 0, 0, 2) and by["useful", "lay"] == (0, 2, 0, 2, 0)
    assert {item for item, group in by if group == "lay"} == {"useful", "helps_patients"}
    of_class = {(row.disease_class, row.group): row.agree for row in figures.classes if row.item == "useful"}
    assert {key: figure.value for key, figure in of_class.items()} == {
        ("a", "dermatologist"): 1, ("b", "dermatologist"): 0, ("a", "lay"): 0, ("b", "lay"): 1
    }  # fmt: skip


def test_raters_that_agree_or_contradict_each_other():
    study = small_study(cases=10, raters=2)
    levels = [1, 2, 3, 4, 5] * 2
    same = study_figures(study, all_alike(study, levels * 2), {}).agreement
    assert all(row.alpha.value == pytest.approx(1) and row.kappas["D0-D1"].value == pytest.approx(1) for row in same)
    inverted = study_figures(study, all_alike(study, levels + [6 - level for level in levels]), {}).agreement
    assert all(row.alpha.value is not None and row.alpha.value < -0.8 for row in inverted)
    # Σ(a-b)² = 2 · (16 + 4 + 0 + 4 + 16) = 80 observed; 10 · 4 = 40 where nothing but the margins counts: 1 - 80/40
    assert all(row.kappas["D0-D1"].value == pytest.approx(-1) for row in inverted)


def test_what_cannot_be_measured_says_why():
    study = small_study(cases=3, raters=1)
    figures = study_figures(study, [], {})
    assert all(row.agree.value is None and row.agree.note == "no rating" and row.agree.n == 0 for row in figures.items)
    assert all(row.alpha.value is None and row.alpha.note for row in figures.agreement)
    assert figures.times == () and figures.raters == {"D0": 0} and figures.expected == {"D0": 3}


def test_kruskal_wallis_by_hand():
    # Rank sums 6, 15, 24: H = 12/(9·10) · (36 + 225 + 576)/3 - 3·10 = 7.2; with two degrees of freedom p = e^(-H/2)
    outcome = kruskal_wallis("?", {"a": [1, 2, 3], "b": [4, 5, 6], "c": [7, 8, 9]})
    assert outcome.statistic == pytest.approx(7.2) and outcome.p == pytest.approx(math.exp(-3.6)) and outcome.n == 9
    assert "two groups" in kruskal_wallis("?", {"a": [1, 2]}).note
    assert kruskal_wallis("?", {"a": [1, 1], "b": [1, 1]}).note == "all values are equal"
    assert kruskal_wallis("?", {"a": [1, 2], "b": [3]}).p is None
    apart = kruskal_wallis("?", {"a": [1, 2, 3], "b": [4, 5, 6], "c": [7, 8, 9], "d": [5]})
    assert (apart.statistic, apart.n, apart.note) == (outcome.statistic, 9, "without d: a single value")


def test_wilcoxon_by_hand():
    # Five differences of one sign: 2 of the 2^5 signs are as extreme.
    outcome = wilcoxon("?", np.array([[5.0, 1], [4, 2], [5, 4.5], [3, 1.5], [5, 2]]))
    assert outcome.statistic == 0 and outcome.p == pytest.approx(2 / 32) and outcome.n == 5
    assert wilcoxon("?", np.ones((4, 2))).p is None and wilcoxon("?", np.ones((0, 2))).note


def test_response_times_per_prompt_and_between_classes():
    study = small_study(cases=9, raters=1, classes=("a", "b", "c"))
    answers = {
        (case.id, "model"): Answer(case.id, "model", {}, {"picture": 0.5, "cause": 3 * (n % 3) + n // 3 + 1.0})
        for n, case in enumerate(study.cases)
    }
    figures = study_figures(study, [], answers)
    total, picture, cause = figures.times
    assert (total.prompt, picture.prompt, cause.prompt) == (TOTAL, "picture", "cause")
    assert sorted(total.seconds) == [n + 1.5 for n in range(9)] and total.median.value == 5.5
    assert cause.median.value == 5 and cause.quartiles() == (3, 7)
    (test,) = figures.time_tests
    assert test.name == "Kruskal-Wallis" and test.statistic == pytest.approx(7.2)
