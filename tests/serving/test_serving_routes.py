"""Reports, readiness and figures."""

from __future__ import annotations

from threading import Thread

import httpx
import openai
import pytest
from clients import Running, asks, body, data_url, picture, running

from skingpt4.chat.conversation import Chat
from skingpt4.engines.batching import BatchingEngine
from skingpt4.engines.sampling import Sampling
from skingpt4.report.content import Report
from skingpt4.report.make import make_report
from skingpt4.serving.service import Service
from skingpt4.settings import Settings


def test_a_report_is_that_of_the_command_line(server: Running, chat: Chat, settings: Settings) -> None:
    with server.http() as client:
        answer = client.post("/v1/report", json={"image": data_url(), "max_tokens": 12})
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    report = Report.from_json(answer.content)
    expected = make_report(chat, picture(), settings, Sampling(max_new_tokens=12))
    assert [section.answer for section in report.sections] == [section.answer for section in expected.sections]
    assert report.notices == expected.notices and report.concepts == expected.concepts
    assert report.heatmap == expected.heatmap


def test_a_report_needs_a_picture(server: Running) -> None:
    with server.http() as client:
        answer = client.post("/v1/report", json={"image": "https://example.org/arm.jpg"})
        assert answer.status_code == 400 and "no other address is fetched" in answer.json()["error"]["message"]


def test_a_models_name_may_have_slashes(chat: Chat, settings: Settings) -> None:
    with running(chat, settings, name="clinic/skin") as server:
        client = server.openai()
        assert client.models.retrieve("clinic/skin").id == "clinic/skin"
        with pytest.raises(openai.NotFoundError, match="there is clinic/skin"):
            client.models.retrieve("clinic/other")


def test_before_the_model_is_loaded_requests_are_told_to_wait(chat: Chat, settings: Settings) -> None:
    with running(None, settings) as server, server.http() as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 503
        answer = client.post("/v1/chat/completions", json=body())
        assert answer.status_code == 503 and answer.headers["retry-after"]
        assert answer.json()["error"]["message"] == "The model is still being loaded."
        server.app.service = Service(chat, settings, server.app.places, server.app.metrics)
        assert client.get("/readyz").json() == {"status": "ready"}
        assert client.post("/v1/chat/completions", json=body()).status_code == 200


def test_figures_count_and_hold_nothing_of_a_request(chat: Chat, settings: Settings) -> None:
    with running(chat, settings) as server, server.http() as client:
        made = client.post("/v1/chat/completions", json=body("Is this hippopotamus itchy?")).json()
        client.post("/v1/chat/completions", json=body(model="hippopotamus"))
        client.get("/hippopotamus")
        text = client.get("/metrics").text
    assert 'skingpt4_requests_total{path="/v1/chat/completions",status="200"} 1.0' in text
    assert 'skingpt4_requests_total{path="/v1/chat/completions",status="404"} 1.0' in text
    assert 'skingpt4_requests_total{path="other",status="404"} 1.0' in text
    assert f"skingpt4_new_tokens_total {float(made['usage']['completion_tokens'])}" in text
    assert "skingpt4_first_word_seconds_count 1.0" in text and "skingpt4_running 0.0" in text
    assert "hippopotamus" not in text


def test_requests_that_come_together_are_decoded_together_and_answered_as_alone(server: Running, chat: Chat) -> None:
    engine = server.chat.engine
    assert isinstance(engine, BatchingEngine)
    most, step = 0, engine._step

    def watched() -> None:
        nonlocal most
        most = max(most, engine.rows)
        step()

    engine._step = watched  # type: ignore[method-assign]
    questions = [
        "Could you describe the skin disease in this image for me?",
        "What's wrong with my skin?",
        "Please list further features of it.",
        "Which treatment is right?",
        "Is it itchy?",
    ]
    answers: dict[str, httpx.Response] = {}

    def ask(question: str) -> None:
        with server.http() as client:
            request = body(messages=[asks(question, data_url())], max_tokens=30)
            answers[question] = client.post("/v1/chat/completions", json=request)

    threads = [Thread(target=ask, args=(question,)) for question in questions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for question in questions:
        expected = chat.start(picture()).ask(question, Sampling(max_new_tokens=30))
        assert answers[question].json()["choices"][0]["message"]["content"] == expected
    assert 2 <= most <= 4


def test_a_fault_is_told_without_what_it_says(
    server: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("hippopotamus")

    with server.http() as client:
        monkeypatch.setattr(server.chat, "encode_many", fails)
        answer = client.post("/v1/chat/completions", json=body())
        assert answer.status_code == 500 and answer.json()["error"]["type"] == "server_error"
        monkeypatch.undo()
        monkeypatch.setattr(server.chat.engine, "_step", fails)
        stream = client.post("/v1/chat/completions", json=body(stream=True))
        monkeypatch.undo()
        assert client.post("/v1/chat/completions", json=body()).status_code == 200
    assert stream.status_code == 200 and '"server_error"' in stream.text.splitlines()[-2]
    assert "[DONE]" not in stream.text
    assert "RuntimeError" in caplog.text
    for text in (answer.text, stream.text, caplog.text):
        assert "hippopotamus" not in text
