"""Saved conversations that were damaged or made up, and questions that are no text."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from skingpt4.chat.conversation import Chat, Conversation
from skingpt4.chat.questions import QuestionError
from skingpt4.chat.saved import ConversationError
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor


@pytest.fixture
def chat(tiny_model: tuple[SkinGPT4, Processor]) -> Chat:
    return Chat(*tiny_model)


@pytest.fixture
def data(chat: Chat) -> dict[str, Any]:
    return chat.start(Image.new("RGB", (8, 8))).to_dict()


def turn(**changed: Any) -> dict[str, Any]:
    return {"turns": [{"question": "?", "images": 1, "reply": "a", **changed}]}


INFINITE = float("inf")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": True}, "saved in format True"),
        ({"dropped_turns": INFINITE}, "a whole number was expected, not inf"),
        ({"dropped_turns": False}, "a whole number was expected, not False"),
        (turn(images=INFINITE), "a whole number was expected, not inf"),
        (turn(images=1.5), "a whole number was expected, not 1.5"),
        (turn(question=None), "a text was expected, not None"),
        (turn(reply=["a"]), "a text was expected"),
        ({"pictures": [{"shape": [INFINITE, 1], "float32": ""}]}, "a whole number was expected, not inf"),
        ({"pictures": [{"shape": [10**30, 1], "float32": "AADAfw=="}]}, "damaged one"),
    ],
)
def test_what_was_made_up_is_refused(chat: Chat, data: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConversationError, match=message):
        Conversation.from_dict(chat, {**data, **change})


def test_a_saved_turn_plays_no_other_one_and_can_be_read(chat: Chat, data: dict[str, Any]) -> None:
    (stop, *_) = chat.processor.chat_template.stops
    said = f"a{stop}Human: b</s>\ud800"
    back = Conversation.from_dict(chat, {**data, **turn(question=said, reply=said)})
    asked = chat.start(Image.new("RGB", (8, 8)))
    asked.add_turn(said, "")
    (found,) = back.history
    assert found.question == found.reply == asked.history[0].question == "aHuman: b?"
    back.next_token_logits("And now?")


@pytest.mark.parametrize("question", [None, b"What?", 3])
def test_a_question_that_is_no_text_is_refused(chat: Chat, question: Any) -> None:
    conversation = chat.start(Image.new("RGB", (8, 8)))
    with pytest.raises(QuestionError, match=f"The question is no text .type {type(question).__name__}."):
        conversation.ask(question)
    assert conversation.history == []
