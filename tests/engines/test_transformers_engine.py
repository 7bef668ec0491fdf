"""The engine's memory of what it read, and how it picks tokens."""

from __future__ import annotations

import functools

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, PreTrainedModel

from skingpt4.engines import memory
from skingpt4.engines.sampling import Sampling
from skingpt4.engines.transformers_engine import TransformersEngine
from skingpt4.errors import SettingsError

SIZES = {
    "vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "pad_token_id": 0, "initializer_range": 0.5,
}  # fmt: skip


@pytest.fixture
def llama() -> PreTrainedModel:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES)).eval()


def test_what_two_prompts_share_is_read_once_and_the_rest_forgotten(llama: PreTrainedModel) -> None:
    engine = TransformersEngine(llama, end_ids=[])
    state = engine.start()
    for prompt in ([5, 6, 7, 8, 9, 10], [5, 6, 7, 20, 21], [5, 6, 7], [5, 6, 7], [30, 31, 32, 33]):
        torch.testing.assert_close(state.read([prompt]), engine.start().read([prompt]), atol=1e-5, rtol=0)


def test_image_tokens_of_the_same_shape_are_not_mistaken_for_each_other(llama: PreTrainedModel) -> None:
    engine = TransformersEngine(llama, end_ids=[])
    state, one, two = engine.start(), torch.randn(4, 16), torch.randn(4, 16)
    first = state.read([[5, 6], one, [7]])
    second = state.read([[5, 6], two, [7]])
    assert (first - second).abs().max() > 1e-3
    torch.testing.assert_close(second, engine.start().read([[5, 6], two, [7]]), atol=1e-5, rtol=0)


def test_two_conversations_do_not_disturb_each_other(llama: PreTrainedModel) -> None:
    engine = TransformersEngine(llama, end_ids=[])
    alone = [list(engine.start().generate([prompt], Sampling(max_new_tokens=8))) for prompt in ([5, 6], [40, 41, 42])]
    streams = [engine.start().generate([prompt], Sampling(max_new_tokens=8)) for prompt in ([5, 6], [40, 41, 42])]
    together = [list(tokens) for tokens in zip(*zip(*streams, strict=True), strict=True)]
    assert together == alone
    assert alone[0] != alone[1]


def test_the_ending_token_ends_and_is_not_given(llama: PreTrainedModel) -> None:
    tokens = list(TransformersEngine(llama, end_ids=[]).start().generate([[5, 6]], Sampling(max_new_tokens=8)))
    end = next(token for position, token in enumerate(tokens) if position and token not in tokens[:position])
    stopped = list(TransformersEngine(llama, end_ids=[end]).start().generate([[5, 6]], Sampling(max_new_tokens=8)))
    assert stopped == tokens[: tokens.index(end)]


def test_a_repetition_penalty_keeps_tokens_from_coming_again(llama: PreTrainedModel) -> None:
    state = TransformersEngine(llama, end_ids=[]).start()
    tokens = list(state.generate([[5, 6]], Sampling(max_new_tokens=20)))
    assert len(set(tokens)) < 20
    penalised = list(state.generate([[5, 6]], Sampling(max_new_tokens=20, repetition_penalty=1e6)))
    assert len(set(penalised)) == 20 and penalised[0] == tokens[0]


def test_a_decoder_with_a_sliding_window_reads_again_what_it_let_go() -> None:
    torch.manual_seed(0)
    mistral = MistralForCausalLM(MistralConfig(**SIZES, sliding_window=4)).eval()
    engine = TransformersEngine(mistral, end_ids=[])
    state = engine.start()
    for prompt in (list(range(5, 20)), [*range(5, 12), 30, 31], [5, 6, 7]):
        torch.testing.assert_close(state.read([prompt]), engine.start().read([prompt]), atol=1e-5, rtol=0)
        greedy = list(state.generate([prompt], Sampling(max_new_tokens=6)))
        assert greedy == list(engine.start().generate([prompt], Sampling(max_new_tokens=6)))


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.very_slow)])
def test_a_compiled_decoder_says_the_same_also_where_its_memory_is_full(
    llama: PreTrainedModel, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    """ "eager": the step is traced whole, as for any backend; what a C++ compiler makes of it takes minutes."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    monkeypatch.setattr(memory, "FIRST_TOKENS", 16)
    plain, compiled = (TransformersEngine(llama, end_ids=[], compiled=wanted) for wanted in (False, True))
    state = compiled.start()
    for prompt in (list(range(5, 15)), [*range(5, 12), 30, 31], [5, 6, 7]):  # the second and third forget
        expected = list(plain.start().generate([prompt], Sampling(max_new_tokens=12)))
        assert list(state.generate([prompt], Sampling(max_new_tokens=12))) == expected


def test_a_sliding_window_is_not_compiled() -> None:
    """A memory of fixed size could not forget what its window has let go of."""
    mistral = MistralForCausalLM(MistralConfig(**SIZES, sliding_window=4)).eval()
    engine = TransformersEngine(mistral, end_ids=[], compiled=True)
    plain = TransformersEngine(mistral, end_ids=[])
    said = [list(e.start().generate([[5, 6, 7, 8, 9]], Sampling(max_new_tokens=6))) for e in (engine, plain)]
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0; it must be at least 1"),
        ({"temperature": -0.1}, "temperature is -0.1; it must be 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_p": 0.0}, r"top_p is 0.0; it must lie in \(0, 1\]"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_values_out_of_range_are_named(values: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Sampling(**values)  # type: ignore[arg-type]
