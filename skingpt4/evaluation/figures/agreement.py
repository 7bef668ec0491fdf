"""How far raters agree beyond chance, on ordered scales such as the clinical study's five points.

Weighted kappa (Cohen 1968) for two raters, Krippendorff's alpha (2004) for any number of raters with holes.
Both are 1 for full agreement, 0 for what chance gives, below 0 for less. The intervals resample the rated units,
which Zapf et al. 2016 found good for alpha where its asymptotic interval is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.figures.groups import patients_of
from skingpt4.evaluation.figures.intervals import measured


def weighted_kappa(
    a: np.ndarray,
    b: np.ndarray,
    weights: Literal["quadratic", "linear"] = "quadratic",
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> Figure:
    """Weighted kappa of two raters on the same units, with its 95 % bootstrap interval.

    a, b: float[units] whole-numbered levels, nan where a rater left the unit out; such units are not counted in `n`.
    A disagreement weighs the distance of the two levels, or its square. groups: units of one group (a patient) are
    resampled together. Raises `ValueError` for lengths that differ and levels that are no whole numbers.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"Two raters of the same units were expected, not {first.shape} and {second.shape} ratings.")
    both = ~(np.isnan(first) | np.isnan(second))
    pairs = np.stack([first[both], second[both]])
    n = pairs.shape[1]
    if not n:
        return Figure.undefined("no unit was rated by both raters", 0)
    if (pairs != np.round(pairs)).any():
        raise ValueError("Weighted kappa needs levels that are whole numbers, such as 1 to 5.")
    # The distance of two levels is that of their values: a level that nobody chose keeps its place in the scale.
    codes = (pairs - pairs.min()).astype(np.int64)
    size = int(codes.max()) + 1

    def kappa(rows: np.ndarray) -> float | None:
        from statsmodels.stats.inter_rater import cohens_kappa

        table = np.zeros((size, size))
        np.add.at(table, (codes[0, rows], codes[1, rows]), 1)
        if np.ptp(codes[:, rows]) == 0:
            return None  # one level only: chance alone gives full agreement
        return float(cohens_kappa(table, wt=weights, return_results=False))

    why = "both raters gave every unit the same one level"
    return measured(kappa, patients_of(groups, np.flatnonzero(both)), n, why, seed)


def krippendorff_alpha(
    ratings: np.ndarray,
    level: Literal["nominal", "ordinal", "interval"] = "ordinal",
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> Figure:
    """Krippendorff's alpha of all raters, with its 95 % bootstrap interval.

    ratings: float[raters, units], nan = not rated. Units with fewer than two ratings say nothing about agreement and
    are not counted in `n`. groups: one name per unit; units of one group are resampled together. Raises `ValueError`
    for another shape.
    """
    given = np.asarray(ratings, dtype=np.float64)
    if given.ndim != 2:
        raise ValueError(f"Ratings [raters, units] were expected, not an array of shape {given.shape}.")
    paired = (~np.isnan(given)).sum(axis=0) >= 2
    given = given[:, paired]
    n = given.shape[1]
    if not n:
        return Figure.undefined("no unit was rated by two raters or more", 0)
    domain = np.unique(given[~np.isnan(given)])
    counts = (given[:, :, None] == domain).sum(axis=0)  # int[units, levels]

    def alpha(rows: np.ndarray) -> float | None:
        import krippendorff

        drawn = counts[rows]
        if np.count_nonzero(drawn.sum(axis=0)) < 2:
            return None
        return float(krippendorff.alpha(value_counts=drawn, value_domain=domain, level_of_measurement=level))

    return measured(alpha, patients_of(groups, np.flatnonzero(paired)), n, "every rating is the same one level", seed)
