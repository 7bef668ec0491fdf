"""The two levels at which a diagnosis can be right: the disease, and its class of the paper's Table 2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skingpt4.data.sources.names import key
from skingpt4.evaluation.figures.diagnosis import Diagnoses
from skingpt4.evaluation.figures.intervals import Rows, Values
from skingpt4.evaluation.parsing import named_disease
from skingpt4.evaluation.predictions import Predictions
from skingpt4.vocabulary import CLASSES

DISEASE, CLASS = "disease", "class"


@dataclass(frozen=True)
class Level:
    """m cases whose truth is known at this level. names: the K diagnoses to choose from. rows: int[m], of the
    predictions. truth: int[m], 0..K-1. scores: float64[m, K] natural logarithms, [m, 0] where nothing was scored.
    named: int[m], what the text answer names, -1 = none or several. groups: of the m cases.
    """

    names: tuple[str, ...]
    rows: Rows
    truth: Rows
    scores: Values
    named: Rows
    groups: list[str]

    @cached_property
    def scored(self) -> Diagnoses | None:
        """Ranked by score; None where nothing was scored."""
        return Diagnoses.from_scores(self.truth, self.scores, self.names) if self.scores.shape[1] else None

    @cached_property
    def answered(self) -> Diagnoses:
        """As the text answers name them."""
        return Diagnoses.from_answers(self.truth, self.named, self.names)


def class_map(*predictions: Predictions) -> dict[str, str]:
    """The class of each disease, as far as the cases say so; diseases of two classes are left out."""
    found: dict[str, set[str]] = {}
    for each in predictions:
        for disease, name in zip(each.disease, each.disease_class, strict=True):
            if disease and name in CLASSES:
                found.setdefault(disease, set()).add(name)
    return {disease: names.pop() for disease, names in found.items() if len(names) == 1}


def levels_of(cases: Predictions, class_of: Mapping[str, str]) -> dict[str, Level]:
    """`DISEASE` and `CLASS`, those of which some case has a truth. class_of: as `class_map` gives it."""
    found = {
        DISEASE: disease_level(cases),
        CLASS: _level(
            cases, CLASSES, cases.disease_class, cases.class_log_scores,
            {name: [disease for disease, its in class_of.items() if its == name] for name in CLASSES},
        ),
    }  # fmt: skip
    return {name: level for name, level in found.items() if len(level.truth)}


def disease_level(cases: Predictions) -> Level:
    """The cases whose disease is one of the data's."""
    return _level(cases, cases.diseases, cases.disease, cases.disease_log_scores, {})


def _level(
    cases: Predictions,
    names: tuple[str, ...],
    truth: list[str],
    scores: Values,
    members: Mapping[str, list[str]],
) -> Level:
    place = {key(name): index for index, name in enumerate(names)}
    rows = np.array([row for row, name in enumerate(truth) if key(name) in place], np.intp)
    named = [named_disease(cases.diagnosis_answer[row], names, members) for row in rows]
    return Level(
        names,
        rows,
        np.array([place[key(truth[row])] for row in rows], np.intp),
        scores[rows],
        np.array([-1 if name is None else names.index(name) for name in named], np.intp),
        [cases.group[row] for row in rows],
    )
