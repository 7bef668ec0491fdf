"""Conversations that are decoded together say what each says alone."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence

import pytest
import torch
from demo_process import until
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from skingpt4.engines import rows
from skingpt4.engines.batching import BatchingEngine
from skingpt4.engines.sampling import Sampling
from skingpt4.engines.seam import Segment
from skingpt4.engines.transformers_engine import TransformersEngine

SIZES = {
    "vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "pad_token_id": 0, "initializer_range": 0.5,
}  # fmt: skip
DECODERS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=4)),
    "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**SIZES, head_dim=8, sliding_window=6)),
}


def decoder(name: str = "llama") -> PreTrainedModel:
    torch.manual_seed(0)
    return DECODERS[name]().eval()


@pytest.fixture
def engine() -> Iterator[BatchingEngine]:
    made = BatchingEngine(decoder(), end_ids=[], most_rows=2)
    yield made
    made.close()


def prompts(lengths: Sequence[int]) -> list[list[Segment]]:
    """Ids, an image, ids."""
    generator = torch.Generator().manual_seed(1)
    return [
        [torch.randint(1, 50, (n,), generator=generator).tolist(), torch.randn(3, 16, generator=generator), [n]]
        for n in lengths
    ]


def together(engine: BatchingEngine, asked: Sequence[list[Segment]], how: Sequence[Sampling]) -> list[list[int]]:
    """The answers to prompts that come at one time."""
    answers: dict[int, list[int]] = {}

    def ask(index: int) -> None:
        answers[index] = list(engine.start().generate(asked[index], how[index]))

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [answers[index] for index in range(len(asked))]


@pytest.mark.parametrize("name", DECODERS)
def test_rows_that_join_and_leave_change_nothing_for_the_others(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of different lengths, so that memory is made anew and rows change places; each with its own seed and penalty."""
    monkeypatch.setattr(rows, "SPARE_TOKENS", 5)
    model = decoder(name)
    asked = prompts([3, 9, 30, 1, 5, 14, 7])
    how = [
        Sampling(4 + 5 * i, temperature=float(i % 3 == 2), top_p=0.9, seed=i, repetition_penalty=1 + 0.1 * (i % 2))
        for i in range(7)
    ]
    plain, batching = TransformersEngine(model, end_ids=[17]), BatchingEngine(model, [17], most_rows=3)
    assert BatchingEngine.fits(model)
    alone = [list(plain.start().generate(prompt, each)) for prompt, each in zip(asked, how, strict=True)]
    assert together(batching, asked, how) == alone
    assert len({tuple(answer) for answer in alone}) > 4
    batching.close()


def test_a_conversation_reads_only_what_is_new(engine: BatchingEngine) -> None:
    state, image = engine.start(), torch.randn(3, 16)
    first = list(state.generate([[5, 6], image, [7]], Sampling(max_new_tokens=4)))
    assert state.newly_read == 6
    following: list[Segment] = [[5, 6], image, [7, *first, 8]]
    second = list(state.generate(following, Sampling(max_new_tokens=4)))
    assert state.newly_read == 5
    assert second == list(engine.start().generate(following, Sampling(max_new_tokens=4)))


def test_an_answer_that_nobody_reads_any_more_leaves(engine: BatchingEngine) -> None:
    stream = engine.start().generate([[5, 6]], Sampling(max_new_tokens=1_000_000))
    next(stream)
    assert engine.rows == 1
    del stream
    gc.collect()
    assert until(lambda: engine.rows == 0)


def test_an_answer_that_is_stopped_while_it_waits_ends_without_a_token(engine: BatchingEngine) -> None:
    endless = [engine.start().generate([[5, 6]], Sampling(max_new_tokens=1_000_000)) for _ in range(2)]
    for stream in endless:
        next(stream)
    stop, made = threading.Event(), [0]
    waits = threading.Thread(
        target=lambda: made.append(len(list(engine.start().generate([[7]], Sampling(9), lambda _: stop.is_set()))))
    )
    waits.start()
    assert until(lambda: len(engine._waiting) == 1)
    stop.set()
    waits.join(30)
    assert made == [0, 0]
    for stream in endless:
        stream.close()  # type: ignore[attr-defined]


def test_a_fault_of_one_answer_is_its_own(engine: BatchingEngine) -> None:
    def fails(new: list[int]) -> bool:
        if len(new) == 2:
            raise ValueError("planted")
        return False

    other = engine.start().generate([[5, 6]], Sampling(max_new_tokens=50))
    first = next(other)
    with pytest.raises(ValueError, match="planted"):
        list(engine.start().generate([[5, 6]], Sampling(max_new_tokens=50), fails))
    with pytest.raises(IndexError):
        list(engine.start().generate([[5000]], Sampling(max_new_tokens=50)))  # no such token
    expected = list(TransformersEngine(engine.decoder, []).start().generate([[5, 6]], Sampling(max_new_tokens=50)))
    assert [first, *other] == expected


def test_a_step_that_fails_ends_its_answers_and_the_engine_goes_on(
    engine: BatchingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory() -> None:
        raise torch.OutOfMemoryError("planted")

    monkeypatch.setattr(engine, "_step", out_of_memory)
    with pytest.raises(torch.OutOfMemoryError):
        list(engine.start().generate([[5, 6]], Sampling(max_new_tokens=5)))
    monkeypatch.undo()
    assert len(list(engine.start().generate([[5, 6]], Sampling(max_new_tokens=5)))) == 5


def test_several_beams_are_searched_alone(engine: BatchingEngine) -> None:
    how = Sampling(max_new_tokens=6, num_beams=3)
    expected = list(TransformersEngine(engine.decoder, []).start().generate([[5, 6, 7]], how))
    assert list(engine.start().generate([[5, 6, 7]], how)) == expected


def test_closing_ends_what_is_being_answered(engine: BatchingEngine) -> None:
    stream = engine.start().generate([[5, 6]], Sampling(max_new_tokens=1_000_000))
    next(stream)
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        list(stream)
    with pytest.raises(RuntimeError, match="closed"):
        next(engine.start().generate([[5, 6]], Sampling()))


def test_memory_is_free_when_nobody_is_answered(engine: BatchingEngine) -> None:
    list(engine.start().generate([[5, 6]], Sampling(max_new_tokens=5)))
    assert until(lambda: engine.rows == 0)
    assert not engine._held.cache.layers
