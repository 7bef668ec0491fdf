"""Diagnoses and concepts as the package's own model scores them, on pictures that it has never seen."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.special import logsumexp, softmax
from sklearn.metrics import roc_auc_score
from torch import Tensor

from skingpt4 import Chat, load_model
from skingpt4.evaluation.candidates import concept_log_odds, diagnosis_log_scores
from skingpt4.evaluation.parsing import named_concepts
from skingpt4.prompts import Turn
from skingpt4.tiny.dataset import SetSize, draw_set
from skingpt4.tiny.diseases import DISEASES
from skingpt4.vocabulary import CLASSES, CONCEPT_ANSWER, CONCEPT_PROMPT, CONCEPTS, DIAGNOSIS_ANSWER, DIAGNOSIS_PROMPTS

NAMES = tuple(disease.name for disease in DISEASES)
SET = SetSize(diseases=len(NAMES), random=0, notes=False, seed=606)


@pytest.fixture(scope="module")
def chat() -> Chat:
    return Chat(*load_model())


@pytest.fixture(scope="module")
def drawn(chat: Chat) -> tuple[Tensor, list[str], np.ndarray]:
    """features float[38, Q, 768], the disease of each, and its concepts bool[38, 48]."""
    renderings = [rendering for rendering, _ in draw_set(SET)]
    features = chat.encode_many([Image.fromarray(rendering.image) for rendering in renderings])
    has = [[name in rendering.description.concepts for name in CONCEPTS] for rendering in renderings]
    return features, [str(rendering.description.disease) for rendering in renderings], np.array(has)


def test_the_likeliest_diagnosis_is_mostly_the_true_one(
    chat: Chat, drawn: tuple[Tensor, list[str], np.ndarray]
) -> None:
    features, truth, _ = drawn
    scores = diagnosis_log_scores(chat, features, NAMES)
    assert scores.shape == (38, 38) and scores.dtype == np.float64 and (scores < 0).all()
    right = [NAMES[best] == disease for best, disease in zip(scores.argmax(axis=1), truth, strict=True)]
    assert sum(right) >= 34
    # No answer says two diseases, and this model says hardly anything else.
    total = np.exp(scores).sum(axis=1)
    assert (total <= 1.01).all() and np.median(total) > 0.95
    backwards = diagnosis_log_scores(chat, features[:2], NAMES[::-1])
    np.testing.assert_allclose(backwards[:, ::-1], scores[:2], atol=0.05)  # bf16, in another order


def test_a_label_has_the_probability_of_all_its_names(chat: Chat, drawn: tuple[Tensor, list[str], np.ndarray]) -> None:
    features = drawn[0][:3]
    members: dict[str, list[str]] = {}
    for disease in DISEASES:
        members.setdefault(disease.disease_class, []).append(disease.name)
    classes = diagnosis_log_scores(chat, features, CLASSES, members)
    diseases = diagnosis_log_scores(chat, features, NAMES)
    for column, label in enumerate(CLASSES):
        own = [NAMES.index(name) for name in members.get(label, ())]
        assert own and (classes[:, column] >= logsumexp(diseases[:, own], axis=1) - 0.05).all()
    named = ("herpes zoster", "shingles", "zoster")
    answers = [DIAGNOSIS_ANSWER.format(disease=name) for name in named]
    each = chat.score_candidates(features, DIAGNOSIS_PROMPTS[1], answers, closed=False).log_likelihood
    merged = diagnosis_log_scores(chat, features, ["herpes zoster"])
    np.testing.assert_allclose(merged[:, 0], logsumexp(each, axis=1), atol=0.05)


def test_the_scores_agree_with_what_the_model_says(chat: Chat, drawn: tuple[Tensor, list[str], np.ndarray]) -> None:
    features = drawn[0]
    most = softmax(diagnosis_log_scores(chat, features[:12], NAMES), axis=1)
    said = chat.answer_conversations(features[:12], [[Turn(DIAGNOSIS_PROMPTS[1], images=1)]] * 12, 24)
    sure = [row for row in range(12) if most[row].max() > 0.7]
    assert len(sure) >= 6
    for row in sure:
        assert said[row].startswith(DIAGNOSIS_ANSWER.format(disease=NAMES[most[row].argmax()]))


def test_concepts_that_are_there_have_higher_odds(chat: Chat, drawn: tuple[Tensor, list[str], np.ndarray]) -> None:
    features, has = drawn[0][:24], drawn[2][:24]
    answers = chat.answer_conversations(features, [[Turn(CONCEPT_PROMPT, images=1)]] * 24, 120)
    odds = concept_log_odds(chat, features, None, answers)
    assert odds.shape == (24, 48) and odds.dtype == np.float64 and np.isfinite(odds).all()
    several = [column for column in range(48) if 2 <= has[:, column].sum() <= 22]
    assert len(several) >= 10
    areas = [roc_auc_score(has[:, column], odds[:, column]) for column in several]
    said = [
        roc_auc_score(has[:, column], [CONCEPTS[column] in named_concepts(a) for a in answers]) for column in several
    ]
    assert np.mean(areas) > 0.9 and np.mean(areas) > np.mean(said)
    assert ((odds > 0) == has).mean() > 0.97
    again = concept_log_odds(chat, features[:2], None)  # makes the answers itself
    np.testing.assert_allclose(again, odds[:2], atol=0.3)


def test_odds_are_those_of_the_answer_with_and_without_the_concept(
    chat: Chat, drawn: tuple[Tensor, list[str], np.ndarray]
) -> None:
    features = drawn[0][:1]
    lists = ("Plaque", "Plaque, Scale", "Papule, Plaque", "")
    answers = [CONCEPT_ANSWER.format(concepts=names) for names in lists]
    alone, with_scale, with_papule, empty = chat.score_candidates(features, CONCEPT_PROMPT, answers).log_likelihood[0]
    odds = dict(zip(CONCEPTS, concept_log_odds(chat, features, None, [answers[0]])[0], strict=True))
    assert odds["Scale"] == pytest.approx(with_scale - alone, abs=0.1)
    assert odds["Papule"] == pytest.approx(with_papule - alone, abs=0.1)
    assert odds["Plaque"] == pytest.approx(alone - empty, abs=0.1)


def test_the_prior_takes_off_what_the_model_says_of_it(chat: Chat, drawn: tuple[Tensor, list[str], np.ndarray]) -> None:
    features, prior = drawn[0][:2], drawn[0].mean(dim=0)
    plain, corrected = (concept_log_odds(chat, features, given) for given in (None, prior))
    np.testing.assert_allclose(plain - corrected, concept_log_odds(chat, prior[None], None).repeat(2, axis=0), atol=0.1)
    np.testing.assert_allclose(concept_log_odds(chat, prior[None], prior), 0, atol=0.1)
