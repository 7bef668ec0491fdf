"""Whether a probability means what it says: of the cases called 80 % sure, are 80 % right?

Expected calibration error and the reliability diagram (Naeini et al. 2015; Guo et al. 2017) look at the first
diagnosis and its probability, the Brier score (Brier 1950) and the logarithmic loss at all of them. One temperature,
fitted on validation (Guo et al. 2017), divides the log scores; it changes no ranking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.figures.groups import patients_of
from skingpt4.evaluation.figures.intervals import NO_CASE, Rows, Values, measured, measured_many, proportion

BINS = 15
METRICS = ("ece", "brier", "log_loss")  # lower is better
TEMPERATURES = (0.01, 1000.0)  # tried for the best one; log-likelihoods of whole answers may need a high one
SIMULATIONS = 1000  # of a calibrated model


@dataclass(frozen=True)
class ReliabilityBin:
    """The cases whose first diagnosis has a probability above `low` (0-1) and up to `high`.

    confidence: their mean probability, accuracy: the share that is right; both undefined in a bin without cases.
    """

    low: float
    high: float
    confidence: Figure
    accuracy: Figure

    @property
    def n(self) -> int:
        """The bin's cases."""
        return self.accuracy.n


def checked(scores: np.ndarray, truth: np.ndarray) -> tuple[Values, Rows]:
    """The same as float64[n, K] and int[n]. Raises `ValueError` for other shapes, truth outside 0..K-1, NaN."""
    given, true = np.asarray(scores, dtype=np.float64), np.asarray(truth, dtype=np.intp)
    if given.ndim != 2 or true.shape != given.shape[:1]:
        raise ValueError(f"Scores [n, K] and n truths were expected, not {given.shape} and {true.shape}.")
    if len(true) and not (true.min() >= 0 and true.max() < given.shape[1]):
        raise ValueError(f"Truths are numbers from 0 to {given.shape[1] - 1}; got {true.min()} to {true.max()}.")
    if not np.isfinite(given).all():
        raise ValueError("Scores must be finite numbers.")
    return given, true


def probabilities(log_scores: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """float64[n, K] that sum to 1 per row. log_scores: float[n, K], up to a constant per row; temperature: above 0."""
    from scipy.special import softmax

    if not temperature > 0:
        raise ValueError(f"A temperature is above 0, not {temperature}.")
    return np.asarray(softmax(np.asarray(log_scores, dtype=np.float64) / temperature, axis=1))


def fit_temperature(
    log_scores: np.ndarray, truth: np.ndarray, groups: Sequence[str] | None = None, seed: int = 0
) -> Figure:
    """The temperature with the lowest logarithmic loss on validation cases, with its interval.

    log_scores: float[n, K]; truth: int[n], 0..K-1. Undefined where there is no best one: when all cases are right (the
    sharper the better), or when the scores are no better than even odds.
    """
    scores, labels = checked(log_scores, truth)

    relative = scores - scores[np.arange(len(labels)), labels][:, None]

    why = "no best temperature: "
    if len(labels) and (scores.argmax(axis=1) == labels).all():
        why += "every validation case is right, and the lower the temperature the better"
    else:
        why += "on these validation cases the scores are no better than even odds"
    return measured(lambda rows: _best_temperature(relative[rows]), groups, len(labels), why, seed)


def calibration_figures(
    probability: np.ndarray, truth: np.ndarray, groups: Sequence[str] | None = None, seed: int = 0
) -> dict[str, Figure]:
    """`ece`, `ece_if_calibrated`, `brier`, `log_loss`, `confidence` and `accuracy` of the given probabilities.

    probability: float[n, K], rows sum to 1; truth: int[n], 0..K-1. ece: 0-1, over `BINS` bins of equal width; with few
    cases per bin it is above 0 even for a calibrated model, and resampling adds to that, so `ece_if_calibrated` says
    what a model of exactly these confidences would show were they true (consistency resampling, Broecker and Smith
    2007). brier: 0-2, the squared distance summed over the K diagnoses. log_loss: in nats. confidence, accuracy: of the
    first diagnosis; the model is over-confident where the confidence is the larger.
    """
    metrics = [calibration_metric(name, probability, truth) for name in METRICS]
    confidence, right, number = _first(*checked(probability, truth))

    def statistics(rows: Rows) -> Values:
        return np.array([*(metric(rows) for metric in metrics), confidence[rows].mean()])

    ece, brier, log_loss, mean = measured_many(statistics, groups, len(right), [NO_CASE] * 4, seed)
    return {
        "ece": ece,
        "ece_if_calibrated": _ece_if_calibrated(confidence, number, seed),
        "brier": brier,
        "log_loss": log_loss,
        "confidence": mean,
        "accuracy": proportion(right, groups, seed),
    }


def calibration_metric(name: str, probability: np.ndarray, truth: np.ndarray) -> Callable[[Rows], float]:
    """One of `METRICS` as a function of row numbers: for groups of people and paired tests. Arguments as of
    `calibration_figures`.
    """
    chosen, labels = checked(probability, truth)
    if not np.allclose(chosen.sum(axis=1), 1, atol=1e-4) or (chosen < 0).any():
        raise ValueError("Probabilities are 0 or more and sum to 1 in each row.")
    if name == "ece":
        confidence, right, number = _first(chosen, labels)
        return lambda rows: _ece(confidence[rows], right[rows], number[rows])
    if name == "brier":
        each = ((chosen - np.eye(chosen.shape[1])[labels]) ** 2).sum(axis=1)
    elif name == "log_loss":
        # A truth that was given no probability at all would make the mean infinite for good.
        each = -np.log(np.clip(chosen[np.arange(len(labels)), labels], np.finfo(np.float64).tiny, None))
    else:
        raise ValueError(f"{name} is none of {', '.join(METRICS)}.")
    return lambda rows: float(each[rows].mean())


def reliability_bins(
    probability: np.ndarray, truth: np.ndarray, groups: Sequence[str] | None = None, seed: int = 0
) -> list[ReliabilityBin]:
    """The reliability diagram: `BINS` bins of equal width from 0 to 1. Arguments as of `calibration_figures`."""
    confidence, right, number = _first(*checked(probability, truth))
    bins = []
    for index in range(BINS):
        inside = np.flatnonzero(number == index)
        if len(inside):
            mean = Figure(float(confidence[inside].mean()), len(inside))
            accuracy = proportion(right[inside], patients_of(groups, inside), seed)
        else:
            mean = accuracy = Figure.undefined("no case in this bin", 0)
        bins.append(ReliabilityBin(index / BINS, (index + 1) / BINS, mean, accuracy))
    return bins


def _best_temperature(relative: Values) -> float | None:
    """The temperature at which the loss has no slope. relative: float[n, K] log scores less the true diagnosis's."""
    from scipy.optimize import brentq

    largest = relative.max(axis=1, keepdims=True)

    def slope(log_inverse: float) -> float:
        # The loss, the mean of logsumexp(relative / T), is convex in 1/T: its slope there has at most one zero.
        weights = np.exp(np.exp(log_inverse) * (relative - largest))
        return float(((weights * relative).sum(axis=1) / weights.sum(axis=1)).mean())

    low, high = (-np.log(temperature) for temperature in reversed(TEMPERATURES))
    return float(np.exp(-brentq(slope, low, high))) if slope(low) < 0 < slope(high) else None


def _first(probability: Values, truth: Rows) -> tuple[Values, np.ndarray, Rows]:
    """Of the first diagnosis: its probability float64[n], whether it is right bool[n], the number of its bin int[n]."""
    confidence = probability.max(axis=1)
    number = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)  # bins open below, closed above
    return confidence, probability.argmax(axis=1) == truth, number


def _ece(confidence: Values, right: np.ndarray, number: Rows) -> float:
    # torchmetrics has it too, but takes milliseconds where the bootstrap asks for it a thousand times.
    return float(np.abs(np.bincount(number, confidence - right)).sum() / len(confidence))


def _ece_if_calibrated(confidence: Values, number: Rows, seed: int) -> Figure:
    if not len(confidence):
        return Figure.undefined(NO_CASE, 0)
    rng = np.random.default_rng(seed)
    drawn = [_ece(confidence, rng.random(len(confidence)) < confidence, number) for _ in range(SIMULATIONS)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Figure(float(np.mean(drawn)), len(confidence), float(low), float(high), note="simulated, not measured")
