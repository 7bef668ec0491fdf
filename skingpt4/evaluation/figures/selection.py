"""When the model may keep silent: how often is it wrong on the cases that it is sure enough to answer?

Risk-coverage curve and the area below it (El-Yaniv and Wiener 2010; Geifman and El-Yaniv 2017). Coverage is the share
of cases answered, risk the share of wrong ones among these. A threshold for a wanted risk is chosen on validation and
told on the test set, where nothing was chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.figures.groups import patients_of
from skingpt4.evaluation.figures.intervals import NO_CASE, measured, proportion

STEPS = 20  # coverages tried for a threshold that holds with a wanted surety: 5 %, 10 %, ... 100 %


@dataclass(frozen=True)
class RiskCoverage:
    """One point per distinct confidence, from the surest case to all: float64[m] each.

    At `thresholds[i]` the cases of that confidence or more are answered: a share `coverage[i]` of all, of which
    `risk[i]` are wrong.
    """

    thresholds: np.ndarray
    coverage: np.ndarray
    risk: np.ndarray


def risk_coverage_curve(confidence: np.ndarray, right: np.ndarray) -> RiskCoverage:
    """The curve; empty arrays for no case. confidence: float[n], higher = surer; right: bool[n]."""
    thresholds, answered, wrong = _steps(*_checked(confidence, right))
    return RiskCoverage(thresholds, answered / max(1, len(confidence)), wrong / answered)


def aurc(confidence: np.ndarray, right: np.ndarray, groups: Sequence[str] | None = None, seed: int = 0) -> Figure:
    """Area under the risk-coverage curve, 0-1, lower is better: the mean risk over the n coverages 1/n, 2/n ... 1.

    A confidence that says nothing has the error rate for its area. Cases of one confidence have no order: they count as
    their mean over all orders.
    """
    sure, hit = _checked(confidence, right)
    return measured(lambda rows: _area(sure[rows], hit[rows]), groups, len(sure), NO_CASE, seed)


def abstention_threshold(
    confidence: np.ndarray, right: np.ndarray, wanted_risk: float, surety: float | None = None
) -> Figure:
    """The confidence from which on to answer so that at most `wanted_risk` (0-1) of the answers are wrong.

    confidence: float[n], right: bool[n] of validation cases; the lowest threshold, so the largest coverage, is taken.
    surety: None = the risk is kept on these validation cases, and may well be a little higher on others; 0.95 = it is
    kept on others too, in 95 of 100 validation sets: the Clopper-Pearson bound of the risk, at `STEPS` coverages with
    Bonferroni's correction (Geifman and El-Yaniv 2017 bisect instead), which takes the cases for independent.
    Undefined, with the reason, where no threshold is good enough.
    """
    if not 0 <= wanted_risk < 1 or (surety is not None and not 0 < surety < 1):
        raise ValueError("A wanted risk is from 0 to below 1, and a surety between 0 and 1.")
    sure, hit = _checked(confidence, right)
    thresholds, answered, wrong = _steps(sure, hit)
    n = len(sure)
    if not n:
        return Figure.undefined("no validation case", 0)
    if surety is None:
        bound = wrong / answered
    else:
        tried = np.unique(np.searchsorted(answered, np.ceil(np.arange(1, STEPS + 1) * n / STEPS)))
        thresholds, answered, wrong = thresholds[tried], answered[tried], wrong[tried]
        bound = _upper_bound(wrong, answered, (1 - surety) / len(tried))
    good = np.flatnonzero(bound <= wanted_risk)
    if not len(good):
        how = "" if surety is None else f" with {surety:.0%} surety"
        least = f"the least reached is {bound.min():.1%}"
        return Figure.undefined(f"no threshold keeps the risk at {wanted_risk:.0%}{how} on validation; {least}", n)
    best = good[-1]
    return Figure(float(thresholds[best]), n, note=f"answers {answered[best] / n:.1%} of the validation cases")


def abstention_figures(
    threshold: Figure, confidence: np.ndarray, right: np.ndarray, groups: Sequence[str] | None = None, seed: int = 0
) -> dict[str, Figure]:
    """`coverage` and `risk` of answering from `threshold` on, with intervals. confidence: float[n], right: bool[n] of
    test cases. Undefined where the threshold is, and the risk where no case is answered.
    """
    sure, hit = _checked(confidence, right)
    if threshold.value is None:
        return {name: Figure.undefined(threshold.note, len(sure)) for name in ("coverage", "risk")}
    answered = sure >= threshold.value
    coverage = proportion(answered, groups, seed)
    if not answered.any():
        return {"coverage": coverage, "risk": Figure.undefined("no case is sure enough to be answered", 0)}
    rows = np.flatnonzero(answered)
    return {"coverage": coverage, "risk": proportion(~hit[rows], patients_of(groups, rows), seed)}


def _checked(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sure, hit = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=bool)
    if sure.ndim != 1 or sure.shape != hit.shape or np.isnan(sure).any():
        raise ValueError(f"One confidence for each of {hit.shape} cases was expected, not {sure.shape}, and no NaN.")
    return sure, hit


def _steps(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct confidences from high to low, and how many cases are answered and wrong from each on."""
    thresholds, place = np.unique(-confidence, return_inverse=True)
    answered = np.bincount(place, minlength=len(thresholds)).cumsum()
    wrong = np.bincount(place, ~right, minlength=len(thresholds)).cumsum()
    return -thresholds, answered, wrong


def _area(confidence: np.ndarray, right: np.ndarray) -> float:
    _, answered, wrong = _steps(confidence, right)
    first = np.arange(1, len(confidence) + 1)
    # Between two distinct confidences the expected number of wrong ones, over all orders of the ties, is linear.
    expected = np.interp(first, np.append(0, answered), np.append(0, wrong))
    return float((expected / first).mean())


def _upper_bound(wrong: np.ndarray, answered: np.ndarray, error: float) -> np.ndarray:
    from scipy.stats import beta

    bound = beta.ppf(1 - error, wrong + 1, np.maximum(answered - wrong, 1))
    return np.where(wrong < answered, bound, 1.0)
