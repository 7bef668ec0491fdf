"""The cases whose concepts somebody noted, with what the model scored and what it wrote of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from skingpt4.evaluation.figures.concepts import Concepts
from skingpt4.evaluation.figures.intervals import Rows, Values
from skingpt4.evaluation.figures.metrics import best_f1_thresholds
from skingpt4.evaluation.parsing import named_concepts
from skingpt4.evaluation.predictions import Predictions
from skingpt4.vocabulary import CONCEPTS

SCORED, ANSWERED = "scored", "answered"


@dataclass(frozen=True)
class ConceptCases:
    """m cases. rows: int[m], of the predictions. concepts: theirs. groups: the patient or lesion of each."""

    rows: Rows
    concepts: Concepts
    groups: list[str]


def concept_cases(
    test: Predictions, validation: Predictions | None = None, images: Sequence[int] | None = None
) -> dict[str, ConceptCases]:
    """By `SCORED` and `ANSWERED`, where some case has concepts. validation: where thresholds are chosen.

    images: int[48], how many images of the whole data show each concept; None = of these cases.
    """
    rows = known_rows(test)
    if not len(rows):
        return {}
    sets = [set(test.concepts[row] or ()) for row in rows]
    truth, groups = concept_table(sets), [test.group[row] for row in rows]
    counts = truth.sum(axis=0) if images is None else np.asarray(images)
    found = {}
    if test.concept_log_odds.shape[1]:
        scores, thresholds = test.concept_log_odds[rows], _thresholds(validation)
        found[SCORED] = ConceptCases(rows, Concepts(truth, scores, CONCEPTS, thresholds, counts), groups)
    if any(test.concept_answer):
        named = [named_concepts(test.concept_answer[row], test.diseases) for row in rows]
        found[ANSWERED] = ConceptCases(rows, Concepts.from_answers(sets, named, CONCEPTS, counts), groups)
    return found


def known_rows(cases: Predictions) -> Rows:
    """int[m]: the numbers of the cases whose concepts somebody noted."""
    return np.array([row for row, concepts in enumerate(cases.concepts) if concepts is not None], np.intp)


def concept_table(concepts: Sequence[Iterable[str]]) -> np.ndarray:
    """bool[n, 48] of the concepts of n cases."""
    held = [set(each) for each in concepts]
    return np.array([[name in each for name in CONCEPTS] for each in held], bool).reshape(-1, len(CONCEPTS))


def _thresholds(validation: Predictions | None) -> Values | None:
    """float64[48], the score from which on a concept counts as found; None where there is nothing to choose them on."""
    if validation is None or not validation.concept_log_odds.shape[1]:
        return None
    rows = known_rows(validation)
    truth = concept_table([validation.concepts[row] or () for row in rows])
    return best_f1_thresholds(truth, validation.concept_log_odds[rows]) if len(rows) else None
