"""Calibration, against hand-worked cases, scikit-learn and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from skingpt4.evaluation.figures.calibration import (
    BINS,
    METRICS,
    calibration_figures,
    calibration_metric,
    fit_temperature,
    probabilities,
    reliability_bins,
)


def drawn(n: int, seed: int, classes: int = 5, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Log scores, and truths drawn from their softmax: at sharpness 1 they are calibrated, above over-confident."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, classes))
    truth = (probabilities(logits).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return logits * sharpness, truth


def test_by_hand() -> None:
    # Two cases at 0.9 (one right), two at 0.6 (both right): |0.9 - 0.5| * 2/4 + |0.6 - 1| * 2/4 = 0.4.
    probability = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    figures = calibration_figures(probability, np.array([0, 1, 0, 1]))
    assert figures["ece"].value == pytest.approx(0.4)
    # Brier, both columns: 2 * (0.1^2 + 0.9^2 + 0.4^2 + 0.4^2) / 4.
    assert figures["brier"].value == pytest.approx(2 * (0.01 + 0.81 + 0.16 + 0.16) / 4)
    assert figures["log_loss"].value == pytest.approx(-np.log(0.9 * 0.1 * 0.6 * 0.6) / 4)
    assert (figures["confidence"].value, figures["accuracy"].value) == (pytest.approx(0.75), 0.75)
    assert {figure.n for figure in figures.values()} == {4}
    bins = reliability_bins(probability, np.array([0, 1, 0, 1]))
    assert len(bins) == BINS == 15
    filled = {(round(one.low, 3), round(one.high, 3)): one for one in bins if one.n}
    assert set(filled) == {(0.867, 0.933), (0.533, 0.6)}  # closed above: 0.6 = 9/15 is in the ninth
    assert filled[0.867, 0.933].accuracy.value == 0.5 and filled[0.867, 0.933].confidence.value == pytest.approx(0.9)
    assert bins[0].accuracy.value is None and bins[0].accuracy.note and bins[0].n == 0


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 60), classes=st.integers(2, 15))
def test_equal_to_the_libraries_on_random_scores(seed: int, n: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    probability, truth = probabilities(rng.normal(0, 2, (n, classes))), rng.integers(0, classes, n)
    figures = calibration_figures(probability, truth)
    theirs = multiclass_calibration_error(
        torch.from_numpy(probability), torch.from_numpy(truth), num_classes=classes, n_bins=BINS
    )
    assert figures["ece"].value == pytest.approx(theirs.item(), abs=1e-6)
    labels = list(range(classes))
    assert figures["log_loss"].value == pytest.approx(log_loss(truth, probability, labels=labels))
    assert figures["brier"].value == pytest.approx(
        brier_score_loss(truth, probability, labels=labels, scale_by_half=False)
    )
    bins = reliability_bins(probability, truth)
    assert sum(one.n for one in bins) == n
    gaps = [abs(one.accuracy.value - one.confidence.value) * one.n for one in bins if one.n]  # type: ignore[operator]
    assert figures["ece"].value == pytest.approx(sum(gaps) / n)


def test_perfect_uniform_and_inverted_models() -> None:
    truth = np.tile(np.arange(4), 10)
    perfect = calibration_figures(np.eye(4)[truth], truth)
    assert (perfect["ece"].value, perfect["brier"].value, perfect["log_loss"].value) == (0, 0, 0)
    uniform = calibration_figures(np.full((40, 4), 0.25), truth)
    assert (uniform["ece"].value, uniform["brier"].value) == (0, pytest.approx(0.75))
    assert uniform["log_loss"].value == pytest.approx(np.log(4))
    inverted = calibration_figures(np.eye(4)[(truth + 1) % 4], truth)
    assert (inverted["ece"].value, inverted["brier"].value, inverted["accuracy"].value) == (1, 2, 0)
    assert inverted["log_loss"].value is not None and inverted["log_loss"].value > 700  # large, and still a number


def test_a_calibrated_model_shows_the_error_that_it_is_told_to_show() -> None:
    scores, truth = drawn(300, seed=1)
    calibrated, sharp = (calibration_figures(probabilities(scores * by), truth) for by in (1, 3))
    expected = calibrated["ece_if_calibrated"]
    assert calibrated["ece"].value is not None and sharp["ece"].value is not None
    assert expected.low is not None and expected.high is not None
    assert 0.01 < expected.low < calibrated["ece"].value < expected.high  # not 0, though nothing is wrong
    wrong = sharp["ece_if_calibrated"].high
    assert wrong is not None and sharp["ece"].value > wrong
    assert sharp["confidence"].value > sharp["accuracy"].value  # type: ignore[operator]


@pytest.mark.parametrize("sharpness", [0.5, 3.0, 40.0])
def test_the_temperature_is_found_and_mends_the_calibration_of_other_cases(sharpness: float) -> None:
    temperature = fit_temperature(*drawn(400, seed=2, sharpness=sharpness))
    assert temperature.value is not None and temperature.low is not None and temperature.high is not None
    assert temperature.value == pytest.approx(sharpness, rel=0.25)
    assert temperature.low < sharpness < temperature.high
    scores, truth = drawn(400, seed=3, sharpness=sharpness)
    before, after = (calibration_figures(probabilities(scores, by), truth) for by in (1.0, temperature.value))
    for name in ("ece", "brier", "log_loss"):
        assert after[name].value < before[name].value  # type: ignore[operator]
    assert after["accuracy"].value == before["accuracy"].value


def test_the_temperature_is_the_minimum_of_the_loss() -> None:
    scores, truth = drawn(60, seed=4, sharpness=2)
    best = fit_temperature(scores, truth).value
    assert best is not None
    losses = [log_loss(truth, probabilities(scores, best * by), labels=range(5)) for by in (0.98, 1, 1.02)]
    assert losses[1] < min(losses[0], losses[2])


def test_where_no_temperature_is_best_it_says_why() -> None:
    truth = np.tile(np.arange(3), 6)
    right = np.eye(3)[truth]
    assert "every validation case is right" in fit_temperature(right, truth).note
    assert "every validation case is right" in fit_temperature(right * 1000, truth).note  # the loss is flat, not least
    inverted = fit_temperature(-right, truth)
    assert (inverted.value, inverted.n) == (None, 18) and "even odds" in inverted.note
    empty = fit_temperature(np.empty((0, 3)), np.empty(0))
    assert (empty.value, empty.n) == (None, 0) and empty.note


def test_a_metric_of_some_rows_is_that_of_these_cases_alone() -> None:
    scores, truth = drawn(40, seed=6)
    rows = np.array([3, 3, 17, 20, 39])
    for name in METRICS:
        alone = calibration_figures(probabilities(scores[rows]), truth[rows])[name]
        assert calibration_metric(name, probabilities(scores), truth)(rows) == pytest.approx(alone.value)
    with pytest.raises(ValueError, match="none of ece, brier"):
        calibration_metric("accuracy", probabilities(scores), truth)


def test_an_empty_split_is_undefined_everywhere() -> None:
    for figure in calibration_figures(np.empty((0, 3)), np.empty(0)).values():
        assert (figure.value, figure.n) == (None, 0) and figure.note
    assert all(one.n == 0 and one.accuracy.value is None for one in reliability_bins(np.empty((0, 3)), np.empty(0)))


def test_patients_are_resampled_whole() -> None:
    scores, truth = drawn(50, seed=5)
    probability, patients = probabilities(scores), [f"patient {row}" for row in range(50) for _ in range(4)]
    alone = calibration_figures(probability, truth)["brier"]
    fourfold = calibration_figures(probability.repeat(4, axis=0), truth.repeat(4), patients)["brier"]
    assert fourfold.n == 200
    assert (fourfold.low, fourfold.high) == (pytest.approx(alone.low), pytest.approx(alone.high))


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        calibration_figures(np.array([[0.5, 0.6]]), np.array([0]))
    with pytest.raises(ValueError, match="from 0 to 1"):
        calibration_figures(np.array([[0.5, 0.5]]), np.array([2]))
    with pytest.raises(ValueError, match=r"\[n, K\]"):
        fit_temperature(np.ones((3, 2)), np.zeros(4, dtype=int))
    with pytest.raises(ValueError, match="finite"):
        fit_temperature(np.full((3, 2), np.nan), np.zeros(3, dtype=int))
    with pytest.raises(ValueError, match="above 0"):
        probabilities(np.ones((1, 2)), 0)
