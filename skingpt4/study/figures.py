"""The figures of a study: counts per item and level, agreement between raters, response times, and their tests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from skingpt4.data.progress import progress
from skingpt4.evaluation.figures.agreement import krippendorff_alpha, weighted_kappa
from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.figures.intervals import measured, wilson_interval
from skingpt4.study.collect import Rating
from skingpt4.study.folder import Study
from skingpt4.study.items import GROUPS, ITEMS, LEVELS, agreeing, items_of
from skingpt4.study.texts import Answer

TOTAL = "total"


@dataclass(frozen=True)
class ItemFigure:
    """counts: int[5], ratings per level. agree: share that agrees or strongly agrees, with its Wilson interval."""

    item: str
    group: str
    arm: str
    counts: tuple[int, ...]
    agree: Figure
    disease_class: str = ""


@dataclass(frozen=True)
class Agreement:
    """How far raters of a group agree on one arm's texts. kappas: quadratic weighted, by pair of raters."""

    item: str
    group: str
    arm: str
    alpha: Figure
    kappas: dict[str, Figure]


@dataclass(frozen=True)
class Times:
    """seconds: of every case, in the order of the cases; prompt: `TOTAL`, the photograph's or a section's name."""

    arm: str
    prompt: str
    seconds: tuple[float, ...]
    median: Figure

    def quartiles(self) -> tuple[float, float]:
        """The first and the third."""
        low, high = np.quantile(self.seconds, (0.25, 0.75))
        return float(low), float(high)


@dataclass(frozen=True)
class Outcome:
    """Of the test of a null hypothesis. p: None where it cannot be done, and `note` says why."""

    name: str
    question: str
    statistic: float | None
    p: float | None
    n: int
    note: str = ""


@dataclass(frozen=True)
class StudyFigures:
    """Everything that `study report` shows. expected: ratings that would be there if every rater judged every text."""

    items: tuple[ItemFigure, ...]
    classes: tuple[ItemFigure, ...]
    agreement: tuple[Agreement, ...]
    arms: tuple[Outcome, ...]
    times: tuple[Times, ...]
    time_tests: tuple[Outcome, ...]
    raters: dict[str, int]
    expected: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def study_figures(
    study: Study, ratings: Sequence[Rating], answers: Mapping[tuple[str, str], Answer], seed: int = 0
) -> StudyFigures:
    """Count and test. answers: by case and arm, for their times. seed: of the bootstrap."""
    times = _times(study, answers, seed)
    return StudyFigures(
        items=tuple(_items(study, ratings, by_class=False)),
        classes=tuple(_items(study, ratings, by_class=True)),
        agreement=tuple(_agreement(study, ratings, seed)),
        arms=tuple(_arm_tests(study, ratings)),
        times=times,
        time_tests=tuple(_time_tests(study, times)),
        raters={rater.id: sum(rating.rater == rater.id for rating in ratings) for rater in study.raters},
        expected={rater.id: len(rater.order) for rater in study.raters},
    )


def agree_share(counts: Sequence[int]) -> Figure:
    """agree + strongly agree of all ratings, with the Wilson interval. counts: int[5]."""
    n = sum(counts)
    if not n:
        return Figure.undefined("no rating", 0)
    return Figure(agreeing(counts) / n, n, *wilson_interval(agreeing(counts), n))


def _items(study: Study, ratings: Sequence[Rating], by_class: bool) -> list[ItemFigure]:
    counts: defaultdict[tuple[str, str, str, str], list[int]] = defaultdict(lambda: [0] * len(LEVELS))
    classes = sorted({case.disease_class or "unknown" for case in study.cases}) if by_class else [""]
    for rating in ratings:
        of_class = study.case_of(rating.code).disease_class or "unknown" if by_class else ""
        for item, level in rating.values.items():
            counts[item, _group(study, rating.rater), study.arm_of(rating.code), of_class][level - 1] += 1
    return [
        ItemFigure(item.key, group, arm, tuple(own), agree_share(own), of_class)
        for group in groups_of(study)
        for arm in study.arms
        for of_class in classes
        for item in items_of(group)
        for own in [counts[item.key, group, arm, of_class]]
    ]


def groups_of(study: Study) -> list[str]:
    """The groups of raters that the study has, dermatologists first."""
    there = {rater.group for rater in study.raters}
    return [group for group in GROUPS if group in there]


def _group(study: Study, rater: str) -> str:
    found = study.rater(rater)
    assert found is not None
    return found.group


def _agreement(study: Study, ratings: Sequence[Rating], seed: int) -> list[Agreement]:
    by_rater: dict[str, dict[str, Rating]] = defaultdict(dict)
    for rating in ratings:
        by_rater[rating.rater][rating.code] = rating
    found = []
    for group in groups_of(study):
        raters = [rater.id for rater in study.raters if rater.group == group]
        for arm in study.arms:
            codes = [text.code for text in study.texts if text.arm == arm]
            patients = [_patient(study, code) for code in codes]
            for item in progress(items_of(group), f"Agreement of {group} raters, {arm}"):
                table = np.full((len(raters), len(codes)), np.nan)
                for row, rater in enumerate(raters):
                    for column, code in enumerate(codes):
                        given = by_rater[rater].get(code)
                        table[row, column] = given.values.get(item.key, np.nan) if given else np.nan
                alpha = krippendorff_alpha(table, "ordinal", groups=patients, seed=seed)
                kappas = {
                    f"{raters[a]}-{raters[b]}": weighted_kappa(table[a], table[b], groups=patients, seed=seed)
                    for a, b in combinations(range(len(raters)), 2)
                }
                found.append(Agreement(item.key, group, arm, alpha, kappas))
    return found


def _patient(study: Study, code: str) -> str:
    """Texts on one patient are resampled together; without a patient, those on one case."""
    case = study.case_of(code)
    return case.patient or case.id


def _arm_tests(study: Study, ratings: Sequence[Rating]) -> list[Outcome]:
    """Two arms, item by item: the mean rating of each case, paired (Wilcoxon 1945)."""
    tests = []
    for group in groups_of(study):
        levels: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
        for rating in ratings:
            if _group(study, rating.rater) == group:
                for key, level in rating.values.items():
                    levels[key, study.arm_of(rating.code), study.case_of(rating.code).id].append(level)
        for first, second in combinations(study.arms, 2):
            for item in items_of(group):
                pairs = [
                    (np.mean(levels[item.key, first, case.id]), np.mean(levels[item.key, second, case.id]))
                    for case in study.cases
                    if levels[item.key, first, case.id] and levels[item.key, second, case.id]
                ]
                question = f"{topic_of(item.key)}, {group} raters: do {first} and {second} differ?"
                tests.append(wilcoxon(question, np.array(pairs).reshape(-1, 2)))
    return tests


def wilcoxon(question: str, pairs: np.ndarray) -> Outcome:
    """Wilcoxon's signed-rank test of float[n, 2] paired values; zero differences are left out (Wilcoxon 1945)."""
    from scipy.stats import wilcoxon as scipy_wilcoxon

    name, n = "Wilcoxon signed-rank", len(pairs)
    if not n or not np.any(pairs[:, 0] != pairs[:, 1]):
        return Outcome(name, question, None, None, n, "no case differs" if n else "no case was judged in both arms")
    result = scipy_wilcoxon(pairs[:, 0], pairs[:, 1], zero_method="wilcox")
    return Outcome(name, question, float(result.statistic), float(result.pvalue), n)


def kruskal_wallis(question: str, groups: Mapping[str, Sequence[float]]) -> Outcome:
    """Kruskal and Wallis's test (1952) that values of all groups come from one distribution; groups of one
    value are left out.
    """
    from scipy.stats import kruskal

    name = "Kruskal-Wallis"
    filled = [list(values) for values in groups.values() if len(values) > 1]
    alone = [group for group, values in groups.items() if len(values) == 1]
    note = f"without {', '.join(alone)}: a single value" if alone else ""
    n = sum(map(len, filled))
    if len(filled) < 2:
        return Outcome(name, question, None, None, n, "two groups of two values or more are needed")
    if len({value for values in filled for value in values}) < 2:
        return Outcome(name, question, None, None, n, "all values are equal")
    result = kruskal(*filled)
    return Outcome(name, question, float(result.statistic), float(result.pvalue), n, note)


def _times(study: Study, answers: Mapping[tuple[str, str], Answer], seed: int) -> tuple[Times, ...]:
    found = []
    for arm in study.arms:
        own = [(case, answers[case.id, arm]) for case in study.cases if (case.id, arm) in answers]
        timed = [(case.patient or case.id, answer) for case, answer in own if answer.seconds]
        prompts = list(dict.fromkeys(name for _, answer in timed for name in answer.seconds))
        for prompt in [TOTAL, *(prompts if len(prompts) > 1 else [])] if timed else []:
            seconds = [sum(a.seconds.values()) if prompt == TOTAL else a.seconds[prompt] for _, a in timed]
            found.append(Times(arm, prompt, tuple(seconds), _median(seconds, [patient for patient, _ in timed], seed)))
    return tuple(found)


def _median(seconds: Sequence[float], patients: Sequence[str], seed: int) -> Figure:
    values = np.array(seconds)
    return measured(lambda rows: float(np.median(values[rows])), patients, len(values), "no time was measured", seed)


def _time_tests(study: Study, times: Sequence[Times]) -> list[Outcome]:
    """Between the classes of each arm, and between two arms on the same cases."""
    tests = []
    totals = {
        each.arm: each.seconds for each in times if each.prompt == TOTAL and len(each.seconds) == len(study.cases)
    }
    for arm, seconds in totals.items():
        groups: defaultdict[str, list[float]] = defaultdict(list)
        for case, value in zip(study.cases, seconds, strict=True):
            groups[case.disease_class or "unknown"].append(value)
        tests.append(kruskal_wallis(f"{arm}: does the response time differ between classes?", groups))
    for first, second in combinations(totals, 2):
        question = f"Does the response time differ between {first} and {second}?"
        tests.append(wilcoxon(question, np.array([totals[first], totals[second]]).T))
    return tests


def topic_of(key: str) -> str:
    """`1 Diagnosis is correct or relevant` for an item's key."""
    return next(f"{item.number} {item.topic}" for item in ITEMS if item.key == key)
