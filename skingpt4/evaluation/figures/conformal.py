"""Sets of diagnoses that hold the true one with a promised probability, whatever the model.

Split conformal prediction (Vovk et al. 2005; Papadopoulos et al. 2002) with the least ambiguous sets of Sadinle et al.
2019: every diagnosis whose probability is above one threshold, chosen on validation cases that the model was not
trained on. The promise is an average over cases alike to these; it holds for no single class or group, so the
coverage is told per class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skingpt4.evaluation.figures.calibration import checked
from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.figures.groups import patients_of
from skingpt4.evaluation.figures.intervals import NO_CASE, Rows, measured, proportion


@dataclass(frozen=True)
class ConformalThreshold:
    """Diagnoses of this probability (0-1) or more are in the set. coverage: promised, 0-1. n: validation cases."""

    probability: float
    coverage: float
    n: int
    note: str = ""

    def sets(self, probability: np.ndarray) -> np.ndarray:
        """bool[n, K]: which diagnoses are in each case's set. probability: float[n, K]. A set may be empty."""
        return np.asarray(probability) >= self.probability


@dataclass(frozen=True)
class ConformalFigures:
    """How the sets do on test cases.

    coverage: the share of sets that hold the truth, per_class: the same per true diagnosis. size: diagnoses per set.
    empty, single: shares of sets of none and of one.
    """

    coverage: Figure
    size: Figure
    empty: Figure
    single: Figure
    per_class: dict[str, Figure]


def fit_conformal(probability: np.ndarray, truth: np.ndarray, coverage: float = 0.9) -> ConformalThreshold:
    """The threshold that promises `coverage` (0-1). probability: float[n, K] and truth: int[n] of validation cases.
    With too few cases for the promise every diagnosis is in every set, as it must be.
    Raises `ValueError` for a coverage outside 0-1.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"A promised coverage is between 0 and 1, not {coverage}.")
    scores, true = checked(probability, truth)
    n = len(true)
    rank = math.ceil(round((n + 1) * coverage, 9))  # rounded: (9 + 1) * 0.7 is 7, and not a hair more
    if rank > n:
        least = math.ceil(round(coverage / (1 - coverage), 9))
        return ConformalThreshold(
            0.0, coverage, n, f"all sets hold everything: {coverage:.0%} needs {least} validation cases, there are {n}"
        )
    of_truth = np.sort(scores[np.arange(n), true])[::-1]
    return ConformalThreshold(float(of_truth[rank - 1]), coverage, n)


def conformal_figures(
    sets: np.ndarray,
    truth: np.ndarray,
    classes: Sequence[str],
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> ConformalFigures:
    """Coverage and size with intervals. sets: bool[n, K]; truth: int[n], 0..K-1; classes: the K names."""
    _, true = checked(sets, truth)
    n = len(true)
    if len(classes) != np.asarray(sets).shape[1]:
        raise ValueError(f"{len(classes)} names were given for sets of {np.asarray(sets).shape[1]} diagnoses.")
    held, sizes = np.asarray(sets)[np.arange(n), true], np.asarray(sets).sum(axis=1)

    def held_in(number: int) -> Figure:
        rows = np.flatnonzero(true == number)
        if not len(rows):
            return Figure.undefined("no case of this class", 0)
        return proportion(held[rows], patients_of(groups, rows), seed)

    def mean_size(rows: Rows) -> float:
        return float(sizes[rows].mean())

    return ConformalFigures(
        coverage=proportion(held, groups, seed),
        size=measured(mean_size, groups, n, NO_CASE, seed),
        empty=proportion(sizes == 0, groups, seed),
        single=proportion(sizes == 1, groups, seed),
        per_class={name: held_in(number) for number, name in enumerate(classes)},
    )
