"""How well clinical concepts are found: of scores per concept, and of the concepts that text answers list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.figures.intervals import NO_CASE, Rows, Values, measured_many
from skingpt4.evaluation.figures.metrics import Ranking, divided, mean_defined

ENOUGH_IMAGES = 50  # SKINCON (Daneshjou et al. 2022) reports the concepts with at least so many images: 22 of its 48
NO_THRESHOLD = "no threshold: the validation cases have none with it, or no validation set was given"
NO_CASE_WITH_IT = "no case has it"


@dataclass(frozen=True)
class ConceptFigures:
    """One concept. n: cases that have it. images: of the whole data, which decides whether the headline counts it."""

    name: str
    n: int
    images: int
    auroc: Figure
    average_precision: Figure
    f1: Figure

    def to_dict(self) -> dict[str, Any]:
        """Its name and numbers, and the figures as dictionaries, ready for JSON."""
        return {name: value.to_dict() if isinstance(value, Figure) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class ConceptsFigures:
    """headline: means over the concepts with at least `ENOUGH_IMAGES` images. appendix: the same over all; both have
    the names `Concepts.metrics`. per_concept: every concept, in the given order.
    """

    headline: dict[str, Figure]
    appendix: dict[str, Figure]
    per_concept: list[ConceptFigures]

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        return {
            "headline": {name: figure.to_dict() for name, figure in self.headline.items()},
            "appendix": {name: figure.to_dict() for name, figure in self.appendix.items()},
            "per_concept": [figures.to_dict() for figures in self.per_concept],
        }


class Concepts:
    """The true and the found concepts of n cases, made with scores or by `from_answers`.

    A metric of a concept is defined where some case has it (and, for AUROC and average precision, another has not).
    Macro figures are means over the concepts for which it is defined, in a resample over those defined there. micro_f1
    is over all decisions on the concepts that count.
    """

    def __init__(
        self,
        truth: NDArray[np.bool_],
        scores: Values | None,
        names: Sequence[str],
        thresholds: Values | None = None,
        images: Sequence[int] | NDArray[np.int_] | None = None,
    ) -> None:
        """truth: bool[n, C]. scores: float[n, C], higher = more likely there, such as log-odds. thresholds: float[C],
        the least score that means "yes", chosen on validation cases (`metrics.best_f1_thresholds`), NaN where none can
        be; without them F1 is undefined. images: int[C], how many images of the whole data have each concept; default:
        of these cases. Raises `ValueError` for other shapes or NaN scores.
        """
        truth = np.asarray(truth, dtype=bool)
        if truth.ndim != 2 or truth.shape[1] != len(names):
            raise ValueError(f"The truth {truth.shape} must be a table of cases by {len(names)} concepts.")
        self.names, self.truth = tuple(names), truth
        self.images = truth.sum(axis=0) if images is None else np.asarray(images)
        self.ranking = None if scores is None else Ranking(truth, np.asarray(scores, dtype=np.float64))
        self.thresholds = (
            np.full(len(names), np.nan) if thresholds is None else np.asarray(thresholds, dtype=np.float64)
        )
        if self.images.shape != (len(names),) or self.thresholds.shape != (len(names),):
            raise ValueError(f"Image counts and thresholds must be one for each of the {len(names)} concepts.")
        self.found = np.zeros_like(truth) if scores is None else np.asarray(scores) >= self.thresholds

    @classmethod
    def from_answers(
        cls,
        truth: Sequence[set[str]],
        found: Sequence[set[str]],
        names: Sequence[str],
        images: Sequence[int] | NDArray[np.int_] | None = None,
    ) -> Concepts:
        """Of text: the concepts that each case has, and those that its answer names (`parsing.named_concepts`)."""
        if len(truth) != len(found):
            raise ValueError(f"{len(found)} answers were given for {len(truth)} cases.")
        concepts = cls(_table(truth, names), None, names, np.zeros(len(names)), images)
        concepts.found = _table(found, names)
        return concepts

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the headline's metrics."""
        f1 = ("macro_f1", "micro_f1")
        return f1 if self.ranking is None else ("macro_auroc", "macro_average_precision", *f1)

    def metric(self, name: str, enough: int = ENOUGH_IMAGES) -> Callable[[Rows], float | None]:
        """One of `metrics`, over the concepts with at least `enough` images, as a function of row numbers: for groups
        of patients, paired tests, own intervals.
        """
        index, counted = self.metrics.index(name), self.images >= enough

        def value(rows: Rows) -> float | None:
            rows = np.asarray(rows, dtype=np.intp)
            found = self.means(self.per_concept(rows), rows, counted)[index] if len(rows) else np.nan
            return None if np.isnan(found) else float(found)

        return value

    def figures(self, groups: Sequence[str] | None = None, seed: int = 0) -> ConceptsFigures:
        """Everything with n and 95 % intervals. groups: the patient or lesion of each case (see `intervals`)."""
        n, wide, count = len(self.truth), len(self.names), len(self.metrics)
        frequent, every = self.images >= ENOUGH_IMAGES, np.ones(wide, dtype=bool)

        def statistics(rows: Rows) -> Values:
            table = self.per_concept(rows)
            means = [self.means(table, rows, counted) for counted in (frequent, every)]
            return np.concatenate([*means, *table])

        why = [self._why_no_mean(name, counted) for counted in (frequent, every) for name in self.metrics]
        cases = self.truth.sum(axis=0)
        why += [self._why_no_ranking(int(case)) for case in cases] * 2
        why += [NO_THRESHOLD if case else NO_CASE_WITH_IT for case in cases]
        measured = measured_many(statistics, groups, n, why, seed)
        aurocs, precisions, f1s = (measured[2 * count + i * wide : 2 * count + (i + 1) * wide] for i in range(3))
        per_concept = [
            ConceptFigures(self.names[i], int(cases[i]), int(self.images[i]), aurocs[i], precisions[i], f1s[i])
            for i in range(wide)
        ]
        headline, appendix = measured[:count], measured[count : 2 * count]
        return ConceptsFigures(self._named(headline, frequent), self._named(appendix, every), per_concept)

    def per_concept(self, rows: Rows) -> Values:
        """float64[3, C]: AUROC, average precision and F1 of each concept, NaN where undefined."""
        table = np.full((3, len(self.names)), np.nan)
        if self.ranking is not None:
            table[:2] = self.ranking.auroc_and_precision(rows)
        truth, found = self.truth[rows], self.found[rows]
        true = truth.sum(axis=0)
        f1 = divided(2 * (truth & found).sum(axis=0), true + found.sum(axis=0))
        table[2] = np.where((true > 0) & ~np.isnan(self.thresholds), f1, np.nan)
        return table

    def means(self, table: Values, rows: Rows, counted: NDArray[np.bool_]) -> Values:
        """float64[len(metrics)]: the means of what `per_concept` gives, over the concepts that count."""
        counted_f1 = counted & ~np.isnan(self.thresholds)
        truth, found = self.truth[rows][:, counted_f1], self.found[rows][:, counted_f1]
        decisions = truth.sum() + found.sum()
        micro = 2 * (truth & found).sum() / decisions if truth.any() else np.nan
        means = [mean_defined(row[counted]) for row in (table if self.ranking is not None else table[2:])]
        return np.array([*means, micro])

    def _named(self, figures: Sequence[Figure], counted: NDArray[np.bool_]) -> dict[str, Figure]:
        """By name, with how many concepts each mean is over."""
        table = self.per_concept(np.arange(len(self.truth)))[0 if self.ranking is not None else 2 :, counted]
        defined = [*(~np.isnan(table)).sum(axis=1), int((counted & ~np.isnan(self.thresholds)).sum())]
        notes = [f"over {concepts} of {len(self.names)} concepts" for concepts in defined]
        return {
            name: figure if figure.value is None else replace(figure, note="; ".join(filter(None, [note, figure.note])))
            for name, figure, note in zip(self.metrics, figures, notes, strict=True)
        }

    def _why_no_mean(self, name: str, counted: NDArray[np.bool_]) -> str:
        if len(self.truth) == 0:
            return NO_CASE
        if not counted.any():
            return f"no concept has {ENOUGH_IMAGES} images; the appendix has the mean over all"
        if not self.truth[:, counted].any():
            return "no case has one of these concepts"
        return NO_THRESHOLD if name.endswith("f1") else "no concept is both there and absent in these cases"

    def _why_no_ranking(self, cases: int) -> str:
        if self.ranking is None:
            return "a text answer names concepts and scores none"
        return "all cases have it" if cases else NO_CASE_WITH_IT


def _table(sets: Sequence[set[str]], names: Sequence[str]) -> NDArray[np.bool_]:
    return np.array([[name in concepts for name in names] for concepts in sets], dtype=bool).reshape(-1, len(names))
