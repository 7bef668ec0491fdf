"""Who is let in, how much is taken, who waits, and what happens when a client goes."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from clients import Running, asks, body, data_url, running
from demo_process import until
from recital import teach
from upload_files import png

from skingpt4.chat.conversation import Chat
from skingpt4.errors import SettingsError
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.serving import guard
from skingpt4.serving.launch import address_of
from skingpt4.settings import Settings

KEY = "a-key-for-tests"


@pytest.fixture
def endless(tiny_model: tuple[SkinGPT4, Processor], tiny_settings: Settings) -> Iterator[Running]:
    """One answer at a time, which goes on for hours; one request may wait."""
    model, processor = tiny_model
    once, twice = (ids[0] for ids in (processor.tokenizer.encode("skin"), processor.tokenizer.encode("image")))
    teach(model, processor, [once, twice, once])
    model.decoder.config.max_position_embeddings = 1 << 20
    with running(Chat(model, processor), tiny_settings, at_once=1, waiting=1) as opened:
        yield opened


def first_event(client: httpx.Client) -> Iterator[str]:
    with client.stream("POST", "/v1/chat/completions", json=body(max_tokens=100_000, stream=True)) as stream:
        yield from stream.iter_lines()


def new_tokens(server: Running) -> float:
    """Of answers that came to their end."""
    value = server.app.metrics.registry.get_sample_value("skingpt4_new_tokens_total")
    assert value is not None
    return value


def test_a_stream_whose_client_goes_is_ended_and_its_place_is_free(endless: Running) -> None:
    with endless.http() as client:
        events = first_event(client)
        assert '"content"' in next(events) + next(events)
        assert endless.app.places.taken == 1
        events.close()  # type: ignore[attr-defined]
        assert until(lambda: endless.app.places.taken == 0)
    assert new_tokens(endless) == 0
    assert until(lambda: endless.chat.engine.rows == 0)  # type: ignore[attr-defined]


@contextmanager
def asking(server: Running) -> Iterator[None]:
    """A request whose client goes at the end of the block, without having read anything."""
    content = json.dumps(body(max_tokens=100_000)).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname or "", address.port or 0)) as line:
        line.sendall(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        yield


def test_a_whole_answer_whose_client_goes_is_ended_too(endless: Running) -> None:
    with asking(endless):
        assert until(lambda: endless.chat.engine.rows == 1)  # type: ignore[attr-defined]
    assert until(lambda: endless.app.places.taken == 0)
    assert new_tokens(endless) == 0


def test_one_waits_the_next_is_sent_away_and_told_when_to_come_again(endless: Running) -> None:
    with endless.http() as client:
        events = first_event(client)
        next(events)
        answers: list[httpx.Response] = []
        with endless.http() as second:
            waits = threading.Thread(
                target=lambda: answers.append(second.post("/v1/chat/completions", json=body(max_tokens=4)))
            )
            waits.start()
            assert until(lambda: endless.app.places.waiting == 1)
            with pytest.raises(openai.RateLimitError, match="Too many requests are waiting") as caught:
                endless.openai().chat.completions.create(
                    model="skingpt4", messages=[asks("What is it?", data_url())], max_tokens=4
                )
            assert int(caught.value.response.headers["retry-after"]) > 0
            events.close()  # type: ignore[attr-defined]
            waits.join(30)
    assert answers[0].status_code == 200 and answers[0].json()["usage"]["completion_tokens"] == 4


def test_who_goes_while_it_waits_leaves_the_line(endless: Running) -> None:
    with asking(endless):
        assert until(lambda: endless.app.places.taken == 1)
        with asking(endless):
            assert until(lambda: endless.app.places.waiting == 1)
        assert until(lambda: endless.app.places.waiting == 0)
        assert endless.app.places.taken == 1


def test_more_answers_than_the_server_makes_at_once_are_refused(endless: Running) -> None:
    with endless.http() as client:
        answer = client.post("/v1/chat/completions", json=body(n=2))
    assert answer.status_code == 400 and "this server makes 1" in answer.json()["error"]["message"]


def test_without_the_key_nothing_but_health_is_told(chat: Chat, settings: Settings) -> None:
    with running(chat, settings, key=KEY) as server:
        with server.http() as stranger:
            for path in ("/v1/models", "/metrics", "/openapi.json", "/nothing"):
                answer = stranger.get(path)
                assert answer.status_code == 401 and answer.json()["error"]["code"] == "invalid_api_key"
            assert stranger.get("/healthz").json() == {"status": "ok"}
            assert stranger.get("/readyz").json() == {"status": "ready"}
            assert stranger.get("/v1/models", headers={"authorization": f"Bearer {KEY}é".encode()}).status_code == 401
        with pytest.raises(openai.AuthenticationError):
            server.openai("another").models.list()
        assert len(server.openai(KEY).models.list().data) == 1
        with server.http(headers={"authorization": f"Bearer {KEY}", "host": "skin.example"}) as named:
            assert named.get("/v1/models").status_code == 200  # behind a proxy, under its name


def test_others_are_let_in_with_a_key_only() -> None:
    with pytest.raises(SettingsError, match="SKINGPT4_API_KEY"):
        address_of("0.0.0.0", 8000, "")
    assert address_of("0.0.0.0", 8000, KEY).address == "0.0.0.0"
    assert address_of("localhost", 8000, "").address == "localhost"
    with pytest.raises(SettingsError, match="a space or a sign"):
        address_of("0.0.0.0", 8000, "two words")


def test_without_a_key_web_pages_and_other_names_are_refused(server: Running) -> None:
    with server.http() as client:
        assert client.get("/v1/models", headers={"origin": "https://evil.example"}).status_code == 403
        assert client.get("/v1/models", headers={"origin": server.url}).status_code == 200
        assert client.get("/v1/models", headers={"host": "evil.example"}).status_code == 400


def test_a_body_that_is_too_large_is_refused_and_the_server_goes_on(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "BODY_LIMIT_BYTES", 100_000)
    with server.http() as client:
        answer = client.post("/v1/chat/completions", content=b" " * 3_000_000)
        assert answer.status_code == 413 and "Send smaller pictures" in answer.json()["error"]["message"]
        assert client.get("/readyz").status_code == 200


def test_too_many_bytes_at_one_time_are_sent_away(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "HELD_BYTES", 100)
    with server.http() as client:
        for _ in range(2):
            answer = client.post("/v1/chat/completions", json=body())
            assert answer.status_code == 429 and answer.headers["retry-after"]
    monkeypatch.undo()
    with server.http() as client:
        assert client.post("/v1/chat/completions", json=body()).status_code == 200


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([asks("What is it?", "https://example.org/arm.jpg")], "no other address is fetched"),
        ([asks("What is it?", "file:///etc/passwd")], "no other address is fetched"),
        ([asks("What is it?", "data:image/png;base64,%%%")], "base64 is damaged"),
        ([asks("What is it?", data_url(b"no picture"))], "picture"),
        ([asks("What is it?", data_url(png(20_000, b"")))], "pixels"),
        ([asks("What is it?", *[data_url()] * 9)], "at most 8"),
        ([asks("What is it?")], "no picture in the conversation"),
        ([{"role": "user", "content": "What is it?"}], "no picture in the conversation"),
        ([asks("", data_url())], "question is empty"),
        ([asks("word " * 100_000, data_url())], "too long"),
        ([asks("One?", data_url()), asks("Two?")], "take turns"),
        ([asks("One?", data_url()), {"role": "assistant", "content": "It is."}], "last message"),
        ([{"role": "tool", "content": "x"}], "messages"),
        ([], "messages"),
    ],
)
def test_what_cannot_be_answered_is_told_in_words(server: Running, messages: list[object], said: str) -> None:
    with server.http() as client:
        answer = client.post("/v1/chat/completions", json=body(messages=messages))
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -1), ("temperature", 1e-9), ("top_p", 0), ("n", 0), ("n", "1"), ("max_tokens", 0), ("seed", -1),
        ("tools", []), ("logprobs", True), ("presence_penalty", 0.5), ("stop", ["a"] * 5), ("stream", "yes"),
        ("stop", "a" * 201), ("stop", ["b" * 201]),
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_kept_is_named(server: Running, field: str, value: object) -> None:
    with server.http() as client:
        answer = client.post("/v1/chat/completions", json=body(**{field: value}))
    assert answer.status_code == 400
    assert field in answer.json()["error"]["message"]


def of(**part: object) -> list[object]:
    """One message with one part."""
    return [{"role": "user", "content": [part]}]


@pytest.mark.parametrize(
    ("request_", "field", "said"),
    [
        ({"messages": of(type="image_url", image_url="data:…")}, "messages.0.content.0.image_url", "An object was"),
        ({"messages": of(type="image")}, "messages.0.content.0", "'type' must be one of 'text', 'image_url'."),
        ({"messages": of(type="text")}, "messages.0.content.0.text", "It is missing."),
        ({"messages": [{"role": "user", "content": "x", "name": "Ann"}]}, "messages.0.name", "There is no such field"),
        ({"messages": [{"content": "x"}]}, "messages.0", "It has no 'role'."),
        ({"model": "skingpt4"}, "messages", "It is missing."),
        ({"stop": ["a", 1]}, "stop.1", "valid string"),
        ({"stop": ["a"] * 5}, "stop", "at most 4 items"),
        ({"str": 1, "messages": [], "model": "x", "body": 2}, "messages", "at least 1 item"),
    ],
)
def test_what_is_wrong_in_a_request_is_found_where_it_is(
    server: Running, request_: dict[str, object], field: str, said: str
) -> None:
    request_ = request_ if "model" in request_ else body(**request_)
    with server.http() as client:
        error = client.post("/v1/chat/completions", json=request_).json()["error"]
    assert error["param"] == field and error["message"].startswith(f"{field}: ") and said in error["message"]


def test_json_that_is_not_called_so_is_told_so(server: Running) -> None:
    with server.http() as client:
        answer = client.post("/v1/chat/completions", content=json.dumps(body()))
    assert answer.status_code == 400 and "Content-Type: application/json" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"null", b'{"model": "\\ud800"}', b'{"\\ud800": 1}', b"[" * 50_000, b"\xff\xfe"]
)
def test_bodies_that_are_no_request_are_refused_in_the_one_shape(server: Running, content: bytes) -> None:
    with server.http() as client:
        answer = client.post("/v1/chat/completions", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_paths_and_methods_that_do_not_exist_have_the_one_shape(server: Running) -> None:
    with server.http() as client:
        for method, path, status in (("GET", "/v2", 404), ("GET", "/healthz/", 404), ("PUT", "/v1/models", 405)):
            answer = client.request(method, path)
            assert answer.status_code == status and answer.json()["error"]["message"]
