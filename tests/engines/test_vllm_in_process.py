"""vLLM in this process. Its library needs a GPU: what stands in for it here has the names, fields and promises that
vLLM 0.33's source has, over the decoder in `transformers`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import importlib.machinery
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image
from prompt_embeds_server import tokens_after, until
from torch import Tensor
from transformers import AutoModelForCausalLM

from skingpt4.chat.conversation import Chat
from skingpt4.chat.load import load_chat
from skingpt4.engines import vllm_local
from skingpt4.engines.sampling import Sampling
from skingpt4.engines.vllm_engine import VllmEngine, VllmError
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.settings import Settings
from skingpt4.vocabulary import CLINICAL_PROMPTS

SHORT = Sampling(max_new_tokens=12)


@dataclasses.dataclass
class EngineArgs:
    model: str
    dtype: str
    enable_prompt_embeds: bool
    skip_tokenizer_init: bool
    tensor_parallel_size: int
    gpu_memory_utilization: float
    disable_log_stats: bool


class OutputKind(enum.Enum):
    CUMULATIVE = 0
    DELTA = 1
    FINAL_ONLY = 2


@dataclasses.dataclass
class Params:
    """Of vLLM's `SamplingParams`, the fields that are used."""

    max_tokens: int
    temperature: float
    detokenize: bool
    output_kind: OutputKind
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop_token_ids: list[int] = dataclasses.field(default_factory=list)
    ignore_eos: bool = False
    logprobs: int | None = None
    logprob_token_ids: list[int] | None = None


class LibraryEngine:
    """`AsyncLLMEngine`."""

    made: ClassVar[list[LibraryEngine]] = []

    def __init__(self, arguments: EngineArgs):
        self.arguments = arguments
        self.decoder = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=getattr(torch, arguments.dtype))
        self.model_config = SimpleNamespace(max_model_len=1000)
        self.running = self.most_at_once = self.aborted = 0
        self.requests: list[str] = []

    @classmethod
    def from_engine_args(cls, arguments: EngineArgs) -> LibraryEngine:
        assert arguments.enable_prompt_embeds and arguments.skip_tokenizer_init
        cls.made.append(cls(arguments))
        return cls.made[-1]

    async def generate(
        self, prompt: dict[str, Tensor], sampling_params: Params, request_id: str
    ) -> AsyncIterator[SimpleNamespace]:
        assert not sampling_params.detokenize and request_id not in self.requests
        assert list(prompt) == ["prompt_embeds"] and prompt["prompt_embeds"].device.type == "cpu"
        if sampling_params.temperature > 2:
            raise ValueError("temperature must be in [0, 2]")
        self.requests.append(request_id)
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            for token, likely in tokens_after(
                self.decoder, prompt["prompt_embeds"], dataclasses.asdict(sampling_params)
            ):
                await asyncio.sleep(0)
                wanted = sampling_params.logprob_token_ids or []
                logprobs = {each: SimpleNamespace(logprob=float(likely[each])) for each in [*wanted, token]}
                yield SimpleNamespace(outputs=[SimpleNamespace(token_ids=(token,), logprobs=[logprobs])])
        except (asyncio.CancelledError, GeneratorExit):
            self.aborted += 1
            raise
        finally:
            self.running -= 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> type[LibraryEngine]:
    vllm, parameters = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    contents: dict[str, Any] = {
        "AsyncEngineArgs": EngineArgs,
        "AsyncLLMEngine": LibraryEngine,
        "SamplingParams": Params,
        "__spec__": importlib.machinery.ModuleSpec("vllm", None),
    }
    vars(vllm).update(contents)
    vars(parameters).update({"RequestOutputKind": OutputKind})
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", parameters)
    monkeypatch.setattr(LibraryEngine, "made", [])
    return LibraryEngine


@pytest.fixture
def chats(
    library: type[LibraryEngine], tiny_model: tuple[SkinGPT4, Processor], tiny_settings: Settings
) -> tuple[Chat, Chat]:
    tiny_settings.model.engine = "vllm"
    return Chat(*tiny_model), load_chat(tiny_settings)


@pytest.fixture
def photo() -> Image.Image:
    return Image.linear_gradient("L").resize((64, 48)).convert("RGB")


def test_a_conversation_is_the_same(chats: tuple[Chat, Chat], photo: Image.Image) -> None:
    ours, theirs = (chat.start(photo) for chat in chats)
    for question in CLINICAL_PROMPTS:
        assert ours.ask(question, SHORT) == theirs.ask(question, SHORT) != ""
    assert chats[1].engine.context_tokens == 1000


def test_many_answers_and_scores_are_the_same(
    chats: tuple[Chat, Chat], library: type[LibraryEngine], photo: Image.Image
) -> None:
    pictures = [photo, photo.rotate(180), Image.new("RGB", (30, 30), "red")]
    ours, theirs = (chat.answer_many(pictures, CLINICAL_PROMPTS[0], 12) for chat in chats)
    assert ours == theirs
    features = chats[0].encode_many(pictures[:2])
    answers = ["A mole.", "A plaque with scale.", "A plaque."]
    found, there = (chat.score_candidates(features, CLINICAL_PROMPTS[0], answers) for chat in chats)
    assert found.log_likelihood == pytest.approx(there.log_likelihood, abs=1e-3)
    assert library.made[0].most_at_once > 1


def test_what_is_not_read_any_more_is_not_made(chats: tuple[Chat, Chat], library: type[LibraryEngine]) -> None:
    answer = chats[1].engine.start().generate([[1, 5, 6]], Sampling(max_new_tokens=2000), lambda ids: len(ids) == 2)
    assert len(list(answer)) == 2
    until(lambda: library.made[0].aborted == 1)


def test_what_the_library_refuses_is_said_and_the_talk_goes_on(chats: tuple[Chat, Chat], photo: Image.Image) -> None:
    conversation = chats[1].start(photo)
    with pytest.raises(VllmError, match=r"vLLM refuses: temperature must be in \[0, 2\]"):
        conversation.ask("What?", Sampling(temperature=3))
    assert conversation.ask("What?", SHORT)


def test_a_decoder_that_it_cannot_run_is_said(
    tiny_settings: Settings, library: type[LibraryEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_: EngineArgs) -> LibraryEngine:
        raise ValueError("Free memory on device is less than desired")

    monkeypatch.setattr(library, "from_engine_args", no_room)
    tiny_settings.model.engine = "vllm"
    with pytest.raises(VllmError, match=r"vLLM cannot run the decoder in .*/llm: Free memory on device is less"):
        load_chat(tiny_settings)


def test_what_the_photograph_encoder_takes_of_the_gpu_is_left_to_it(
    library: type[LibraryEngine], tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (6 << 30, 8 << 30))
    assert vllm_local.LocalVllm(Path(tiny_settings.model.llama_model), "float32", gpus=2)
    arguments = library.made[0].arguments
    assert (arguments.gpu_memory_utilization, arguments.tensor_parallel_size) == (0.9 * 6 / 8, 2)


def test_without_the_package_it_is_told_before_anything_is_loaded(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    tiny_settings.model.engine, tiny_settings.model.llama_model = "vllm", "/nowhere"
    with pytest.raises(VllmError, match=r"it is not installed. `pip install 'skingpt4\[vllm\]'` on a machine"):
        load_chat(tiny_settings)


def test_the_engine_is_the_same_wherever_vllm_is(chats: tuple[Chat, Chat]) -> None:
    assert isinstance(chats[1].engine, VllmEngine) and chats[1].model.decoder is None
