"""Several pictures in one conversation, and many conversations at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from skingpt4.chat.conversation import Chat, Conversation
from skingpt4.chat.questions import QuestionError
from skingpt4.chat.saved import ConversationError
from skingpt4.engines.sampling import Sampling
from skingpt4.errors import ImageError
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.vocabulary import CLINICAL_PROMPTS

SHORT = Sampling(max_new_tokens=12)


@pytest.fixture
def chat(tiny_model: tuple[SkinGPT4, Processor]) -> Chat:
    return Chat(*tiny_model)


@pytest.fixture
def photos() -> list[Image.Image]:
    generator = torch.Generator().manual_seed(3)
    return [
        Image.fromarray(torch.randint(0, 256, (40, 50, 3), generator=generator, dtype=torch.uint8).numpy())
        for _ in range(4)
    ]


def test_a_second_picture_is_shown_with_the_next_question(chat: Chat, photos: list[Image.Image]) -> None:
    conversation = chat.start(photos[0])
    conversation.ask("What is it?", SHORT)
    conversation.add_image(photos[1])
    conversation.add_image(photos[2])
    assert conversation.prompt_text("And these?").count("<ImageHere>") == 3
    in_order = conversation.next_token_logits("And these?")
    other = chat.start(photos[0])
    other.add_turn("What is it?", conversation.turns[0].reply or "")
    other.add_image(photos[2])
    other.add_image(photos[1])
    assert (other.next_token_logits("And these?") - in_order).abs().max() > 1e-4
    conversation.ask("And these?", SHORT)
    conversation.ask("Why?", SHORT)
    assert [turn.images for turn in conversation.turns] == [1, 2, 0]


def test_a_picture_that_is_added_while_an_answer_comes_belongs_to_the_next_question(
    chat: Chat, photos: list[Image.Image]
) -> None:
    conversation = chat.start(photos[0])
    stream = conversation.stream("What is it?", SHORT)
    next(stream)
    conversation.add_image(photos[1])
    list(stream)
    conversation.ask("And this?", SHORT)
    assert [turn.images for turn in conversation.turns] == [1, 1]


def test_pictures_stay_where_the_oldest_turns_go(chat: Chat, photos: list[Image.Image]) -> None:
    chat.model.decoder.config.max_position_embeddings = 360
    conversation = chat.start(photos[0])
    for number in range(6):
        if number in (1, 2):
            conversation.add_image(photos[number])
        conversation.ask(f"Question {number}?", Sampling(max_new_tokens=40))
    assert conversation.dropped_turns > 2
    assert conversation.turns[0].images == 3 and sum(turn.images for turn in conversation.turns) == 3
    assert [turn.images for turn in conversation.history] == [1, 1, 1, 0, 0, 0]
    again = Conversation.from_dict(chat, conversation.to_dict())
    assert again.turns == conversation.turns and again.history == conversation.history
    prompt = conversation.prompt_text("More?")
    assert prompt.startswith("Give the following image") and prompt.count("<ImageHere>") == 3


def test_too_many_pictures_are_told(chat: Chat, photos: list[Image.Image]) -> None:
    chat.model.decoder.config.max_position_embeddings = 100
    conversation = chat.start(photos[0])
    for photo in photos:
        conversation.add_image(photo)
    with pytest.raises(QuestionError, match=r"with 5 pictures it has \d+ tokens.*show fewer pictures"):
        conversation.ask("What?")


def test_answer_many_equals_asking_one_by_one(chat: Chat, photos: list[Image.Image]) -> None:
    questions = ["What is it?", *CLINICAL_PROMPTS[:3]]
    alone = [chat.start(photo).ask(question, SHORT) for photo, question in zip(photos, questions, strict=True)]
    assert chat.answer_many(photos, questions, 12) == alone and len(set(alone)) == 4
    assert chat.answer_many([], "What?") == []
    assert chat.answer_many(photos[:2], "What is it?", 12)[0] == alone[0]


@pytest.mark.parametrize(
    ("questions", "message"),
    [(["a", "b"], "Pictures: 4, questions: 2"), ("  ", "empty"), (["a", "b", "c", ""], "empty")],
)
def test_answer_many_refuses_what_it_cannot_pair(
    chat: Chat, photos: list[Image.Image], questions: str | list[str], message: str
) -> None:
    with pytest.raises(QuestionError, match=message):
        chat.answer_many(photos, questions)


def test_a_bad_picture_among_many_is_named(chat: Chat, photos: list[Image.Image], tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"torn\.png"):
        chat.answer_many([photos[0], tmp_path / "torn.png"], "What?")


def test_a_saved_conversation_goes_on_where_it_was(chat: Chat, photos: list[Image.Image]) -> None:
    conversation = chat.start(photos[0])
    conversation.ask("What is it?", SHORT)
    conversation.add_image(photos[1])
    data = json.loads(json.dumps(conversation.to_dict()))
    back = Conversation.from_dict(chat, data)
    assert back.turns == conversation.turns and back.to_dict() == conversation.to_dict()
    assert back.ask("And this?", SHORT) == conversation.ask("And this?", SHORT)
    assert [turn.images for turn in back.turns] == [1, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "saved in format 2"),
        ({"turns": [{"question": "?", "images": 1}]}, "damaged one .KeyError"),
        ({"turns": [{"question": "?", "images": 2, "reply": "a"}]}, "show more pictures than it has"),
        ({"dropped_turns": 1}, "more turns were dropped than it has"),
        ({"turns": [{"question": "?", "images": 1, "reply": None}]}, "damaged one .TypeError"),
        ({"pictures": [{"shape": [2, 3], "float32": "AAAA" * 8}]}, "features of 2 x 3, and this model's are 8 x 24"),
        ({"pictures": [{"shape": [2, 3], "float32": "AAAA"}]}, "damaged one .ValueError"),
        ({"pictures": [{"shape": [1, 1], "float32": "AADAfw=="}]}, "not finite"),
    ],
)
def test_a_damaged_conversation_is_refused(
    chat: Chat, photos: list[Image.Image], change: dict[str, object], message: str
) -> None:
    with pytest.raises(ConversationError, match=message):
        Conversation.from_dict(chat, {**chat.start(photos[0]).to_dict(), **change})
