"""The metrics themselves, without intervals: of sets of labels, and of scores that rank cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skingpt4.evaluation.figures.intervals import Rows, Values

_FEW = 0.2  # of the cases; so many are quicker sorted again


def micro_macro_f1(truth: Sequence[set[str]], found: Sequence[set[str]]) -> tuple[float, float]:
    """F1 over all label decisions, and the mean F1 over the labels that are true of at least one case; 0-1.

    Raises `ValueError` when no label is true of any case: F1 is undefined then.
    """
    labels = sorted(set().union(*truth))
    if not labels:
        raise ValueError("F1 is undefined: no case has a label.")
    hits = {label: sum(label in t and label in f for t, f in zip(truth, found, strict=True)) for label in labels}
    seen = {label: sum(label in t for t in truth) + sum(label in f for f in found) for label in labels}
    decisions = sum(len(t) for t in truth) + sum(len(f) for f in found)
    return 2 * sum(hits.values()) / decisions, sum(2 * hits[label] / seen[label] for label in labels) / len(labels)


def divided(numerator: NDArray[Any], denominator: NDArray[Any]) -> Values:
    """Their quotient as float64, NaN (undefined) where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(np.shape(denominator), np.nan), where=denominator != 0)


def mean_defined(values: Values) -> float:
    """The mean of the values that are defined; NaN when none is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def best_f1_thresholds(truth: NDArray[np.bool_], scores: Values) -> Values:
    """Per column, the score from which on "yes" gives the best F1, to be chosen on validation cases.

    truth: bool[n, C]. scores: float[n, C]. Returns float64[C], NaN for a column without a true case. Of equally good
    thresholds the highest is taken.
    """
    from sklearn.metrics import precision_recall_curve

    thresholds = np.full(truth.shape[1], np.nan)
    for column in np.flatnonzero(truth.any(axis=0)):
        precision, recall, candidates = precision_recall_curve(truth[:, column], scores[:, column])
        f1 = 2 * precision[:-1] * recall[:-1] / np.maximum(precision[:-1] + recall[:-1], 1e-300)
        thresholds[column] = candidates[len(f1) - 1 - np.argmax(f1[::-1])]
    return thresholds


class Ranking:
    """AUROC and average precision of many columns at once, quick enough for a thousand resamples.

    scikit-learn sorts again for each resample and column, minutes for 48 concepts. Here each column is sorted once; a
    resample is then a weight per case. The tests hold the results to scikit-learn's, ties included.
    """

    def __init__(self, truth: NDArray[np.bool_], scores: Values) -> None:
        """truth: bool[n, C]. scores: float[n, C], higher = more likely true; -inf allowed. Raises `ValueError` for NaN
        scores or shapes that differ.
        """
        if truth.shape != scores.shape or truth.ndim != 2:
            raise ValueError(f"Truth {truth.shape} and scores {scores.shape} must be two tables of one shape.")
        if np.isnan(scores).any():
            raise ValueError("Scores must be numbers; some are NaN.")
        self.truth = truth
        self._shape = truth.shape
        # Place of each score among the column's different scores, 0 = highest; then one number per column and place.
        self._places = np.empty(truth.shape, dtype=np.intp)
        for column in range(truth.shape[1]):
            self._places[:, column] = np.unique(-scores[:, column], return_inverse=True)[1].reshape(-1)
        self._cells = (self._places * truth.shape[1] + np.arange(truth.shape[1])).reshape(-1)

    def auroc_and_precision(self, rows: Rows) -> tuple[Values, Values]:
        """AUROC and average precision of the rows, both float64[C]; NaN where a column has no case of either kind."""
        if len(rows) < _FEW * self._shape[0]:  # of a small group of people: without all the places of the others
            chosen, rows = np.unique(rows, return_inverse=True)
            return Ranking(self.truth[chosen], -self._places[chosen].astype(np.float64)).auroc_and_precision(rows)
        weights = np.bincount(rows, minlength=self._shape[0]).astype(np.float64)[:, None]
        true, false = (self._per_place(weights * kind) for kind in (self.truth, ~self.truth))
        true_above, false_above = true.cumsum(axis=0), false.cumsum(axis=0)  # at this place or higher
        positives, negatives = true.sum(axis=0), false.sum(axis=0)
        pairs_won = (false * (true_above - true / 2)).sum(axis=0)  # a tie is half a win
        precision = true_above / np.maximum(true_above + false_above, 1)
        auroc = divided(pairs_won, positives * negatives)
        average_precision = divided((true * precision).sum(axis=0), positives)
        return auroc, np.where(negatives > 0, average_precision, np.nan)

    def _per_place(self, weights: Values) -> Values:
        cells = np.bincount(self._cells, weights=weights.reshape(-1), minlength=weights.size)
        return np.asarray(cells, dtype=np.float64).reshape(self._shape)
