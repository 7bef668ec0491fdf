"""Predictions of an imagined model whose skill is known, for tests of what is measured from them."""

from __future__ import annotations

import numpy as np

from skingpt4.evaluation.predictions import Predictions
from skingpt4.vocabulary import CLASSES, CONCEPT_ANSWER, CONCEPTS

CLASS_OF = {
    "melanoma": "Melanoma Skin Cancer, Nevi, Moles",
    "melanocytic nevus": "Melanoma Skin Cancer, Nevi, Moles",
    "psoriasis": "Psoriasis and Lichen Planus",
    "urticaria": "Urticaria Hives",
}


def synthetic(count: int, skill: float = 1.5, seed: int = 0, cases: int = 0, people: bool = False) -> Predictions:
    """`count` cases of two per patient. skill: of true diagnoses' and concepts' scores above the others', whose spread
    is 1 (0 = a random model, large = perfect, negative = inverted). cases, seed: draw the cases, and the model's luck.
    people: whether skin type and sex are known.
    """
    draw, luck = np.random.default_rng([1, cases]), np.random.default_rng([2, seed])
    diseases = tuple(CLASS_OF)
    truth = draw.permutation(np.arange(count) % len(diseases))
    concepts = draw.random((count, len(CONCEPTS))) < 0.2
    concepts[np.arange(count), draw.integers(0, len(CONCEPTS), count)] = True
    classes = [CLASS_OF[diseases[index]] for index in truth]
    of_class = np.array([CLASSES.index(name) for name in classes])
    scores, class_scores = luck.normal(size=(count, len(diseases))), luck.normal(size=(count, len(CLASSES)))
    scores[np.arange(count), truth] += skill
    class_scores[np.arange(count), of_class] += skill
    odds = luck.normal(size=concepts.shape) + skill * np.where(concepts, 0.5, -0.5)
    given = [diseases[index] for index in scores.argmax(axis=1)]
    return Predictions(
        image=[f"{cases}/{row}.png" for row in range(count)],
        source=["imagined"] * count,
        split=["test"] * count,
        group=[f"patient {cases}.{row // 2}" for row in range(count)],
        disease=[diseases[index] for index in truth],
        disease_class=classes,
        concepts=[_names(row) for row in concepts],
        skin_type=np.arange(count) % 6 + 1 if people else np.full(count, -1),
        sex=["female" if row % 4 < 2 else "male" for row in range(count)] if people else [""] * count,
        age=np.full(count, -1),
        site=[""] * count,
        reference=[f"This could be a skin disease image of {diseases[index]}. Keep the skin dry." for index in truth],
        diagnosis_answer=[f"This could be a skin disease image of {name}. Keep the skin warm." for name in given],
        concept_answer=[CONCEPT_ANSWER.format(concepts=", ".join(_names(row))) for row in odds > 0],
        diseases=diseases,
        disease_log_scores=scores,
        class_log_scores=class_scores,
        concept_log_odds=odds,
        repeats=[(name,) * 3 for name in given],
        photo_score=[None] * count,
        seconds=np.ones(count),
    )


def _names(shown: np.ndarray) -> tuple[str, ...]:
    return tuple(name for name, is_shown in zip(CONCEPTS, shown, strict=True) if is_shown)
