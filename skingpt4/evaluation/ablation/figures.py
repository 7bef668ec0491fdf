"""How the arms of an ablation differ: means and spread over seeds, intervals over cases, paired tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skingpt4.evaluation.ablation.arms import ARMS, BOTH, Ablation
from skingpt4.evaluation.concept_cases import concept_table
from skingpt4.evaluation.figures.concepts import Concepts
from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.figures.intervals import RESAMPLES, Rows, Values, measured_many, proportion
from skingpt4.evaluation.figures.paired import mcnemar
from skingpt4.evaluation.figures.text import rouge_l
from skingpt4.evaluation.levels import disease_level
from skingpt4.evaluation.parsing import named_concepts
from skingpt4.evaluation.predictions import Predictions
from skingpt4.vocabulary import CONCEPTS

NAMED, RANKED = "disease_named", "disease_ranked_first"
METRICS = {
    NAMED: "disease named in the text",
    RANKED: "disease ranked first by score",
    "concepts_micro_f1": "concepts in the text, micro-F1",
    "concepts_macro_f1": "concepts in the text, macro-F1",
    "concepts_macro_auroc": "concepts by score, macro-AUROC",
    "answer_rouge_l": "diagnosis and notes, ROUGE-L",
}

Metric = Callable[[Rows], float | None]


@dataclass(frozen=True)
class Comparison:
    """One metric of one arm. figure: the mean over seeds with its interval over cases. by_seed: of each training.
    spread: their standard deviation, None for fewer than two. difference: from both steps, over the same cases (None
    for that arm itself). p_values: McNemar's exact test against both steps, seed by seed; of shares of cases only.
    """

    figure: Figure
    by_seed: tuple[float | None, ...]
    spread: float | None
    difference: Figure | None
    p_values: tuple[float, ...] | None

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        values = {**vars(self), "figure": self.figure.to_dict()}
        return values | {"difference": self.difference.to_dict() if self.difference else None}


def compare(found: Ablation, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, dict[str, Comparison]]:
    """Metric -> arm -> what was measured, each metric over the cases whose truth is known. seed: of the bootstrap.

    Macro figures are means over the concepts that at least one case has.
    """
    return {metric: _compare(metric, found, seed, resamples) for metric in METRICS}


def _compare(metric: str, found: Ablation, seed: int, resamples: int) -> dict[str, Comparison]:
    first = found.predictions[BOTH][0]
    known = _known(metric, first)
    groups = [first.group[row] for row in known]
    trained = {arm: [each.select(known) for each in found.predictions[arm]] for arm in ARMS}
    hits = {arm: [_hits(metric, each) for each in trained[arm]] for arm in ARMS} if metric in (NAMED, RANKED) else None
    metrics = {
        arm: [_share(each) for each in hits[arm]] if hits else [_metric(metric, each) for each in trained[arm]]
        for arm in ARMS
    }

    def statistics(rows: Rows) -> Values:
        means = np.array([_mean([of(rows) for of in metrics[arm]]) for arm in ARMS])
        return np.concatenate([means, means - means[ARMS.index(BOTH)]])

    why = [_why_undefined(metric, first)] * 2 * len(ARMS)
    figures = measured_many(statistics, groups, len(known), why, seed, resamples)
    compared = {}
    for place, arm in enumerate(ARMS):
        by_seed = tuple(of(np.arange(len(known))) for of in metrics[arm]) if len(known) else ()
        defined = [value for value in by_seed if value is not None]
        p_values = None
        figure = figures[place]
        if hits and len(known):
            if figure.value in (0.0, 1.0):  # every resample says the same; Wilson's interval knows what may be missed
                figure = proportion(hits[arm][0], groups, seed)
            if arm != BOTH:
                p_values = _paired_p_values(hits[arm], hits[BOTH], groups)
        compared[arm] = Comparison(
            figure=figure,
            by_seed=by_seed,
            spread=float(np.std(defined, ddof=1)) if len(defined) > 1 else None,
            difference=None if arm == BOTH else figures[len(ARMS) + place],
            p_values=p_values,
        )
    return compared


def _known(metric: str, cases: Predictions) -> Rows:
    """int[m]: the cases whose truth is known."""
    if metric.startswith("disease"):
        known = [name in cases.diseases for name in cases.disease]
    elif metric.startswith("concepts"):
        known = [concepts is not None for concepts in cases.concepts]
    else:
        known = [bool(reference) for reference in cases.reference]
    return np.flatnonzero(known)


def _why_undefined(metric: str, cases: Predictions) -> str:
    if metric == RANKED and len(cases.diseases) < 2:
        return "the data names one disease: there is nothing to choose from"
    if metric.startswith("concepts") and len(_known(metric, cases)):
        return "no concept is both there and absent in these cases"
    return "no case has what it is measured against"


def _hits(metric: str, each: Predictions) -> NDArray[np.bool_]:
    """bool[n]: whether the disease is right."""
    level = disease_level(each)
    if metric == NAMED:
        return level.answered.right()
    return level.scored.right() if level.scored else np.zeros(0, bool)


def _share(hits: NDArray[np.bool_]) -> Metric:
    return lambda rows: float(hits[rows].mean()) if len(hits) and len(rows) else None


def _metric(metric: str, each: Predictions) -> Metric:
    if metric == "answer_rouge_l":
        scores = rouge_l(each.diagnosis_answer, each.reference)
        return lambda rows: float(scores[rows].mean()) if len(rows) else None
    truth = [set(concepts or ()) for concepts in each.concepts]
    if metric == "concepts_macro_auroc":
        return Concepts(concept_table(truth), each.concept_log_odds, CONCEPTS).metric("macro_auroc", enough=1)
    named = [named_concepts(answer, each.diseases) for answer in each.concept_answer]
    return Concepts.from_answers(truth, named, CONCEPTS).metric(metric.removeprefix("concepts_"), enough=1)


def _mean(values: Sequence[float | None]) -> float:
    """NaN where one of them is undefined."""
    return float(np.mean([np.nan if value is None else value for value in values]))


def _paired_p_values(
    arm: Sequence[NDArray[np.bool_]], both: Sequence[NDArray[np.bool_]], groups: Sequence[str]
) -> tuple[float, ...]:
    """Of each seed. The one model before fine-tuning is compared with every seed's."""
    repeated = arm if len(arm) == len(both) else [arm[0]] * len(both)
    tests = [mcnemar(one, other, groups) for one, other in zip(repeated, both, strict=True) if len(one)]
    return tuple(test.p_value for test in tests if test.p_value is not None)
