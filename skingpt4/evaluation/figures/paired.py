"""Whether two runs over the same cases differ: McNemar's test of their right answers, the bootstrap of any metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.figures.intervals import NO_CASE, RESAMPLES, Rows, measured, resample, summarised


@dataclass(frozen=True)
class PairedTest:
    """The first run less the second. difference: with its 95 % interval by groups. p_value: two-sided, None where
    there is no test; `difference.note` says why. only_first, only_second: the cases that one run alone has right, of
    McNemar's test only.
    """

    test: str
    difference: Figure
    p_value: float | None
    only_first: int | None = None
    only_second: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        return asdict(self)


def mcnemar(
    first: Sequence[bool] | NDArray[np.bool_],
    second: Sequence[bool] | NDArray[np.bool_],
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> PairedTest:
    """McNemar's exact test (1947) of two runs' right answers, bool[n] each, of the same cases in the same order.

    It takes cases for independent: where patients have several pictures its p-value may be too small, and
    the note says so; the difference's interval and `paired_bootstrap` are by patient. Raises `ValueError` for lists of
    different lengths.
    """
    from statsmodels.stats.contingency_tables import mcnemar as exact_test

    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"The two runs must have answers to the same cases, not {len(a)} and {len(b)}.")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    test = "McNemar's exact test"
    if len(a) == 0:
        return PairedTest(test, Figure.undefined(NO_CASE, 0), None, 0, 0)
    table = [[int((a & b).sum()), only_a], [only_b, int((~a & ~b).sum())]]
    difference = measured(lambda rows: float(a[rows].mean() - b[rows].mean()), groups, len(a), NO_CASE, seed)
    named = [group for group in groups or () if group]
    if len(set(named)) < len(named):
        note = "McNemar's test takes the pictures of one patient for independent; the interval does not"
        difference = replace(difference, note="; ".join(filter(None, [note, difference.note])))
    return PairedTest(test, difference, float(exact_test(table, exact=True).pvalue), only_a, only_b)


def paired_bootstrap(
    first: Callable[[Rows], float | None],
    second: Callable[[Rows], float | None],
    groups: Sequence[str] | None,
    n: int,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> PairedTest:
    """The difference of any metric between two runs, over resampled patients, the same for both runs.

    first, second: the metric of each run as a function of row numbers of the n common cases (such as
    `Diagnoses.metric("macro_auroc")`). The p-value is twice the share of resamples on the rarer side of no difference
    (ties on both sides; one more counted, as in Davison and Hinkley 1997, so that it is never 0).
    """

    def difference(rows: Rows) -> NDArray[np.float64]:
        a, b = first(rows), second(rows)
        return np.array([np.nan if a is None or b is None else a - b])

    test, why = "paired bootstrap", "the metric is undefined for one of the two runs"
    if n == 0:
        return PairedTest(test, Figure.undefined(NO_CASE, 0), None)
    drawn = resample(difference, groups, n, seed, resamples)
    figure = summarised(float(difference(np.arange(n))[0]), None if drawn is None else drawn[:, 0], n, why)
    if drawn is None or figure.low is None:
        return PairedTest(test, figure, None)
    defined = drawn[~np.isnan(drawn)]
    rarer = min((defined <= 0).sum(), (defined >= 0).sum())
    return PairedTest(test, figure, min(1.0, 2 * (int(rarer) + 1) / (len(defined) + 1)))
