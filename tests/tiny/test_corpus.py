"""Diseases, corpus and tokenizer: rules are valid, everyday and clinical words stay apart, text survives the round
trip.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from skingpt4.prompts import IMAGE_SLOT
from skingpt4.tiny import wording
from skingpt4.tiny.asking import ask
from skingpt4.tiny.attributes import ATTRIBUTES, LAY_WORDS
from skingpt4.tiny.corpus import SLOT_WORDS, sample
from skingpt4.tiny.diseases import DISEASES
from skingpt4.tiny.parts import QUERIES
from skingpt4.tiny.pretrain_language import encode
from skingpt4.tiny.questions import HELD_OUT, WORDINGS
from skingpt4.tiny.renderer import ARRANGEMENTS, COUNTS, DRAWABLE
from skingpt4.tokenizer import SentencePieceTokenizer
from skingpt4.vocabulary import CLASSES, CONCEPTS

ASSETS = Path(wording.__file__).parent / "assets"


@pytest.fixture(scope="module")
def tokenizer() -> SentencePieceTokenizer:
    return SentencePieceTokenizer(ASSETS / "llm" / "tokenizer.model")


def test_disease_rules_are_valid():
    assert len(DISEASES) == 38 and len({disease.name for disease in DISEASES}) == 38
    assert {disease.disease_class for disease in DISEASES} == set(CLASSES)
    drawn = set()
    for disease in DISEASES:
        concepts = {*disease.always, *disease.sometimes}
        assert concepts <= set(DRAWABLE), disease.name
        assert not set(disease.always) & set(disease.sometimes), disease.name
        assert all(0 < share < 1 for share in disease.sometimes.values()), disease.name
        assert set(disease.arrangements) <= set(ARRANGEMENTS) and set(disease.counts) <= set(COUNTS), disease.name
        assert disease.urgency in ("today", "soon", "routine")
        drawn |= concepts
    assert drawn == set(DRAWABLE)


def test_causes_and_treatments_identify_the_disease():
    for field in ("cause", "treatment"):
        values = [getattr(disease, field) for disease in DISEASES]
        assert len(set(values)) == 38
        assert not [(a, b) for a in values for b in values if a != b and a in b]


def test_attributes():
    assert len(ATTRIBUTES) == len(set(ATTRIBUTES)) == 39
    assert set(LAY_WORDS) == set(DRAWABLE)


def test_everyday_and_clinical_words_never_meet():
    """Guards the column `no fine-tuning`: nothing may lead from everyday words in the slot to a medical answer."""
    rng = np.random.default_rng(0)
    everyday = set(ATTRIBUTES)
    lay_questions = {question.lower().rstrip("?.") for question in WORDINGS["lay"]}
    clinical_only = {word.lower() for word in SLOT_WORDS.values()} - {
        word.lower() for words in ATTRIBUTES for word in words.split()
    }
    kinds = set()
    for _ in range(3000):
        conversation = sample(rng, chat_share=0.5)
        kinds.add(conversation.kind)
        if conversation.kind == "lay":
            assert conversation.slot and set(conversation.slot) <= everyday
            question, answer = conversation.turns[0]
            assert len(conversation.turns) == 1
            assert any(known in question.lower() for known in lay_questions), question
            assert "disease" not in answer and not clinical_only & set(answer.lower().replace(",", "").split())
        elif conversation.slot is not None:
            assert not set(conversation.slot) & everyday, conversation
    assert kinds == {"lay", "concepts", "diagnosis", "text"}


def test_held_out_wordings_are_not_in_the_corpus():
    seen = {question for wordings in WORDINGS.values() for question in wordings}
    assert not seen & {question for wordings in HELD_OUT.values() for question in wordings}
    rng = np.random.default_rng(0)
    asked = {ask(what, rng).lower() for what in WORDINGS for _ in range(200)}
    assert not asked & {question.lower() for wordings in HELD_OUT.values() for question in wordings}


def test_answers_are_read_back():
    rng = np.random.default_rng(0)
    for disease in DISEASES:
        text = wording.diagnosis(disease, wording.notes(disease, ("Vesicle", "Brown(Hyperpigmentation)"), "ring", rng))
        assert wording.parse_disease(text) == disease.name
        assert wording.parse_concepts(text) == {"Vesicle", "Brown(Hyperpigmentation)"}, text
    assert wording.parse_concepts(wording.concept_sentence(CONCEPTS)) == set(CONCEPTS)
    assert wording.parse_disease("The picture shows a round lump.") is None
    assert wording.parse_concepts("The picture shows small blisters and white flakes.") == set()


def test_tokenizer_has_llamas_ids_and_keeps_text(tokenizer):
    assert tokenizer.size == 1100 and tokenizer.bos_id == 1 and tokenizer.eos_ids == (2,)
    for text in (
        "###Human: <Img>",
        "a  b   c",
        " leading",
        "Über 漢字 🙂\n\ttabs",
        "Purpura/Petechiae, Brown(Hyperpigmentation)###",
        "</s><s>",
    ):
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert min(tokenizer.encode(text)) > 2  # `###` and `</s>` typed by a user are ordinary pieces


def test_most_concepts_are_one_piece(tokenizer):
    assert [word for word in SLOT_WORDS.values() if len(tokenizer.encode(word)) > 1] == ["Dome-shaped", "Flat topped"]


def test_every_answer_and_nothing_else_carries_loss(tokenizer):
    rng = np.random.default_rng(1)
    for _ in range(100):
        conversation = sample(rng, chat_share=0.7)
        example = encode(conversation, tokenizer, rng)
        assert example.ids.count(IMAGE_SLOT) == (QUERIES if conversation.slot else 0)
        learned = tokenizer.decode(
            [token for token, wanted in zip(example.ids, example.in_loss, strict=True) if wanted]
        )
        assert [part.strip() for part in learned.split("###") if part.strip()] == [
            answer for _, answer in conversation.turns
        ]
