"""The server with its decoder in llama.cpp, or on a vLLM server: several clients get the default engine's answers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path
from typing import Any

import openai
import pytest
from clients import Running, asks, body, data_url, picture, running
from prompt_embeds_server import PromptEmbedsServer, Refused, until
from recital import teach

from skingpt4.chat.conversation import Chat
from skingpt4.chat.load import load_chat
from skingpt4.engines.sampling import Sampling
from skingpt4.engines.transformers_engine import TransformersEngine
from skingpt4.engines.vllm_engine import VllmEngine
from skingpt4.engines.vllm_server import VllmServer
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.settings import Settings
from skingpt4.vocabulary import CLINICAL_PROMPTS
from skingpt4.weights.build import load_model, settings_of
from skingpt4.weights.files import weights_path

PICTURES = [picture((200, 150, shade)) for shade in (60, 120, 180)]
QUESTIONS = CLINICAL_PROMPTS[:3]
SHORT = Sampling(max_new_tokens=12)
ENGINES = ["llamacpp", "vllm"]


@pytest.fixture(scope="module")
def plain() -> Chat:
    """The small model of the package with `transformers`, in float32."""
    return Chat(*load_model(None, ["model.precision=fp32"]))


@pytest.fixture(scope="module")
def vllm(plain: Chat) -> Iterator[PromptEmbedsServer]:
    assert isinstance(plain.engine, TransformersEngine)
    with PromptEmbedsServer(plain.engine.decoder) as server:
        yield server


@pytest.fixture
def engine_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Of the small model of the package with the engine that the test is given."""
    if request.param == "vllm":
        url = request.getfixturevalue("vllm").url
        return settings_of(None, ["model.precision=fp32", "model.engine=vllm", f"model.engine_url={url}"])
    pytest.importorskip("llama_cpp")
    pytest.importorskip("gguf")
    from skingpt4.weights.gguf import write_gguf

    directory = weights_path(settings_of(None, []).model.llama_model)
    file = write_gguf(directory, tmp_path / "decoder.gguf", "f32")
    return settings_of(None, ["model.precision=fp32", "model.engine=llamacpp", f"model.gguf={file}"])


@pytest.fixture
def opened(engine_settings: Settings) -> Iterator[Running]:
    with running(load_chat(engine_settings), engine_settings, at_once=4, waiting=8) as server:
        yield server


def completed(server: Running, messages: list[Any]) -> str:
    completion = server.openai().chat.completions.create(model="skingpt4", messages=messages, max_tokens=12)
    said = completion.choices[0].message.content
    assert said is not None
    return said


@pytest.mark.parametrize("engine_settings", ENGINES, indirect=True)
def test_several_conversations_at_once_are_those_of_the_default_engine(opened: Running, plain: Chat) -> None:
    def talk(index: int) -> list[str]:
        said, messages = [], [asks(QUESTIONS[index], data_url(PICTURES[index]))]
        said.append(completed(opened, messages))
        messages += [{"role": "assistant", "content": said[0]}, asks("What treatment should be recommended?")]
        return [*said, completed(opened, messages)]

    expected = []
    for shown, question in zip(PICTURES, QUESTIONS, strict=True):
        conversation = plain.start(shown)
        asked = (question, "What treatment should be recommended?")
        expected.append([conversation.ask(each, SHORT) for each in asked])
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(talk, range(3))) == expected
    assert all(said for said, _ in expected) and opened.app.places.taken == 0


@pytest.mark.parametrize("engine_settings", ENGINES, indirect=True)
def test_two_streams_go_on_side_by_side(opened: Running, plain: Chat) -> None:
    streams = [
        opened.openai().chat.completions.create(
            model="skingpt4", messages=[asks(QUESTIONS[0], data_url(shown))], stream=True
        )
        for shown in PICTURES[:2]
    ]
    texts = ["", ""]
    for chunks in zip_longest(*streams):
        for index, chunk in enumerate(chunks):
            texts[index] += (chunk.choices[0].delta.content or "") if chunk else ""
    assert texts == [plain.start(shown).ask(QUESTIONS[0]) for shown in PICTURES[:2]]


@pytest.mark.parametrize("engine_settings", ENGINES, indirect=True)
def test_several_answers_to_one_question_and_a_report(opened: Running) -> None:
    asked = body(QUESTIONS[0], n=2, temperature=1.2, seed=5, max_tokens=30)
    with opened.http() as client:
        first, again = (client.post("/v1/chat/completions", json=asked).json()["choices"] for _ in range(2))
        report = client.post("/v1/report", json={"image": data_url()})
    assert first == again and first[0]["message"] != first[1]["message"]
    assert report.status_code == 200 and report.json()["sections"]


@pytest.mark.parametrize("engine_settings", ["vllm"], indirect=True)
def test_what_comes_together_is_with_vllm_together(opened: Running, vllm: PromptEmbedsServer) -> None:
    vllm.most_at_once = 0
    vllm.before_token = lambda _: vllm.most_at_once == len(PICTURES)  # none goes on before all are there
    with ThreadPoolExecutor(3) as pool:
        said = list(pool.map(lambda shown: completed(opened, [asks(QUESTIONS[0], data_url(shown))]), PICTURES))
    vllm.before_token = lambda _: True
    assert all(said)


@pytest.mark.parametrize("engine_settings", ["vllm"], indirect=True)
def test_a_failure_of_vllm_is_told_and_the_server_goes_on(opened: Running, vllm: PromptEmbedsServer) -> None:
    def fail(count: int) -> bool:
        if count == wrong:
            raise Refused(500, "CUDA error at 0xdead")
        return True

    asked = {"model": "skingpt4", "messages": [asks(QUESTIONS[0], data_url())]}
    vllm.before_token = fail
    wrong = 0
    with pytest.raises(openai.InternalServerError) as told:
        opened.openai().chat.completions.create(**asked)
    assert "dead" not in str(told.value)
    wrong = 3
    with pytest.raises(openai.APIError, match="does not answer"):
        list(opened.openai().chat.completions.create(**asked, stream=True))
    vllm.before_token = lambda _: True
    assert completed(opened, asked["messages"])
    assert opened.app.places.taken == 0


@pytest.fixture(params=ENGINES)
def endless(
    request: pytest.FixtureRequest, tiny_model: tuple[SkinGPT4, Processor], tiny_settings: Settings, tmp_path: Path
) -> Iterator[tuple[Running, PromptEmbedsServer | None]]:
    """Answers that go on for hours."""
    model, processor = tiny_model
    decoder, tokenizer = model.decoder, processor.tokenizer
    assert decoder is not None
    once, twice = (ids[0] for ids in (tokenizer.encode("skin"), tokenizer.encode("image")))
    teach(model, processor, [once, twice, once])
    decoder.config.max_position_embeddings = 1 << 20
    if request.param == "vllm":
        with PromptEmbedsServer(decoder) as vllm:
            engine = VllmEngine(VllmServer(vllm.url), decoder, tokenizer.eos_ids)
            with running(Chat(model, processor, engine), tiny_settings, at_once=2, waiting=1) as opened:
                yield opened, vllm
        return
    pytest.importorskip("llama_cpp")
    pytest.importorskip("gguf")
    from gguf_files import written

    from skingpt4.engines.llamacpp_engine import LlamaCppEngine

    file = written(decoder, tmp_path, Path(tiny_settings.model.llama_model) / "tokenizer.model")
    chat = Chat(model, processor, LlamaCppEngine(file, tokenizer.eos_ids, threads=1))
    with running(chat, tiny_settings, at_once=2, waiting=1) as opened:
        yield opened, None


def test_whoever_goes_ends_the_answer_and_frees_its_memory(
    endless: tuple[Running, PromptEmbedsServer | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, vllm = endless
    freed: list[int] = []
    if vllm is None:
        from skingpt4.engines.llamacpp_library import library

        free = library().llama_free
        monkeypatch.setattr(library(), "llama_free", lambda pointer: freed.append(pointer) or free(pointer))
    asked = body(max_tokens=100_000, stream=True)
    with opened.http() as client, client.stream("POST", "/v1/chat/completions", json=asked) as answer:
        lines = answer.iter_lines()
        assert '"content"' in next(lines) + next(lines)
        assert opened.app.places.taken == 1
    until(lambda: opened.app.places.taken == 0)
    if vllm is None:
        until(lambda: bool(freed))
    else:
        until(lambda: vllm.running == 0)
        assert vllm.aborted == 1
