"""Every metric for every group of people: skin type, sex, age, site."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from skingpt4.evaluation.concept_cases import ConceptCases
from skingpt4.evaluation.figures.calibration import calibration_metric, probabilities
from skingpt4.evaluation.figures.concepts import ENOUGH_IMAGES
from skingpt4.evaluation.figures.groups import (
    AGE_BANDS,
    SEXES,
    SKIN_TYPES,
    UNKNOWN,
    GroupFigures,
    age_bands,
    by_group,
    skin_types,
)
from skingpt4.evaluation.figures.intervals import Rows, Values
from skingpt4.evaluation.figures.text import is_refusal
from skingpt4.evaluation.levels import Level
from skingpt4.evaluation.predictions import Predictions

LOWER_IS_BETTER = ("ece", "brier", "refusals")
SHARES = ("top_1", "top_3", "top_5", "named", "refusals")  # of the cases
EXPECTED: dict[str, Sequence[str]] = {"skin type": SKIN_TYPES, "sex": SEXES, "age": tuple(AGE_BANDS), "site": ()}

Metric = Callable[[Rows], float | None]  # row numbers int[m] -> its value, None where undefined


@dataclass(frozen=True)
class Section:
    """Metrics over some of the cases. names: of the metrics. rows: int[m], numbers of the cases. metric: each of them
    by its name, of row numbers among these m.
    """

    names: Sequence[str]
    rows: Rows
    metric: Callable[[str], Metric]


def people_of(cases: Predictions) -> dict[str, list[str]]:
    """Attribute -> the group of each case, `UNKNOWN` where nobody noted it."""
    return {
        "skin type": skin_types(cases.skin_type.tolist()),
        "sex": [sex or UNKNOWN for sex in cases.sex],
        "age": age_bands(cases.age.tolist()),
        "site": [site or UNKNOWN for site in cases.site],
    }


def sections_of(
    cases: Predictions,
    levels: Mapping[str, Level],
    concepts: Mapping[str, ConceptCases],
    temperatures: Mapping[str, float],
) -> dict[str, Section]:
    """What there is to compare, named as in `Metrics.figures`. temperatures: of each level, 1 where none is fitted."""
    found = {}
    for name, level in levels.items():
        for kind, diagnoses in (("scored", level.scored), ("answered", level.answered)):
            if diagnoses is not None:
                found[f"diagnosis.{name}_{kind}"] = Section(diagnoses.metrics, level.rows, diagnoses.metric)
        if level.scored is not None:
            metric = _calibration(level, temperatures.get(name, 1.0))
            found[f"trust.{name}"] = Section(("ece", "brier"), level.rows, metric)
    for kind, each in concepts.items():
        found[f"concepts.{kind}"] = Section(each.concepts.metrics, each.rows, _concepts(each))
    if any(cases.diagnosis_answer):
        refused = np.array([is_refusal(answer) for answer in cases.diagnosis_answer], float)
        found["text_diagnosis"] = Section(("refusals",), np.arange(len(cases)), lambda _: _mean(refused))
    return found


def group_figures(
    cases: Predictions, sections: Mapping[str, Section], members: Sequence[str], expected: Sequence[str], seed: int = 0
) -> dict[str, GroupFigures]:
    """The values in each group of people, by "SECTION.METRIC". members: the group of each case. expected: groups that
    are told even where no case is of them.
    """
    found = {}
    for name, section in sections.items():
        names = [members[row] for row in section.rows]
        patients = [cases.group[row] for row in section.rows]
        for metric in section.names:
            better: Literal["lower", "higher"] = "lower" if metric in LOWER_IS_BETTER else "higher"
            found[f"{name}.{metric}"] = by_group(
                section.metric(metric), names, patients, expected, better, _why_undefined(name), seed, metric in SHARES
            )
    return found


def _calibration(level: Level, temperature: float) -> Callable[[str], Metric]:
    share = probabilities(level.scores, temperature)
    return lambda name: calibration_metric(name, share, level.truth)


def _mean(values: Values) -> Metric:
    """Of a number float[m] that each case has."""
    return lambda rows: float(values[rows].mean())


def _concepts(cases: ConceptCases) -> Callable[[str], Metric]:
    """Over the concepts that the headline counts; over all where none is frequent enough."""
    concepts = cases.concepts
    counted = concepts.images >= ENOUGH_IMAGES
    counted = counted if counted.any() else np.ones_like(counted)
    known: dict[bytes, Values] = {}

    def of(index: int, rows: Rows) -> float | None:
        # `by_group` draws the same rows for each metric, and the work is common to them.
        drawn = hashlib.blake2b(rows.tobytes(), digest_size=16).digest()
        if drawn not in known:
            known[drawn] = concepts.means(concepts.per_concept(rows), rows, counted)
        value = float(known[drawn][index])
        return None if np.isnan(value) else value

    return lambda name: partial(of, concepts.metrics.index(name))


def _why_undefined(section: str) -> str:
    if section.startswith("diagnosis"):
        return "all cases of the group are of one diagnosis"
    return "no concept is both there and absent in the group" if section.startswith("concepts") else "no case"
