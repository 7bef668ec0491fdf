"""How well diagnoses fit: of scores over a closed list, and of the diagnoses that text answers name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.figures.intervals import NO_CASE, Rows, Values, measured_many, proportion
from skingpt4.evaluation.figures.metrics import Ranking, divided, mean_defined

SCORED = ("top_1", "top_3", "top_5", "balanced_accuracy", "macro_f1", "macro_auroc")
ANSWERED = ("top_1", "balanced_accuracy", "macro_f1", "named")  # named: answers that name one diagnosis, right or wrong
MEANS = ("balanced_accuracy", "macro_f1", "macro_auroc")  # over diagnoses; the others are shares of cases
TOPS = {"top_1": 1, "top_3": 3, "top_5": 5}
NONE_NAMED = "none or several"  # last column of a text answer's confusion matrix
NO_CASE_OF_IT = "no case has it"


@dataclass(frozen=True)
class ClassFigures:
    """One diagnosis against all others. n: cases that have it. recall is also called sensitivity."""

    name: str
    n: int
    precision: Figure
    recall: Figure
    specificity: Figure
    f1: Figure
    auroc: Figure

    def to_dict(self) -> dict[str, Any]:
        """Its name and n, and the figures as dictionaries, ready for JSON."""
        return {name: value.to_dict() if isinstance(value, Figure) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class DiagnosisFigures:
    """headline: by name, `SCORED` or `ANSWERED`. confusion: counts int64[K, columns], rows = truth, in the order
    of `per_class`; columns: their names, the diagnoses and, for text answers, `NONE_NAMED`.
    """

    headline: dict[str, Figure]
    per_class: list[ClassFigures]
    confusion: NDArray[np.int64]
    columns: list[str]

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        return {
            "headline": {name: figure.to_dict() for name, figure in self.headline.items()},
            "per_class": [figures.to_dict() for figures in self.per_class],
            "confusion": {"columns": self.columns, "counts": self.confusion.tolist()},
        }


@dataclass(frozen=True)
class Diagnoses:
    """The true and the given diagnosis of n cases, made by `from_scores` or `from_answers`.

    Macro figures are means over the diagnoses that the cases have: a diagnosis that no case has is not counted as 0.
    In a resample, they are means over the diagnoses that the resample has.
    """

    names: tuple[str, ...]
    truth: NDArray[np.intp]  # [n], 0..K-1
    given: NDArray[np.intp]  # [n], 0..K-1, and K = no diagnosis
    place: NDArray[np.intp] | None = None  # [n], of the true diagnosis in the order of the scores, 0 = first
    ranking: Ranking | None = field(default=None, repr=False)

    @classmethod
    def from_scores(cls, truth: Sequence[int] | Rows, scores: Values, names: Sequence[str]) -> Diagnoses:
        """truth: int[n], the column of the true diagnosis. scores: float[n, K], higher = more likely, such as
        log-probabilities; of equal scores the earlier column goes first. Raises `ValueError` for other shapes, truth
        outside the columns, NaN.
        """
        true = _indices(truth, len(names))
        scores = np.asarray(scores, dtype=np.float64)
        if scores.shape != (len(true), len(names)):
            raise ValueError(f"Scores {scores.shape} must be of {len(true)} cases and {len(names)} diagnoses.")
        ranking = Ranking(true[:, None] == np.arange(len(names)), scores)
        order = np.argsort(-scores, axis=1, kind="stable")
        place = (order == true[:, None]).argmax(axis=1) if len(true) else true
        return cls(tuple(names), true, order[:, 0] if len(names) else true, place, ranking)

    @classmethod
    def from_answers(cls, truth: Sequence[int] | Rows, named: Sequence[int] | Rows, names: Sequence[str]) -> Diagnoses:
        """named: int[n], the column of the one diagnosis that the answer names; -1 = none or several, counted as wrong.
        Raises `ValueError` as `from_scores`.
        """
        true, given = _indices(truth, len(names)), _indices(named, len(names), lowest=-1)
        if len(true) != len(given):
            raise ValueError(f"{len(given)} answers were given for {len(true)} cases.")
        return cls(tuple(names), true, np.where(given < 0, len(names), given))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the headline's metrics: `SCORED` or, for text answers, `ANSWERED`."""
        return ANSWERED if self.ranking is None else SCORED

    def right(self, top: int = 1) -> NDArray[np.bool_]:
        """bool[n]: whether the true diagnosis is the given one (or among the `top` first by score)."""
        return self.given == self.truth if top == 1 or self.place is None else self.place < top

    @cached_property
    def shares(self) -> dict[str, NDArray[np.bool_]]:
        """The metrics that are shares of the cases, with the cases that each counts, bool[n]."""
        if self.place is None:
            return {"top_1": self.right(), "named": self.given < len(self.names)}
        return {name: self.right(top) for name, top in TOPS.items() if top == 1 or top < len(self.names)}

    def metric(self, name: str) -> Callable[[Rows], float | None]:
        """One of `metrics` as a function of row numbers: for groups of patients, paired tests, own intervals."""
        if name not in self.metrics:
            raise ValueError(f"There is no metric {name!r} here; there are {', '.join(self.metrics)}.")

        def value(rows: Rows) -> float | None:
            rows = np.asarray(rows, dtype=np.intp)
            if name in self.shares:
                return float(self.shares[name][rows].mean()) if len(rows) else None
            if name not in MEANS:
                return None  # the first three or five of no more diagnoses
            f1, auroc = self._per_class(rows, with_auroc=name == "macro_auroc")
            found = self._means(rows, f1, auroc)[MEANS.index(name)]
            return None if np.isnan(found) else float(found)

        return value

    def confusion(self, rows: Rows | None = None) -> NDArray[np.int64]:
        """Counts int64[K, K + 1] of the rows (default: all): true diagnosis by given one, the last column = none."""
        chosen = slice(None) if rows is None else rows
        wide = len(self.names) + 1
        cells = np.bincount(self.truth[chosen] * wide + self.given[chosen], minlength=len(self.names) * wide)
        return cells.reshape(-1, wide).astype(np.int64)

    def figures(self, groups: Sequence[str] | None = None, seed: int = 0) -> DiagnosisFigures:
        """Everything with n and 95 % intervals. groups: the patient or lesion of each case (see `intervals`)."""
        wide, n = len(self.names), len(self.truth)
        counts = np.bincount(self.truth, minlength=wide)
        why = [self._why_undefined(name, counts) for name in MEANS] + [NO_CASE_OF_IT] * wide
        why += [self._why_no_auroc(int(cases)) for cases in counts]

        def statistics(rows: Rows) -> Values:
            f1, auroc = self._per_class(rows)
            return np.concatenate([self._means(rows, f1, auroc), f1, auroc])

        measured = measured_many(statistics, groups, n, why, seed)
        means = dict(zip(MEANS, measured, strict=False))
        f1s, aurocs = measured[len(MEANS) : len(MEANS) + wide], measured[len(MEANS) + wide :]
        headline = {}
        for name in self.metrics:
            if name in means:
                headline[name] = self._with_missing(means[name], counts)
            elif name in self.shares:
                headline[name] = proportion(self.shares[name], groups, seed)
            else:
                headline[name] = Figure.undefined(self._why_undefined(name, counts), n)
        per_class = [self._class_figures(i, f1s[i], aurocs[i], groups, seed) for i in range(wide)]
        columns = [*self.names, *([NONE_NAMED] if self.ranking is None else [])]
        return DiagnosisFigures(headline, per_class, self.confusion()[:, : len(columns)], columns)

    def _class_figures(
        self, index: int, f1: Figure, auroc: Figure, groups: Sequence[str] | None, seed: int
    ) -> ClassFigures:
        has, named = self.truth == index, self.given == index

        def share(hits: NDArray[np.bool_], of: NDArray[np.bool_], why: str) -> Figure:
            if not of.any():
                return Figure.undefined(why, 0)
            kept = None if groups is None else [group for group, is_of in zip(groups, of, strict=True) if is_of]
            return proportion(hits[of], kept, seed)

        return ClassFigures(
            self.names[index],
            int(has.sum()),
            share(has, named, "never given as the diagnosis"),
            share(named, has, NO_CASE_OF_IT),
            share(~named, ~has, "all cases have it"),
            f1,
            auroc,
        )

    def _per_class(self, rows: Rows, with_auroc: bool = True) -> tuple[Values, Values]:
        """F1 and AUROC of each diagnosis, float64[K] each, NaN where no row has it."""
        table = self.confusion(rows)
        hits, true, given = np.diagonal(table), table.sum(axis=1), table.sum(axis=0)[:-1]
        f1 = np.where(true > 0, divided(2 * hits, true + given), np.nan)
        if self.ranking is None or not with_auroc:
            return f1, np.full(len(self.names), np.nan)
        return f1, self.ranking.auroc_and_precision(rows)[0]

    def _means(self, rows: Rows, f1: Values, auroc: Values) -> Values:
        """float64[len(MEANS)], NaN where the rows have fewer than two diagnoses. f1, auroc: what `_per_class` gives."""
        counts = np.bincount(self.truth[rows], minlength=len(self.names))
        if (counts > 0).sum() < 2:
            return np.full(len(MEANS), np.nan)
        hits = np.bincount(self.truth[rows], weights=self.right()[rows], minlength=len(self.names))
        return np.array([mean_defined(divided(hits, counts)), mean_defined(f1), mean_defined(auroc)])

    def _with_missing(self, figure: Figure, counts: NDArray[np.intp]) -> Figure:
        missing = [name for name, cases in zip(self.names, counts, strict=True) if not cases]
        if figure.value is None or not missing:
            return figure
        listed = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        note = f"over the {len(self.names) - len(missing)} diagnoses with cases; no case of {listed}"
        return replace(figure, note="; ".join(filter(None, [note, figure.note])))

    def _why_undefined(self, name: str, counts: NDArray[np.intp]) -> str:
        if len(self.truth) == 0:
            return NO_CASE
        if name in ("top_3", "top_5"):
            return f"only {len(self.names)} diagnoses to choose from: the true one is always among them"
        return f"all cases are of one diagnosis, {self.names[int(counts.argmax())]}"

    def _why_no_auroc(self, cases: int) -> str:
        if self.ranking is None:
            return "a text answer names one diagnosis and ranks none"
        return NO_CASE_OF_IT if cases == 0 else "all cases have it"


def _indices(values: Sequence[int] | Rows, count: int, lowest: int = 0) -> Rows:
    found = np.asarray(values, dtype=np.intp).reshape(-1)
    if len(found) and not (lowest <= found.min() and found.max() < count):
        raise ValueError(f"Diagnoses are numbers from {lowest} to {count - 1}; got {found.min()} to {found.max()}.")
    return found
