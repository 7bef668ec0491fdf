"""The official client of OpenAI talks to the server."""

from __future__ import annotations

import httpx
import openai
import pytest
from clients import Running, asks, data_url, picture

from skingpt4.chat.conversation import Chat, Conversation
from skingpt4.engines.sampling import Sampling
from skingpt4.serving import faults, guard
from skingpt4.vocabulary import EMBEDDED_NOTICE, NOT_A_DIAGNOSIS

QUESTION = "Could you describe the skin disease in this image for me?"


def test_a_conversation_with_a_picture_is_that_of_the_command_line(server: Running, chat: Chat) -> None:
    conversation = chat.start(picture())
    first = conversation.ask(QUESTION)
    second = conversation.ask("What treatment should be recommended?")
    client, messages = server.openai(), [asks(QUESTION, data_url())]
    completion = client.chat.completions.create(model="skingpt4", messages=messages)
    assert completion.choices[0].message.content == first and len(first) > 20
    messages += [completion.choices[0].message, asks("What treatment should be recommended?")]
    completion = client.chat.completions.create(model="skingpt4", messages=messages)
    assert completion.choices[0].message.content == second != first
    assert completion.choices[0].finish_reason == "stop"
    timing = conversation.timing
    assert timing and completion.usage.prompt_tokens == timing.prompt_tokens
    assert completion.usage.completion_tokens == timing.new_tokens


def test_a_stream_is_the_same_in_pieces_with_usage_at_its_end(server: Running, chat: Chat) -> None:
    stream = server.openai().chat.completions.create(
        model="skingpt4",
        messages=[asks(QUESTION, data_url())],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert "".join(pieces) == chat.start(picture()).ask(QUESTION)
    assert len(pieces) > 5
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens >= len(pieces)
    assert NOT_A_DIAGNOSIS in chunks[0].notice


def test_every_answer_says_that_it_is_no_diagnosis(server: Running) -> None:
    raw = server.openai().chat.completions.with_raw_response.create(
        model="skingpt4", messages=[asks("What is it?", data_url())], max_tokens=4
    )
    assert raw.parse().notice == f"{NOT_A_DIAGNOSIS} {EMBEDDED_NOTICE}"
    assert raw.headers["x-notice"] == NOT_A_DIAGNOSIS
    assert raw.headers["cache-control"] == "no-store"


def test_several_pictures_and_an_earlier_answer_are_read(server: Running, chat: Chat) -> None:
    one, two = picture(), picture((90, 60, 50))
    conversation = Conversation(chat)
    conversation.add_image(one)
    conversation.add_turn("What is it?", "A plaque.")
    conversation.add_image(two)
    expected = conversation.ask("And this?", Sampling(max_new_tokens=30))
    completion = server.openai().chat.completions.create(
        model="skingpt4",
        messages=[
            asks("What is it?", data_url(one)),
            {"role": "assistant", "content": [{"type": "text", "text": "A plaque."}]},
            asks("And this?", data_url(two)),
        ],
        max_completion_tokens=30,
    )
    assert completion.choices[0].message.content == expected
    timing = conversation.timing
    assert timing and completion.usage.prompt_tokens == timing.prompt_tokens


def test_n_answers_are_repeatable_and_differ_by_their_seeds(server: Running) -> None:
    def answers() -> list[str]:
        completion = server.openai().chat.completions.create(
            model="skingpt4", messages=[asks(QUESTION, data_url())], n=3, temperature=1.5, seed=7, max_tokens=20
        )
        assert [choice.index for choice in completion.choices] == [0, 1, 2]
        return [choice.message.content for choice in completion.choices]

    first = answers()
    assert answers() == first
    assert len(set(first)) == 3


def test_without_a_seed_a_temperature_says_something_else_each_time(server: Running) -> None:
    said = {
        server.openai()
        .chat.completions.create(model="skingpt4", messages=[asks(QUESTION, data_url())], temperature=2, max_tokens=20)
        .choices[0]
        .message.content
        for _ in range(4)
    }
    assert len(said) > 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_ends_the_answer_before_it(server: Running, chat: Chat, stream: bool) -> None:
    whole = chat.start(picture()).ask(QUESTION)
    stop = whole.split()[3]
    made = server.openai().chat.completions.create(
        model="skingpt4", messages=[asks(QUESTION, data_url())], stop=["@@@", stop], stream=stream
    )
    if stream:
        chunks = list(made)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        reason = chunks[-1].choices[0].finish_reason
    else:
        text, reason = made.choices[0].message.content, made.choices[0].finish_reason
    assert text == whole[: whole.index(stop)].rstrip() and text
    assert reason == "stop"


def test_an_answer_that_is_cut_says_so(server: Running) -> None:
    completion = server.openai().chat.completions.create(
        model="skingpt4", messages=[asks(QUESTION, data_url())], max_tokens=3
    )
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage.completion_tokens == 3
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + 3


def test_the_model_is_listed_and_no_other_is_there(server: Running) -> None:
    client = server.openai()
    assert [model.id for model in client.models.list()] == ["skingpt4"]
    assert client.models.retrieve("skingpt4").id == "skingpt4"
    with pytest.raises(openai.NotFoundError, match="there is skingpt4"):
        client.chat.completions.create(model="gpt-4o", messages=[asks("What is it?", data_url())])


def test_refusals_are_the_clients_own_errors(server: Running) -> None:
    client = server.openai()
    with pytest.raises(openai.BadRequestError, match="one system text of its own") as caught:
        client.chat.completions.create(
            model="skingpt4", messages=[{"role": "system", "content": "Be kind."}, asks("What is it?", data_url())]
        )
    assert caught.value.type == "invalid_request_error" and caught.value.param == "messages"


def test_an_answer_goes_back_as_the_client_dumps_it(server: Running) -> None:
    client, messages = server.openai(), [asks("What is it?", data_url())]
    first = client.chat.completions.create(model="skingpt4", messages=messages, max_tokens=5).choices[0].message
    said = []
    for answer in (first.model_dump(), {"role": "assistant", "content": first.content}):  # nulls for all that it knows
        completion = client.chat.completions.create(
            model="skingpt4", messages=[*messages, answer, asks("And now?")], max_tokens=5
        )
        said.append(completion.choices[0].message.content)
    assert said[0] == said[1]


def test_who_is_sent_away_comes_again_by_itself(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's client follows `Retry-After`."""
    statuses: list[int] = []

    def make_room(answer: httpx.Response) -> None:
        statuses.append(answer.status_code)
        monkeypatch.setattr(guard, "HELD_BYTES", 1 << 20)

    monkeypatch.setattr(faults, "RETRY_SECONDS", 1)
    monkeypatch.setattr(guard, "HELD_BYTES", 100)
    with httpx.Client(trust_env=False, event_hooks={"response": [make_room]}) as line:
        client = server.openai(http_client=line).with_options(max_retries=1)
        completion = client.chat.completions.create(
            model="skingpt4", messages=[asks("What is it?", data_url())], max_tokens=3
        )
    assert statuses == [429, 200] and completion.usage.completion_tokens == 3
