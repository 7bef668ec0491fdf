"""Packed sequences give what padded ones give, and hold every token once."""

from __future__ import annotations

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from skingpt4.model.packing import TrainingBatch, can_pack, common_beginning
from skingpt4.model.skingpt4 import SkinGPT4, padded_loss, splice
from skingpt4.prompts import IMAGE_SLOT, TrainingSequence

QUERIES, WIDTH = 3, 32
SIZES = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def sequence(before: list[int], after: list[int], answer: list[int]) -> TrainingSequence:
    ids = [*before, *[IMAGE_SLOT] * QUERIES, *after, *answer]
    return TrainingSequence(ids, [False] * (len(ids) - len(answer)) + [True] * len(answer))


SEQUENCES = [
    sequence([1, 5, 6], [7, 8], [9, 10, 11, 2]),
    sequence([1, 5, 6], [12], [13, 2]),
    sequence([1, 5, 6], [7, 8, 9, 10, 11], [12, 13, 14, 15, 16, 2]),
]


def model_of(name: str = "LlamaConfig", dtype: torch.dtype = torch.float32, **settings: object) -> SkinGPT4:
    torch.manual_seed(0)
    sizes = {"vocab_size": 80, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = getattr(transformers, name)(**sizes, **(SIZES | settings))
    decoder = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    return SkinGPT4(None, None, nn.Linear(8, WIDTH), decoder).eval()


def features_of(count: int) -> Tensor:
    return torch.randn(count, QUERIES, 8, generator=torch.Generator().manual_seed(1))


def loss_and_gradient(model: SkinGPT4, batch: TrainingBatch, padded: bool = False) -> tuple[Tensor, Tensor]:
    features = features_of(len(batch.rows))
    if padded:
        image_tokens = model.project(features)
        loss = padded_loss(model.decoder, splice(model.decoder.get_input_embeddings(), batch, image_tokens), batch)
    else:
        loss = model(features, batch)
    return loss.detach(), torch.autograd.grad(loss, model.llama_proj.weight)[0]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("LlamaConfig", {}),
        ("LlamaConfig", {"num_key_value_heads": 2}),
        ("Qwen2Config", {"num_key_value_heads": 2}),
        ("GPTNeoXConfig", {}),
        ("OPTConfig", {"ffn_dim": 64, "word_embed_proj_dim": WIDTH}),
        ("CohereConfig", {"num_key_value_heads": 2, "logit_scale": 0.25}),
    ],
)
def test_packed_equals_padded(name: str, settings: dict[str, object]) -> None:
    model, batch = model_of(name, **settings), TrainingBatch.collate(SEQUENCES)
    assert can_pack(model.decoder)
    packed, padded = loss_and_gradient(model, batch), loss_and_gradient(model, batch, padded=True)
    torch.testing.assert_close(packed[0], padded[0], atol=1e-6, rtol=0)
    assert padded[1].abs().max() > 5e-4
    torch.testing.assert_close(packed[1], padded[1], atol=1e-6, rtol=0)


def test_packed_equals_one_by_one_in_bf16() -> None:
    """In bf16 a CPU takes another attention; a sequence alone must come out as in company."""
    model = model_of(dtype=torch.bfloat16)
    features = features_of(3)
    together = model(features, TrainingBatch.collate(SEQUENCES)).item()
    alone = [model(features[i : i + 1], TrainingBatch.collate([s])) for i, s in enumerate(SEQUENCES)]
    counts = [sum(s.in_loss) for s in SEQUENCES]
    mean = sum(loss.item() * count for loss, count in zip(alone, counts, strict=True)) / sum(counts)
    assert together == pytest.approx(mean, abs=0.02)


@pytest.mark.parametrize("name", ["MistralConfig", "Gemma2Config"])
def test_sliding_windows_and_capped_scores_are_padded(name: str) -> None:
    """Their attention is not plain: packed they would silently learn something else."""
    model = model_of(name, num_key_value_heads=2, head_dim=8)
    assert not can_pack(model.decoder)
    batch = TrainingBatch.collate(SEQUENCES)
    found, expected = loss_and_gradient(model, batch), loss_and_gradient(model, batch, padded=True)
    torch.testing.assert_close(found, expected)


def test_the_decoder_is_left_as_it_was() -> None:
    """Chat uses the same decoder between training steps."""
    model = model_of()
    ids = torch.tensor([[1, 5, 6, 7]])
    before = model.decoder(input_ids=ids).logits
    attention = model.decoder.config._attn_implementation
    model(features_of(3), TrainingBatch.collate(SEQUENCES)).backward()
    assert model.decoder.config._attn_implementation == attention
    torch.testing.assert_close(model.decoder(input_ids=ids).logits, before)


@pytest.mark.slow
def test_compiled_equals_not_compiled() -> None:
    model, batch = model_of(), TrainingBatch.collate(SEQUENCES)
    expected = loss_and_gradient(model, batch)
    model = SkinGPT4(None, None, model.llama_proj, model.decoder, compiled=True).eval()
    torch.testing.assert_close(loss_and_gradient(model, batch), expected, atol=1e-5, rtol=0)
    other = TrainingBatch.collate(SEQUENCES[1:])  # another number and length of sequences
    assert model(features_of(2), other).isfinite()


def test_what_a_packed_batch_holds() -> None:
    batch = TrainingBatch.collate([sequence([1, 5], [7], [8, 2]), sequence([1, 5], [], [9])])
    assert batch.ids.tolist() == [1, 5, -1, -1, -1, 7, 8, 2, -1, -1, -1, 9]
    assert batch.positions.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 2, 3, 4, 5]
    assert batch.slots.tolist() == [2, 3, 4, 8, 9, 10]
    assert (batch.predictors.tolist(), batch.targets.tolist()) == ([5, 6, 10], [8, 2, 9])
    assert batch.rows.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 8, 9, 10, 11, 0, 0]]
    assert batch.attended.tolist() == [[True] * 8, [True] * 6 + [False] * 2]
    assert batch.place.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13]
    assert batch.owner.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 12, 12, 8, 9, 10, 11, 12, 12]
    assert batch.answer_tokens == 3
    moved = batch.to(torch.device("cpu"))
    assert torch.equal(moved.ids, batch.ids)


def test_nothing_of_an_answer_or_an_image_is_common() -> None:
    assert common_beginning(SEQUENCES) == 3
    assert common_beginning(SEQUENCES[:1]) == 3
    assert common_beginning([TrainingSequence([1, 2, 3], [False, True, True])] * 2) == 1
    assert common_beginning([sequence([1, 5], [7], [8]), sequence([1], [7], [8])]) == 1
    assert common_beginning([sequence([1], [7], [8]), sequence([4], [7], [8])]) == 0


tokens = st.integers(3, 9)
sequences_of_any_kind = st.lists(
    st.builds(sequence, st.lists(tokens, max_size=3), st.lists(tokens, max_size=4), st.lists(tokens, min_size=1)),
    min_size=1,
    max_size=4,
)


@given(sequences_of_any_kind)
def test_every_sequence_can_be_read_back(many: list[TrainingSequence]) -> None:
    batch = TrainingBatch.collate(many)
    for row, attended, original in zip(batch.rows, batch.attended, many, strict=True):
        assert batch.ids[row[attended]].tolist() == original.ids
        assert batch.positions[row[attended]].tolist() == list(range(len(original.ids)))
    answers = [token for s in many for token, counts in zip(s.ids, s.in_loss, strict=True) if counts]
    assert batch.targets.tolist() == answers
    assert torch.equal(batch.rows.flatten()[batch.place], torch.arange(len(batch.ids)))
    assert torch.equal(batch.owner[batch.place], torch.arange(len(batch.ids)))
