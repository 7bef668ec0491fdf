"""95 % intervals: of proportions, and of any metric by resampling whole patients.

The bootstrap draws patients (or lesions), not pictures: pictures of one patient are alike, and an interval that takes
them for independent is too narrow (Field and Welsh 2007). Its ends are the resamples' percentiles (Efron and Tibshirani
1993, chapter 13), moved by the bias that the resamples show (chapter 10): average precision over rare concepts rises
when a case is drawn twice, and unmoved percentiles would lie above the truth. BCa does not serve here: it needs the
metric with each patient left out, which is undefined where one patient carries a class.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from skingpt4.evaluation.figures.figure import Figure

LEVEL = 0.95
RESAMPLES = 1000
MOST_UNDEFINED = 0.2  # of the resamples; beyond, the rest are too special a choice for an interval
NO_CASE = "no case to measure it on"
ONE_GROUP = "no interval: all cases are of one patient or lesion"

Rows = NDArray[np.intp]
Values = NDArray[np.float64]


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927), both ends in [0, 1]. Raises `ValueError` for an empty sample."""
    from statsmodels.stats.proportion import proportion_confint

    if count < 1 or not 0 <= right <= count:
        raise ValueError(f"{right} of {count} is no proportion.")
    low, high = proportion_confint(right, count, alpha=1 - LEVEL, method="wilson")
    return max(0.0, float(low)), min(1.0, float(high))


def bootstrap(
    statistic: Callable[[Rows], float | None],
    groups: Sequence[str] | None,
    n: int,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> tuple[float, float] | None:
    """95 % interval of a metric, by resampling whole groups; None where there is none (see `measured`).

    statistic: of row numbers int[m] (rows may come several times, in any order); None or NaN where undefined. groups:
    the patient or lesion of each of the n rows; a row with an empty name, and every row when None, is its own group.
    """
    figure = measured(statistic, groups, n, "undefined", seed, resamples)
    return None if figure.low is None or figure.high is None else (figure.low, figure.high)


def measured(
    statistic: Callable[[Rows], float | None],
    groups: Sequence[str] | None,
    n: int,
    undefined: str,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Figure:
    """A metric over all n rows with its bootstrap interval. undefined: why, should it have no value on them.

    Resamples in which the metric is undefined are left out, and the note counts them; when they are more than
    `MOST_UNDEFINED` of all, or only one group is there, the figure has no interval and its note says why.
    """
    return measured_many(lambda rows: _vector(statistic(rows)), groups, n, [undefined], seed, resamples)[0]


def measured_many(
    statistics: Callable[[Rows], Values],
    groups: Sequence[str] | None,
    n: int,
    undefined: Sequence[str],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Figure]:
    """Several metrics as `measured`, over the same resamples. statistics: row numbers int[m] -> float64[M], NaN where
    undefined. undefined: for each of the M, why it should have no value.
    """
    if n == 0:
        return [Figure.undefined(NO_CASE, 0) for _ in undefined]
    values = statistics(np.arange(n))
    drawn = resample(statistics, groups, n, seed, resamples)
    return [
        summarised(float(value), None if drawn is None else drawn[:, index], n, why)
        for index, (value, why) in enumerate(zip(values, undefined, strict=True))
    ]


def summarised(value: float, drawn: Values | None, n: int, undefined: str) -> Figure:
    """One metric's value over all n rows and over the resamples (a column of what `resample` gives) as a figure."""
    if np.isnan(value):
        return Figure.undefined(undefined, n)
    if drawn is None:
        return Figure(value, n, note=ONE_GROUP)
    interval, note = _interval(drawn, value)
    low, high = interval or (None, None)
    return Figure(value, n, low, high, note)


def proportion(hits: Sequence[bool] | NDArray[np.bool_], groups: Sequence[str] | None, seed: int = 0) -> Figure:
    """A share of cases, such as the accuracy, with its bootstrap interval by groups.

    Where all cases or none are hits, every resample says the same and the bootstrap's interval would be a point: the
    Wilson interval takes its place, with the patients counted, not the pictures (a patient is a hit when all of its
    pictures are).
    """
    from scipy.stats import bootstrap as scipy_bootstrap

    hits = np.asarray(hits, dtype=bool)
    n = len(hits)
    if n == 0:
        return Figure.undefined(NO_CASE, 0)
    members = _members(groups, n)
    if hits.all() == hits.any():
        low, high = wilson_interval(len(members) * int(hits[0]), len(members))
        note = "the same for all: Wilson interval" + (f" over {len(members)} patients" if len(members) < n else "")
        return Figure(float(hits[0]), n, low, high, note)
    if len(members) < 2:
        return Figure(float(hits.mean()), n, note=ONE_GROUP)
    hits_by_group, sizes = (np.array([of(rows) for rows in members]) for of in (lambda r: hits[r].sum(), len))
    drawn = scipy_bootstrap(
        (hits_by_group, sizes),
        lambda hit, size, axis: hit.sum(axis=axis) / size.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=seed,
    )
    low, high = drawn.confidence_interval
    return Figure(float(hits.mean()), n, low, high)


def resample(
    statistics: Callable[[Rows], Values],
    groups: Sequence[str] | None,
    n: int,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Values | None:
    """The metrics over resampled groups, float64[resamples, M], NaN where undefined; None with fewer than two groups.

    The same groups and seed give the same resamples: differences between two models' rows are paired.
    """
    from scipy.stats import DegenerateDataWarning
    from scipy.stats import bootstrap as scipy_bootstrap

    members = _members(groups, n)
    if len(members) < 2:
        return None
    rows_by_group = np.concatenate(members)
    sizes = np.array([len(rows) for rows in members])
    starts = np.cumsum(sizes) - sizes

    def over_draws(sample: Rows, axis: int) -> Values:  # scipy calls it with many draws of groups, or with one
        draws = np.atleast_2d(sample)
        return np.stack([statistics(_rows_of(draw, rows_by_group, starts, sizes)) for draw in draws], axis=-1)

    with warnings.catch_warnings():  # scipy's own interval is not used, and warns of resamples that are undefined
        warnings.simplefilter("ignore", category=DegenerateDataWarning)
        result = scipy_bootstrap(
            (np.arange(len(members)),),
            over_draws,
            n_resamples=resamples,
            batch=100,
            vectorized=True,
            method="percentile",
            rng=seed,
        )
    return np.asarray(result.bootstrap_distribution, dtype=np.float64).T


def _rows_of(draw: Rows, rows_by_group: Rows, starts: Rows, sizes: Rows) -> Rows:
    counts = sizes[draw]
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows_by_group[np.repeat(starts[draw], counts) + within]


def _members(groups: Sequence[str] | None, n: int) -> list[Rows]:
    """The rows of each group, groups in the order of their first row."""
    if groups is None:
        return list(np.arange(n)[:, None])
    if len(groups) != n:
        raise ValueError(f"{len(groups)} groups were given for {n} rows.")
    members: dict[object, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group or row, []).append(row)
    return [np.array(rows) for rows in members.values()]


def _interval(drawn: Values, value: float) -> tuple[tuple[float, float] | None, str]:
    defined = drawn[~np.isnan(drawn)]
    missing = len(drawn) - len(defined)
    if missing > MOST_UNDEFINED * len(drawn):
        return None, f"no interval: undefined in {missing} of {len(drawn)} resamples, too few cases of a kind"
    ends = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) - (defined.mean() - value)
    low, high = np.clip(ends, min(defined.min(), value), max(defined.max(), value))  # what the metric can be
    notes = [f"undefined in {missing} of {len(drawn)} resamples, which are left out"] if missing else []
    if low == high:
        notes.append("all resamples agree: the interval knows nothing of errors rarer than these cases show")
    return (float(low), float(high)), "; ".join(notes)


def _vector(value: float | None) -> Values:
    return np.array([np.nan if value is None else value], dtype=np.float64)
