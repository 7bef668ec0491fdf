"""Diagnosis figures against hand-worked cases, scikit-learn, and models whose figures are known beforehand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from skingpt4.evaluation.figures.diagnosis import ANSWERED, SCORED, Diagnoses

NAMES = ("acne", "eczema", "psoriasis", "melanoma", "urticaria", "herpes")


def one_hot(columns: np.ndarray, sign: float = 1.0) -> np.ndarray:
    return sign * np.eye(len(NAMES))[columns] + np.linspace(0, 0.01, len(NAMES))


def test_by_hand() -> None:
    """Four cases, three diagnoses. Given: a a b c for the truth a b b c."""
    scores = np.log([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.2, 0.7, 0.1], [0.2, 0.2, 0.6]])
    diagnoses = Diagnoses.from_scores([0, 1, 1, 2], scores, ["a", "b", "c"])
    figures = diagnoses.figures()
    headline = {name: figure.value for name, figure in figures.headline.items()}
    assert figures.confusion.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert headline["top_1"] == 0.75
    assert headline["balanced_accuracy"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert headline["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    # a: 0.7 against 0.5 0.2 0.2 -> 3 of 3. b: 0.4, 0.7 against 0.2, 0.2 -> 4 of 4. c: 1.
    assert headline["macro_auroc"] == 1.0
    a, b, _ = figures.per_class
    assert (a.n, a.precision.value, a.recall.value, a.specificity.value) == (1, 0.5, 1.0, pytest.approx(2 / 3))
    assert (b.n, b.precision.value, b.recall.value, b.specificity.value) == (2, 1.0, 0.5, 1.0)
    assert (a.precision.n, a.recall.n, a.specificity.n) == (2, 1, 3)
    assert headline["top_3"] is None
    assert figures.headline["top_3"].note == "only 3 diagnoses to choose from: the true one is always among them"


@given(st.integers(0, 2**32 - 1), st.integers(12, 80), st.booleans())
@settings(max_examples=40, deadline=None)
def test_as_scikit_learn(seed: int, n: int, ties: bool) -> None:
    random = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(6), random.integers(0, 6, n - 6)])
    scores = random.normal(size=(n, 6))
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    if ties:  # AUROC alone: libraries break ties of the first place each in their own way
        probabilities = probabilities.round(1)
    diagnoses = Diagnoses.from_scores(truth, probabilities, NAMES)
    found = {name: diagnoses.metric(name)(np.arange(n)) for name in SCORED}
    each = [sk.roc_auc_score(truth == column, probabilities[:, column]) for column in range(6)]
    assert found["macro_auroc"] == pytest.approx(np.mean(each), abs=1e-12)
    given_ = probabilities.argmax(axis=1)
    assert found["top_1"] == pytest.approx(sk.accuracy_score(truth, given_))
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, given_))
    assert found["macro_f1"] == pytest.approx(sk.f1_score(truth, given_, average="macro", zero_division=0))
    assert (diagnoses.confusion()[:, :6] == sk.confusion_matrix(truth, given_, labels=range(6))).all()
    if not ties:
        for name, top in (("top_1", 1), ("top_3", 3), ("top_5", 5)):
            assert found[name] == pytest.approx(sk.top_k_accuracy_score(truth, probabilities, k=top, labels=range(6)))
        assert found["macro_auroc"] == pytest.approx(sk.roc_auc_score(truth, probabilities, multi_class="ovr"))


def test_per_class_as_scikit_learn() -> None:
    random = np.random.default_rng(3)
    truth, scores = random.integers(0, 6, 120), random.normal(size=(120, 6))
    figures = Diagnoses.from_scores(truth, scores, NAMES).figures()
    given_ = scores.argmax(axis=1)
    precision, recall, f1, n = sk.precision_recall_fscore_support(truth, given_, labels=range(6))
    for column, found in enumerate(figures.per_class):
        values = (found.precision.value, found.recall.value, found.f1.value, found.auroc.value, found.n)
        auroc = sk.roc_auc_score(truth == column, scores[:, column])
        assert values == pytest.approx((precision[column], recall[column], f1[column], auroc, n[column]))
        specificity = sk.recall_score(truth != column, given_ != column)
        assert found.specificity.value == pytest.approx(specificity)


def test_a_perfect_a_random_and_an_inverted_model() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 6, 600)
    perfect, inverted, chance = (
        Diagnoses.from_scores(truth, scores, NAMES).figures().headline
        for scores in (one_hot(truth), one_hot(truth, -1.0), random.normal(size=(600, 6)))
    )
    assert [figure.value for figure in perfect.values()] == [1.0] * 6
    assert [figure.value for figure in inverted.values()] == [0.0] * 6
    for name, expected in zip(SCORED, (1 / 6, 3 / 6, 5 / 6, 1 / 6, 1 / 6, 0.5), strict=True):
        low, high = chance[name].low, chance[name].high
        assert low is not None and high is not None and low - 0.02 < expected < high + 0.02, name
        assert chance[name].value == pytest.approx(expected, abs=0.06)


def test_a_perfect_model_on_few_cases_is_not_certain() -> None:
    truth = np.arange(6)
    top = Diagnoses.from_scores(truth, one_hot(truth), NAMES).figures().headline["top_1"]
    assert top.value == 1.0 and top.low == pytest.approx(0.6097, abs=1e-4)  # Wilson, 6 of 6


def test_a_missing_class_is_undefined_and_not_zero() -> None:
    truth = np.repeat([0, 1, 2, 3], 10)  # no urticaria, no herpes
    scores = np.random.default_rng(1).normal(size=(40, 6))
    figures = Diagnoses.from_scores(truth, scores, NAMES).figures()
    urticaria = figures.per_class[4]
    assert urticaria.n == 0
    for figure in (urticaria.recall, urticaria.f1, urticaria.auroc):
        assert (figure.value, figure.note) == (None, "no case has it")
    assert urticaria.specificity.value is not None and urticaria.specificity.n == 40
    recalls = [found.recall.value for found in figures.per_class[:4]]
    macro = figures.headline["balanced_accuracy"]
    assert macro.value == pytest.approx(np.mean(recalls))  # type: ignore[arg-type]
    assert "over the 4 diagnoses with cases; no case of urticaria, herpes" in macro.note


def test_cases_of_one_class_have_an_accuracy_and_no_balance() -> None:
    headline = Diagnoses.from_scores([2] * 8, one_hot(np.array([2, 2, 2, 2, 2, 2, 0, 0])), NAMES).figures().headline
    assert headline["top_1"].value == 0.75
    for name in ("balanced_accuracy", "macro_f1", "macro_auroc"):
        assert (headline[name].value, headline[name].n) == (None, 8)
        assert headline[name].note == "all cases are of one diagnosis, psoriasis"


def test_an_empty_split_is_undefined() -> None:
    for figures in (
        Diagnoses.from_scores([], np.empty((0, 6)), NAMES).figures(),
        Diagnoses.from_answers([], [], NAMES).figures([]),
    ):
        for figure in figures.headline.values():
            assert (figure.value, figure.n, figure.note) == (None, 0, "no case to measure it on")
        assert figures.confusion.sum() == 0 and [found.n for found in figures.per_class] == [0] * 6
        assert json.dumps(figures.to_dict(), allow_nan=False)


def test_text_answers_that_name_none_are_wrong_and_counted() -> None:
    """Truth a a b b; the answers name a, none, b, a."""
    figures = Diagnoses.from_answers([0, 0, 1, 1], [0, -1, 1, 0], ["a", "b"]).figures()
    assert tuple(figures.headline) == ANSWERED
    assert figures.headline["top_1"].value == 0.5 and figures.headline["named"].value == 0.75
    assert figures.columns == ["a", "b", "none or several"]
    assert figures.confusion.tolist() == [[1, 0, 1], [1, 1, 0]]
    a, b = figures.per_class
    assert (a.precision.value, a.recall.value, b.precision.value, b.recall.value) == (0.5, 0.5, 1.0, 0.5)
    assert a.auroc.value is None and "names one diagnosis" in a.auroc.note


def test_the_answers_of_a_perfect_ranking_give_its_accuracy() -> None:
    random = np.random.default_rng(5)
    truth, scores = random.integers(0, 6, 60), random.normal(size=(60, 6))
    scored = Diagnoses.from_scores(truth, scores, NAMES).figures()
    answered = Diagnoses.from_answers(truth, scores.argmax(axis=1), NAMES).figures()
    for name in ("top_1", "balanced_accuracy", "macro_f1"):
        assert scored.headline[name] == answered.headline[name]


def test_two_diagnoses() -> None:
    figures = Diagnoses.from_scores([0, 0, 1, 1], [[2, 1], [0, 1], [0, 1], [1, 3]], ["nevus", "melanoma"]).figures()  # type: ignore[arg-type]
    assert figures.headline["top_1"].value == 0.75 and figures.headline["top_3"].value is None
    assert figures.per_class[1].recall.value == 1.0


def test_a_constant_score_gains_nothing() -> None:
    """Ties must not count as hits: the first column is given to every case."""
    headline = Diagnoses.from_scores(np.repeat(np.arange(6), 5), np.zeros((30, 6)), NAMES).figures().headline
    values = {name: figure.value for name, figure in headline.items()}
    assert (values["top_1"], values["top_3"], values["macro_auroc"]) == (pytest.approx(1 / 6), 0.5, 0.5)


def test_impossible_scores_are_allowed_and_nan_is_not() -> None:
    scores = np.array([[0.0, -math.inf], [-math.inf, 0.0]])
    assert Diagnoses.from_scores([0, 1], scores, ["a", "b"]).figures().headline["macro_auroc"].value == 1.0
    with pytest.raises(ValueError, match="NaN"):
        Diagnoses.from_scores([0, 1], np.full((2, 2), np.nan), ["a", "b"])


@pytest.mark.parametrize(("truth", "message"), [([0, 6], "from 0 to 5"), ([-1, 0], "from 0 to 5"), ([0], "1 cases")])
def test_truth_outside_the_list_is_refused(truth: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Diagnoses.from_scores(truth, np.zeros((2, 6)), NAMES)


def test_intervals_are_by_patient() -> None:
    random = np.random.default_rng(7)
    truth = random.integers(0, 6, 60)
    scores = one_hot(np.where(random.random(60) < 0.6, truth, random.integers(0, 6, 60)))
    single = Diagnoses.from_scores(truth, scores, NAMES).figures().headline["macro_f1"]
    rows = np.repeat(np.arange(60), 4)
    copied = Diagnoses.from_scores(truth[rows], scores[rows], NAMES).figures([str(row) for row in rows])
    fourfold = copied.headline["macro_f1"]
    assert (fourfold.value, fourfold.low, fourfold.high) == pytest.approx((single.value, single.low, single.high))
