"""Many pictures side by side are answered as one by one, and what is scored adds up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from manifests import draw_data_set

from skingpt4.chat.conversation import Chat
from skingpt4.chat.questions import QuestionError
from skingpt4.engines.sampling import Sampling
from skingpt4.errors import SettingsError
from skingpt4.evaluation.candidates import concept_log_odds, diagnosis_log_scores
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.prediction.asking import Asker, Plan, Prepared
from skingpt4.processor import Processor
from skingpt4.prompts import Turn
from skingpt4.vocabulary import CONCEPTS

TOKENS = 12  # a random model never stops by itself
SHORT = Plan(("What is it?", "Is it bad? " * 4), diagnoses=(), max_new_tokens=TOKENS)


@pytest.fixture
def chat(tiny_model: tuple[SkinGPT4, Processor]) -> Chat:
    return Chat(*tiny_model)


@pytest.fixture
def images(tmp_path: Path) -> list[Any]:
    return [record.image for record in draw_data_set(tmp_path, 5)]


def said(chat: Chat, plan: Plan, batch_size: int, images: list[Any]) -> list[dict[str, Any]]:
    asker = Asker(chat, plan, batch_size)
    pictures = [asker.prepare(image) for image in images]
    assert all(isinstance(picture, Prepared) for picture in pictures)
    return asker.ask(pictures)  # type: ignore[arg-type]


def answers(rows: list[dict[str, Any]]) -> list[list[str]]:
    return [[each["answer"] for each in row["answers"]] for row in rows]


@pytest.mark.parametrize("conversation", [False, True])
def test_batches_answer_as_a_chat_does(conversation: bool, chat: Chat, images: list[Any]) -> None:
    one_by_one = []
    for image in images:
        talks = [chat.start(image) for _ in SHORT.questions]
        asked = [talks[0]] * len(talks) if conversation else talks
        one_by_one.append(
            [talk.ask(question, Sampling(TOKENS)) for talk, question in zip(asked, SHORT.questions, strict=True)]
        )
    rows = said(chat, replace(SHORT, conversation=conversation), 2, images)
    assert answers(rows) == one_by_one and len({tuple(each) for each in one_by_one}) > 1
    assert [each["question"] for each in rows[0]["answers"]] == ["What is it?", ("Is it bad? " * 4).strip()]
    assert all(row["seconds"] > 0 for row in rows) and not {"diagnoses", "concept_scores", "photo"} & rows[0].keys()


def test_a_conversation_forgets_its_oldest_turns_where_the_decoder_is_full(chat: Chat, images: list[Any]) -> None:
    plan = Plan(tuple("abc"), conversation=True, diagnoses=(), max_new_tokens=TOKENS)
    talk, kept = chat.start(images[0]), []
    chat.model.decoder.config.max_position_embeddings = talk.length([Turn("a", images=1)]) + 3 * TOKENS
    for question in plan.questions:
        kept.append(talk.ask(question, Sampling(TOKENS)))
    assert talk.dropped_turns > 0
    assert answers(said(chat, plan, 2, images))[0] == kept


def test_diagnoses_are_ranked_and_what_is_left_is_said(chat: Chat, images: list[Any]) -> None:
    plan = replace(SHORT, diagnoses=("acne", "eczema", "psoriasis"))
    found = said(chat, plan, 3, images)
    scores = diagnosis_log_scores(chat, chat.encode_many(images), plan.diagnoses)
    for row, expected in zip(found, np.exp(scores), strict=True):
        names, probabilities = zip(*[each.values() for each in row["diagnoses"]], strict=True)
        assert list(names) == [plan.diagnoses[index] for index in np.argsort(-expected)]
        np.testing.assert_allclose(probabilities, np.sort(expected / expected.sum())[::-1], rtol=1e-3)
        assert row["unlisted"] == pytest.approx(1 - expected.sum()) and 0 <= row["unlisted"] <= 1


def test_all_concepts_are_scored(chat: Chat, images: list[Any]) -> None:
    found = said(chat, replace(SHORT, concepts=True), 3, images[:2])
    odds = concept_log_odds(chat, chat.encode_many(images[:2]), None)
    for row, expected in zip(found, 1 / (1 + np.exp(-odds)), strict=True):
        scored = {each["concept"]: each["probability"] for each in row["concept_scores"]}
        np.testing.assert_allclose([scored[name] for name in CONCEPTS], expected, atol=1e-4)
        assert list(scored.values()) == sorted(scored.values(), reverse=True) and len(scored) == 48


def test_a_picture_that_cannot_be_read_says_why(chat: Chat, tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n")
    asker = Asker(chat, SHORT, 2)
    assert "torn.png" in str(asker.prepare(tmp_path / "torn.png"))
    assert str(asker.prepare(tmp_path / "gone.png")).endswith("gone.png does not exist.")


def test_questions_are_checked_before_anything_is_asked(chat: Chat) -> None:
    with pytest.raises(QuestionError, match="A question is empty"):
        Asker(chat, replace(SHORT, questions=("What is it?", "  ")), 2)
    with pytest.raises(QuestionError, match="is too long: with the picture it has"):
        Asker(chat, replace(SHORT, questions=("word " * 2100,)), 2)
    with pytest.raises(SettingsError, match="No question is asked"):
        replace(SHORT, questions=())
    with pytest.raises(SettingsError, match="max_new_tokens is 0"):
        replace(SHORT, max_new_tokens=0)


def test_pixels_are_those_of_a_chat(chat: Chat, images: list[Any]) -> None:
    prepared = Asker(chat, SHORT, 2).prepare(images[0])
    assert isinstance(prepared, Prepared) and torch.equal(prepared.pixels, chat.processor.pixels(images[0]))
