"""Conformal sets, against hand-worked cases and MAPIE."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from skingpt4.evaluation.figures.calibration import probabilities
from skingpt4.evaluation.figures.conformal import conformal_figures, fit_conformal


def drawn(n: int, seed: int, classes: int = 5, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, classes))
    truth = (probabilities(logits).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return probabilities(logits * sharpness), truth


class Given(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose probabilities are its inputs."""

    def __init__(self, classes: int = 0) -> None:
        self.classes = classes

    def fit(self, X: np.ndarray, y: np.ndarray) -> Given:
        self.classes_ = np.arange(self.classes)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return X

    def predict(self, X: np.ndarray) -> np.ndarray:
        return X.argmax(axis=1)


def test_by_hand() -> None:
    # Nine validation cases, their truth at 0.1 .. 0.9; 80 % promised: rank (9 + 1) * 0.8 = 8, so 0.2 is let in.
    of_truth = np.arange(1, 10) / 10
    probability = np.stack([of_truth, 1 - of_truth], axis=1)
    fitted = fit_conformal(probability, np.zeros(9, dtype=int), coverage=0.8)
    assert (fitted.probability, fitted.n, fitted.note) == (pytest.approx(0.2), 9, "")
    sets = fitted.sets(np.array([[0.5, 0.5], [0.9, 0.1], [0.15, 0.85]]))
    assert sets.tolist() == [[True, True], [True, False], [False, True]]
    figures = conformal_figures(sets, np.array([0, 0, 0]), ["a", "b"])
    assert figures.coverage.value == pytest.approx(2 / 3)
    assert figures.size.value == pytest.approx(4 / 3)
    assert (figures.empty.value, figures.single.value) == (0, pytest.approx(2 / 3))
    assert figures.per_class["a"].value == pytest.approx(2 / 3)
    assert (figures.per_class["b"].value, figures.per_class["b"].n) == (None, 0) and figures.per_class["b"].note


@pytest.mark.parametrize(("coverage", "seed"), [(0.8, 0), (0.9, 1), (0.95, 2)])
def test_the_sets_are_those_of_mapie(coverage: float, seed: int) -> None:
    mapie = pytest.importorskip("mapie.classification")
    validation, truth = drawn(97, seed)
    test, _ = drawn(60, seed + 10)
    theirs = mapie.SplitConformalClassifier(Given(5).fit(validation, truth), confidence_level=coverage, prefit=True)
    theirs.conformalize(validation, truth)
    _, sets = theirs.predict_set(test)
    assert (fit_conformal(validation, truth, coverage).sets(test) == sets[:, :, 0]).all()


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 5.0])
def test_the_promise_holds_for_any_model(sharpness: float) -> None:
    # On average over validation sets, and not by much more: between 0.9 and 0.9 + 1 / (n + 1).
    covered = []
    test, labels = drawn(4000, 99, sharpness=sharpness)
    for seed in range(60):
        sets = fit_conformal(*drawn(100, seed, sharpness=sharpness), coverage=0.9).sets(test)
        covered.append(sets[np.arange(4000), labels].mean())
    assert np.mean(covered) == pytest.approx(0.905, abs=0.012)


def test_a_perfect_model_has_sets_of_one_and_a_knowing_nothing_one_has_everything() -> None:
    truth = np.tile(np.arange(4), 25)
    perfect = fit_conformal(np.eye(4)[truth], truth).sets(np.eye(4)[truth])
    figures = conformal_figures(perfect, truth, list("abcd"))
    assert (figures.coverage.value, figures.size.value, figures.single.value) == (1, 1, 1)
    assert figures.coverage.low is not None and 0.9 < figures.coverage.low < 1  # 100 of 100 is no proof
    uniform = np.full((100, 4), 0.25)
    assert conformal_figures(fit_conformal(uniform, truth).sets(uniform), truth, list("abcd")).size.value == 4


def test_too_few_validation_cases_promise_with_everything() -> None:
    probability, truth = drawn(8, 0)
    fitted = fit_conformal(probability, truth, coverage=0.9)
    assert fitted.sets(probability).all() and "90% needs 9 validation cases, there are 8" in fitted.note
    enough = fit_conformal(*drawn(9, 0), coverage=0.9)
    assert enough.note == "" and enough.probability > 0
    assert fit_conformal(np.empty((0, 3)), np.empty(0)).sets(np.full((1, 3), 1 / 3)).all()


def test_sets_may_be_empty_and_say_so() -> None:
    figures = conformal_figures(np.array([[False, False], [True, False]]), np.array([0, 0]), ["a", "b"])
    assert (figures.empty.value, figures.coverage.value, figures.size.value) == (0.5, 0.5, 0.5)


def test_an_empty_split_is_undefined() -> None:
    figures = conformal_figures(np.empty((0, 2), dtype=bool), np.empty(0), ["a", "b"])
    for figure in (figures.coverage, figures.size, figures.empty, figures.single, *figures.per_class.values()):
        assert (figure.value, figure.n) == (None, 0) and figure.note


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        fit_conformal(np.ones((1, 1)), np.zeros(1), coverage=1.0)
    with pytest.raises(ValueError, match="names were given"):
        conformal_figures(np.ones((1, 3), dtype=bool), np.zeros(1), ["a", "b"])
