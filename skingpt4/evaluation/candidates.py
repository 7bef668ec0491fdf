"""What a model thinks of a closed list, without parsing prose: diagnoses, and each of SKINCON's concepts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import logsumexp
from torch import Tensor

from skingpt4.chat.conversation import Chat
from skingpt4.data.records import in_column_order
from skingpt4.evaluation.parsing import Members, named_concepts, names_of
from skingpt4.prompts import Turn
from skingpt4.vocabulary import CONCEPT_ANSWER, CONCEPT_PROMPT, CONCEPTS, DIAGNOSIS_ANSWER, DIAGNOSIS_PROMPTS

LONGEST_LIST_TOKENS = 120


def diagnosis_log_scores(
    chat: Chat, features: Tensor, labels: Sequence[str], members: Members | None = None
) -> np.ndarray:
    """float64[n, K]: the natural logarithm of the probability that the model names label k of K diseases or classes.

    features: float[n, Q, 768]. It is the probability that the answer begins with step 2's sentence, up to the full stop
    after the name (what comes after it is left open), summed over all names of the label (`names_of`, also for
    `members`). `scipy.special.softmax` over a row makes the differential of a closed world.
    """
    names = list(names_of(labels, members).values())
    answers = [DIAGNOSIS_ANSWER.format(disease=name) for group in names for name in group]
    scores = chat.score_candidates(features, DIAGNOSIS_PROMPTS[1], answers, closed=False).log_likelihood
    ends = np.cumsum([len(group) for group in names])
    return np.stack([logsumexp(part, axis=1) for part in np.split(scores, ends[:-1], axis=1)], axis=1)


def concept_log_odds(
    chat: Chat, features: Tensor, prior: Tensor | None, answers: Sequence[str] | None = None
) -> np.ndarray:
    """float64[n, 48]: the log odds that each of SKINCON's concepts is present, against absent, less those of no
    photograph at all.

    The odds are those of two whole answers of step 1: the list that the model itself gives for the photograph, with and
    without the concept (in SKINCON's order), so they are near those that it would list it. What a model says whatever
    it is shown is taken off, per concept: its odds for a content-free picture (contextual calibration, Zhao et al.
    2021, "Calibrate Before Use"). That makes concepts comparable with each other and moves the zero; no ranking of
    photographs by one concept (AUROC, average precision, a threshold from validation) depends on it.

    features: float[n, Q, 768]. prior: float[Q, 768] of the content-free picture, e.g. the mean over a validation set;
    None = nothing is taken off. answers: the model's n greedy answers to `vocabulary.CONCEPT_PROMPT`, which are made
    where they are not at hand.
    """
    odds = _odds(chat, features, answers or _listed(chat, features))
    if prior is None:
        return odds
    blank = prior.unsqueeze(0)
    return odds - _odds(chat, blank, _listed(chat, blank))


def _listed(chat: Chat, features: Tensor) -> list[str]:
    asked = [Turn(CONCEPT_PROMPT, images=1)]
    return chat.answer_conversations(features, [asked] * len(features), LONGEST_LIST_TOKENS)


def _odds(chat: Chat, features: Tensor, answers: Sequence[str]) -> np.ndarray:
    """float64[n, 48]: log-likelihood of each answer's list with a concept, less that of the list without it."""
    odds = np.empty((len(features), len(CONCEPTS)))
    for row, answer in enumerate(answers):
        named = named_concepts(answer)
        lists = [named, *(named ^ {concept} for concept in CONCEPTS)]
        texts = [CONCEPT_ANSWER.format(concepts=", ".join(in_column_order(concepts))) for concepts in lists]
        scores = chat.score_candidates(features[row : row + 1], CONCEPT_PROMPT, texts).log_likelihood[0]
        odds[row] = (scores[1:] - scores[0]) * [-1 if concept in named else 1 for concept in CONCEPTS]
    return odds
