"""Whether the model is as good for everyone: any metric per group of people, the worst group, and the gap.

As fairlearn's MetricFrame (Bird et al. 2020), with intervals that resample patients. Skin types 1-6 are kept apart:
merged ones hide what the literature found on dark skin (Daneshjou et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.figures.intervals import LEVEL, MOST_UNDEFINED, RESAMPLES, Rows, measured, proportion

UNKNOWN = "unknown"
SKIN_TYPES = ("1", "2", "3", "4", "5", "6")
SEXES = ("female", "male")
AGE_BANDS = {"0-17": 17, "18-39": 39, "40-64": 64, "65 and more": 200}  # the last year of each
LEAST_CASES = 10  # of a group that is compared: one with fewer would make every gap a matter of luck


@dataclass(frozen=True)
class GroupFigures:
    """One metric by groups.

    values: of every group that was expected or is there, `UNKNOWN` last. worst, best: names, empty with fewer than two
    groups to compare. gap: the distance of the two; groups of fewer than `LEAST_CASES` cases, of an undefined value and
    `UNKNOWN` are not compared (`left_out`). gap_if_alike: even alike groups show a gap by luck, the larger the smaller
    and the more they are; this is its mean, and where it lies in 95 % of random deals of the patients to the groups.
    chance: the share of deals with a gap as large as the measured one (the p-value of this permutation test).
    """

    values: dict[str, Figure]
    worst: str
    best: str
    gap: Figure
    gap_if_alike: Figure
    chance: float | None
    left_out: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        return {
            "values": {name: figure.to_dict() for name, figure in self.values.items()},
            "worst": self.worst,
            "best": self.best,
            "gap": self.gap.to_dict(),
            "gap_if_alike": self.gap_if_alike.to_dict(),
            "chance": self.chance,
            "left_out": list(self.left_out),
        }


def skin_types(fitzpatrick: Sequence[int]) -> list[str]:
    """One of `SKIN_TYPES` per case, or `UNKNOWN` for any other number."""
    return [str(kind) if 1 <= kind <= 6 else UNKNOWN for kind in fitzpatrick]


def age_bands(ages: Sequence[int]) -> list[str]:
    """One of `AGE_BANDS` per case, or `UNKNOWN` for a negative age. ages: years."""
    return [next((name for name, last in AGE_BANDS.items() if 0 <= age <= last), UNKNOWN) for age in ages]


def patients_of(groups: Sequence[str] | None, rows: Rows) -> list[str] | None:
    """The patients or lesions of some rows; None where `groups` is."""
    return None if groups is None else [groups[row] for row in rows.tolist()]


def by_group(
    metric: Callable[[Rows], float | None],
    members: Sequence[str],
    groups: Sequence[str] | None = None,
    expected: Sequence[str] = (),
    better: Literal["higher", "lower"] = "higher",
    undefined: str = "not defined on these cases",
    seed: int = 0,
    is_share: bool = False,
) -> GroupFigures:
    """A metric per group of people, with 95 % intervals.

    metric: row numbers int[m] -> its value, None where undefined. members: each case's group of people, empty =
    `UNKNOWN`. groups: each case's patient or lesion, which are resampled whole. expected: groups of people that are
    told even where no case is of them, such as `SKIN_TYPES`. better: which end of the metric is good. undefined: why
    the metric may have no value in a group. is_share: of the cases, so that a small group whose cases are all right
    gets Wilson's interval and not a point (see `intervals.proportion`).
    """
    names = [member or UNKNOWN for member in members]
    others = sorted(set(names) - set(expected), key=lambda name: (name == UNKNOWN, name))
    ordered = [*expected, *others]
    place = np.array([ordered.index(name) for name in names], dtype=np.intp)
    values = {}
    for index, name in enumerate(ordered):
        rows = np.flatnonzero(place == index)
        figure = _within(metric, rows, groups, undefined, seed)
        if is_share and figure.value in (0.0, 1.0):
            figure = proportion(np.full(len(rows), figure.value == 1), patients_of(groups, rows), seed)
        values[name] = figure
    compared = [
        index
        for index, (name, figure) in enumerate(values.items())
        if name != UNKNOWN and figure.value is not None and figure.n >= LEAST_CASES
    ]
    left_out = tuple(name for index, name in enumerate(ordered) if index not in compared)
    if len(compared) < 2:
        none = Figure.undefined(f"fewer than two known groups have {LEAST_CASES} cases and a value", len(names))
        return GroupFigures(values, "", "", none, none, None, left_out)

    def gap(rows: Rows, of_row: Rows) -> float | None:
        found = [metric(rows[of_row == index]) if (of_row == index).any() else None for index in compared]
        defined = [value for value in found if value is not None]
        return max(defined) - min(defined) if len(defined) == len(found) else None

    among = np.flatnonzero(np.isin(place, compared))
    measured_gap = _within(lambda rows: gap(rows, place[rows]), among, groups, undefined, seed)
    alike, chance = _if_alike(gap, among, place[among], measured_gap, groups, seed)
    by_value = sorted((ordered[index] for index in compared), key=lambda name: values[name].value or 0.0)
    worst, best = (by_value[0], by_value[-1]) if better == "higher" else (by_value[-1], by_value[0])
    return GroupFigures(values, worst, best, measured_gap, alike, chance, left_out)


def _if_alike(
    gap: Callable[[Rows, Rows], float | None],
    rows: Rows,
    of_row: Rows,
    found: Figure,
    groups: Sequence[str] | None,
    seed: int,
) -> tuple[Figure, float | None]:
    """The gap of groups that patients were dealt to at random, and how often it is as large as the one `found`."""
    patients = patients_of(groups, rows) or [""] * len(rows)
    _, first, patient = np.unique(
        [name or f"row {row}" for name, row in zip(patients, rows, strict=True)], return_index=True, return_inverse=True
    )
    rng = np.random.default_rng(seed)
    # A patient is dealt as one, under the name of the first picture.
    deals = (gap(rows, rng.permutation(of_row[first])[patient]) for _ in range(RESAMPLES))
    gaps = np.array([deal for deal in deals if deal is not None])
    if found.value is None or len(gaps) < (1 - MOST_UNDEFINED) * RESAMPLES:
        return Figure.undefined("the metric has no value in too many random groups", len(rows)), None
    low, high = np.quantile(gaps, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    # The measured deal is one of those that may come (Phipson and Smyth 2010): the chance is never 0.
    chance = (1 + int((gaps >= found.value - 1e-12).sum())) / (1 + len(gaps))
    return Figure(float(gaps.mean()), len(rows), float(low), float(high), note="simulated, not measured"), chance


def _within(
    metric: Callable[[Rows], float | None], rows: Rows, groups: Sequence[str] | None, undefined: str, seed: int
) -> Figure:
    return measured(lambda drawn: metric(rows[drawn]), patients_of(groups, rows), len(rows), undefined, seed)
