"""The decoder on a server with vLLM's Completions API: the same answers, and every refusal in words."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import torch
from PIL import Image
from prompt_embeds_server import PromptEmbedsServer, Refused, until
from tiny_models import TINY, write_llama
from transformers import PreTrainedModel

from skingpt4.chat.conversation import Chat
from skingpt4.chat.load import load_chat
from skingpt4.cli import main
from skingpt4.engines import vllm_engine, vllm_server
from skingpt4.engines.sampling import Sampling
from skingpt4.engines.vllm_engine import VllmEngine, VllmError
from skingpt4.engines.vllm_server import VllmServer
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.report.make import make_report
from skingpt4.settings import Settings
from skingpt4.vocabulary import CLINICAL_PROMPTS
from skingpt4.weights.decoder import load_decoder

SHORT = Sampling(max_new_tokens=12)


@pytest.fixture
def decoder(tiny_model: tuple[SkinGPT4, Processor]) -> PreTrainedModel:
    assert tiny_model[0].decoder is not None
    return tiny_model[0].decoder


@pytest.fixture
def server(decoder: PreTrainedModel) -> Iterator[PromptEmbedsServer]:
    with PromptEmbedsServer(decoder) as server:
        yield server


@pytest.fixture
def settings(tiny_settings: Settings, server: PromptEmbedsServer) -> Settings:
    tiny_settings.model.engine, tiny_settings.model.engine_url = "vllm", server.url
    return tiny_settings


@pytest.fixture
def chats(tiny_model: tuple[SkinGPT4, Processor], settings: Settings) -> tuple[Chat, Chat]:
    return Chat(*tiny_model), load_chat(settings)


@pytest.fixture
def photo() -> Image.Image:
    return Image.linear_gradient("L").resize((64, 48)).convert("RGB")


def engine_of(chat: Chat) -> VllmEngine:
    assert isinstance(chat.engine, VllmEngine)
    return chat.engine


def test_a_conversation_is_the_same(chats: tuple[Chat, Chat], photo: Image.Image) -> None:
    ours, theirs = (chat.start(photo) for chat in chats)
    for question in CLINICAL_PROMPTS:
        assert ours.ask(question, SHORT) == theirs.ask(question, SHORT) != ""
    assert theirs.timing is not None and theirs.timing.read_tokens == theirs.timing.prompt_tokens > 100
    assert chats[1].model.decoder is None
    assert {tensor.device.type for tensor in engine_of(chats[1]).decoder.model.layers.parameters()} == {"meta"}


def test_many_answers_are_the_same_and_made_at_once(
    chats: tuple[Chat, Chat], photo: Image.Image, server: PromptEmbedsServer
) -> None:
    pictures = [photo, photo.rotate(180), Image.new("RGB", (30, 30), "red")]
    server.before_token = lambda _: server.most_at_once == len(pictures)  # none goes on before all are there
    ours, theirs = (chat.answer_many(pictures, CLINICAL_PROMPTS[0], 12) for chat in chats)
    assert ours == theirs


def test_scores_are_the_same(
    chats: tuple[Chat, Chat], photo: Image.Image, server: PromptEmbedsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_engine, "PROMPTS_AT_ONCE", 5)
    monkeypatch.setattr(vllm_engine, "TOKENS_AT_ONCE", 3)
    answers = ["A mole.", "A plaque with scale.", "A plaque.", "Eczema.", "Psoriasis.", "Skin."]
    features = chats[0].encode_many([photo, photo.rotate(180)])
    ours, theirs = (chat.score_candidates(features, CLINICAL_PROMPTS[0], answers) for chat in chats)
    assert ours.log_likelihood == pytest.approx(theirs.log_likelihood, abs=1e-3)
    assert (ours.tokens == theirs.tokens).all()
    asked = [body for body in server.bodies if "logprob_token_ids" in body]
    assert {len(body["logprob_token_ids"]) for body in asked} == {1, 2, 3} and len(asked[0]["prompt_embeds"]) == 1
    assert max(len(body["prompt_embeds"]) for body in asked) <= 5


def test_every_choice_of_tokens_reaches_the_server(chats: tuple[Chat, Chat], photo: Image.Image) -> None:
    penalised = Sampling(max_new_tokens=20, repetition_penalty=1.5)
    ours, theirs = (chat.start(photo) for chat in chats)
    assert ours.ask("What?", penalised) == theirs.ask("What?", penalised)
    said = [
        chats[1].start(photo).ask("What?", Sampling(12, temperature, top_p, seed=seed))
        for temperature, top_p, seed in [(1.5, 1, 3), (1.5, 1, 3), (1.5, 1, 4), (1.5, 1e-6, 5), (0, 1, 5)]
    ]
    assert said[0] == said[1] != said[2]
    assert said[3] == said[4]  # the likeliest token alone


def test_nothing_is_left_to_the_decoders_generation_config(
    chats: tuple[Chat, Chat], photo: Image.Image, server: PromptEmbedsServer
) -> None:
    chats[1].start(photo).ask("What?", SHORT)
    body = server.bodies[-1]
    assert {name: body[name] for name in ("top_k", "min_p", "top_p", "temperature", "repetition_penalty")} == {
        "top_k": 0, "min_p": 0, "top_p": 1, "temperature": 0, "repetition_penalty": 1
    }  # fmt: skip
    assert body["ignore_eos"] and body["stop_token_ids"] == [2] and body["return_token_ids"]


def test_tokens_come_as_they_are_made_and_stopping_ends_the_request(
    chats: tuple[Chat, Chat], server: PromptEmbedsServer
) -> None:
    permits = threading.Semaphore(1)
    server.before_token = lambda _: permits.acquire(blocking=False)
    answer = engine_of(chats[1]).start().generate([[1, 5, 6]], Sampling(max_new_tokens=50), lambda ids: len(ids) == 3)
    assert isinstance(next(answer), int) and server.running == 1  # the second has no permit yet
    permits.release(2)
    assert len(list(answer)) == 2
    until(lambda: server.running == 0)
    assert server.aborted == 1


def test_the_ending_token_ends_and_is_not_given(
    chats: tuple[Chat, Chat], decoder: PreTrainedModel, server: PromptEmbedsServer
) -> None:
    tokens = list(engine_of(chats[1]).start().generate([[1, 5, 6]], Sampling(max_new_tokens=8)))
    end = next(token for place, token in enumerate(tokens) if place and token not in tokens[:place])
    engine = VllmEngine(VllmServer(server.url), decoder, [end])
    assert list(engine.start().generate([[1, 5, 6]], Sampling(max_new_tokens=8))) == tokens[: tokens.index(end)]


def test_two_conversations_at_once_do_not_disturb_each_other(
    chats: tuple[Chat, Chat], photo: Image.Image, server: PromptEmbedsServer
) -> None:
    pictures = [photo, photo.rotate(180)]
    alone = [chats[0].start(picture).ask("What?", SHORT) for picture in pictures]
    server.before_token = lambda _: server.most_at_once == 2
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda picture: chats[1].start(picture).ask("What?", SHORT), pictures)) == alone


def test_a_failure_gives_the_other_answers_up(decoder: PreTrainedModel, server: PromptEmbedsServer) -> None:
    engine = VllmEngine(VllmServer(server.url), decoder, end_ids=[])
    failed = threading.Event()

    def fail_once(_: int) -> bool:
        if server.most_at_once == 4 and not failed.is_set():
            failed.set()
            raise Refused(500, "Out of memory.")
        return failed.is_set()

    server.before_token = fail_once
    with pytest.raises(VllmError, match=r"127.0.0.1:\d+ broke the answer off: Out of memory"):
        engine.generate_many([[[1, n]] for n in range(5, 9)], 2000, lambda _: False)
    until(lambda: server.running == 0)
    assert server.aborted == 4


def test_the_servers_context_is_the_one_that_counts(
    decoder: PreTrainedModel, settings: Settings, photo: Image.Image
) -> None:
    for positions, is_full in ((300, True), (2048, False)):
        decoder.config.max_position_embeddings = positions
        conversation = load_chat(settings).start(photo)
        for _ in range(4):
            conversation.ask(CLINICAL_PROMPTS[1], Sampling(max_new_tokens=6))
        assert (conversation.dropped_turns > 0) == is_full


def test_what_vllm_cannot_do_is_said(chats: tuple[Chat, Chat], photo: Image.Image, decoder: PreTrainedModel) -> None:
    conversation = chats[1].start(photo)
    with pytest.raises(VllmError, match=r"searches no beams from embeddings. Set it to 1, or use --engine transf"):
        conversation.ask("What?", Sampling(num_beams=2))
    with pytest.raises(VllmError, match=r"gives no logits .* --engine transformers"):
        conversation.next_token_logits("What?")
    with pytest.raises(VllmError, match=r"refuses .400.: temperature must be in \[0, 2\], got 2.5"):
        conversation.ask("What?", Sampling(temperature=2.5))
    assert conversation.history == []
    with PromptEmbedsServer(decoder, scores=False) as old:
        engine = VllmEngine(VllmServer(old.url), decoder, [2])
        with pytest.raises(VllmError, match=r"does not score given tokens .* Run vLLM 0.33 or newer there"):
            engine.score([[1, 5]], [list(range(20, 60))])


def test_a_report_is_made(settings: Settings, photo: Image.Image) -> None:
    chat = load_chat(settings)
    report = make_report(chat, photo, settings, SHORT)
    assert report.sections and report.model.decoder == "llm, by vllm"


def test_the_command_line_talks_to_a_server(
    server: PromptEmbedsServer, tmp_path: Path, photo: Image.Image, capsys: pytest.CaptureFixture[str]
) -> None:
    from skingpt4 import load_model

    photo.save(tmp_path / "photo.png")
    server.decoder = load_model()[0].decoder
    asked = ["chat", "--image", str(tmp_path / "photo.png"), "--question", "What is it?", "--max-new-tokens", "8"]
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert main([*asked, "--engine", "vllm", "--engine-url", server.url]) == 0
    assert capsys.readouterr().out == said != ""
    assert any("prompt_embeds" in body and body.get("stream") for body in server.bodies)


def test_a_key_is_read_from_the_environment(
    decoder: PreTrainedModel, settings: Settings, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PromptEmbedsServer(decoder, key="sesame") as server:
        settings.model.engine_url = f"{server.url}/v1/"
        with pytest.raises(VllmError, match=r"refuses the key. Set the environment variable VLLM_API_KEY"):
            load_chat(settings)
        for key in ("sesam\ne", "сезам"):
            monkeypatch.setenv("VLLM_API_KEY", key)
            with pytest.raises(VllmError, match=r"^VLLM_API_KEY holds a sign that no key has") as told:
                load_chat(settings)
            assert key not in str(told.value)
        monkeypatch.setenv("VLLM_API_KEY", "sesame\n")  # as from a file
        assert load_chat(settings).start(photo).ask("What?", SHORT)


def test_a_server_without_prompt_embeddings_is_told_at_the_start(decoder: PreTrainedModel, settings: Settings) -> None:
    with PromptEmbedsServer(decoder, takes_embeddings=False) as server:
        settings.model.engine_url = server.url
        with pytest.raises(VllmError, match=r"started without --enable-prompt-embeds. Start one with `vllm serve"):
            load_chat(settings)


@pytest.mark.parametrize(
    ("width", "message"),
    [(64, "a decoder of another width than model.llama_model .*hidden_size 32 does not"), (32, "is another decoder")],
)
def test_a_server_with_another_decoder_is_told_at_the_start(
    tmp_path: Path, settings: Settings, width: int, message: str
) -> None:
    write_llama(tmp_path / "other", dataclasses.replace(TINY, llama_width=width), seed=9)
    other = load_decoder(tmp_path / "other", torch.float32, torch.device("cpu"))
    with PromptEmbedsServer(other) as server:
        settings.model.engine_url = server.url
        with pytest.raises(VllmError, match=message):
            load_chat(settings)


def test_the_same_decoder_in_another_precision_is_the_same(tmp_path: Path, settings: Settings) -> None:
    half = load_decoder(Path(settings.model.llama_model), torch.bfloat16, torch.device("cpu"))
    with PromptEmbedsServer(half) as server:
        settings.model.engine_url = server.url
        assert load_chat(settings).engine.context_tokens == TINY.llama_positions


def test_what_is_no_vllm_server_is_said(settings: Settings, server: PromptEmbedsServer) -> None:
    for url, message in [
        ("http://127.0.0.1:9", "No server answers at http://127.0.0.1:9 .*Start one with `vllm serve"),
        ("localhost:8000", "model.engine_url is 'localhost:8000'; e.g. http://localhost:8000 was expected"),
        ("http://localhost:eight", "model.engine_url is 'http://localhost:eight'"),
        ("http://me:secret@127.0.0.1:9/v1", "No server answers at http://127.0.0.1:9 "),
        (f"{server.url}/elsewhere", "has no /elsewhere/v1/models .*it is no vLLM server"),
    ]:
        settings.model.engine_url = url
        with pytest.raises(VllmError, match=message):
            load_chat(settings)


def test_a_server_that_hangs_or_goes_is_said(
    chats: tuple[Chat, Chat], photo: Image.Image, server: PromptEmbedsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_server, "TIMEOUT", httpx.Timeout(60, read=0.2))
    impatient = VllmEngine(VllmServer(server.url), engine_of(chats[1]).decoder, [2])
    released = threading.Event()
    server.before_token = lambda _: released.is_set()
    with pytest.raises(VllmError, match=r"did not answer in time .ReadTimeout.: it is busy, or hangs"):
        list(impatient.start().generate([[1, 5]], SHORT))
    released.set()

    def die(count: int) -> bool:
        if count == 2:
            raise RuntimeError("the server dies")
        return True

    server.before_token = die
    conversation = chats[1].start(photo)
    with pytest.raises(VllmError, match=r"The line to http://127.0.0.1:.* broke off .*Ask again"):
        list(conversation.stream("What?", SHORT))
    server.before_token = lambda _: True
    assert conversation.ask("What?", SHORT)  # the conversation goes on
