"""Scores of given answers equal what the decoder says of each of them alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

from skingpt4.chat.conversation import Chat
from skingpt4.chat.questions import QuestionError
from skingpt4.engines import scoring
from skingpt4.engines.at_once import embed
from skingpt4.engines.seam import Segment
from skingpt4.engines.transformers_engine import TransformersEngine
from skingpt4.model.packing import can_pack
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.prompts import IMAGE_SLOT, TEMPLATES, training_sequence
from skingpt4.vocabulary import CONCEPT_ANSWER, CONCEPT_PROMPT, CONCEPTS, DIAGNOSIS_PROMPTS

SIZES = {
    "vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "pad_token_id": 0, "initializer_range": 0.5,
}  # fmt: skip
# Of one token and of many, one the beginning of another, one twice.
CANDIDATES = [[7, 8, 9, 10], [7], [7, 8, 20], [30, 31, 32, 33, 34, 35, 36], [7, 8], [7, 8, 20], [41], [7, 8, 9, 11]]


def decoder_of(kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    if kind == "llama":
        return LlamaForCausalLM(LlamaConfig(**SIZES)).eval()
    if kind == "sliding window":
        return MistralForCausalLM(MistralConfig(**SIZES, sliding_window=4)).eval()
    if kind == "capped scores":
        return Gemma2ForCausalLM(Gemma2Config(**SIZES, head_dim=8, sliding_window=6)).eval()
    bloom = BloomConfig(vocab_size=50, hidden_size=16, n_layer=2, n_head=2, initializer_range=0.5)
    return BloomForCausalLM(bloom).eval()


@torch.no_grad()
def alone(decoder: PreTrainedModel, prompt: list[Segment], candidate: list[int]) -> Tensor:
    """The plainest way: one whole forward pass for the prompt with this answer."""
    logits = decoder(inputs_embeds=embed(decoder, [*prompt, candidate])[None], use_cache=False).logits[0].float()
    before = sum(map(len, prompt))
    return logits.log_softmax(-1)[range(before - 1, before - 1 + len(candidate)), candidate]


@pytest.mark.parametrize(
    ("kind", "in_trees"),
    [("llama", True), ("sliding window", False), ("capped scores", False), ("positions in the scores", False)],
)
def test_scores_equal_those_of_each_candidate_alone(kind: str, in_trees: bool) -> None:
    decoder = decoder_of(kind)
    assert can_pack(decoder) == in_trees
    image = torch.randn(5, 16, generator=torch.Generator().manual_seed(1))
    for prompt in ([[5, 6], image, [3]], [[5, 6, 7]]):  # longer than the window, and shorter
        found = TransformersEngine(decoder, end_ids=[]).score(prompt, CANDIDATES)
        for scores, candidate in zip(found, CANDIDATES, strict=True):
            assert scores.dtype == torch.float32 and scores.shape == (len(candidate),)
            torch.testing.assert_close(scores, alone(decoder, prompt, candidate), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["llama", "sliding window"])
def test_small_memory_takes_several_goes_to_the_same_scores(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, prompt = TransformersEngine(decoder_of(kind), end_ids=[]), [[5, 6, 7]]
    expected = engine.score(prompt, CANDIDATES)
    passes: list[int] = []
    engine.decoder.register_forward_pre_hook(lambda *_: passes.append(1))
    engine.score(prompt, CANDIDATES)
    assert len(passes) == 2  # the prompt, and all candidates
    monkeypatch.setattr(scoring, "ROW_TOKENS", 8)
    monkeypatch.setattr(scoring, "COPIED_TOKENS", 25)
    torch.testing.assert_close(engine.score(prompt, CANDIDATES), expected, atol=1e-5, rtol=0)
    assert len(passes) > 2 + 2


def test_what_candidates_share_is_read_once() -> None:
    decoder = decoder_of("llama")
    read: list[int] = []
    decoder.register_forward_pre_hook(
        lambda _, args, kwargs: read.append(next(v.shape[1] for k, v in kwargs.items() if "input" in k)),
        with_kwargs=True,
    )
    TransformersEngine(decoder, end_ids=[]).score([[5, 6]], [[7, 8, 9, token] for token in range(20, 40)])
    assert read == [2, 3]  # the prompt; 7, 8 and 9; the last token of a candidate is predicted and not read


def test_a_conversation_beside_it_is_not_disturbed() -> None:
    engine = TransformersEngine(decoder_of("llama"), end_ids=[])
    state = engine.start()
    state.read([[5, 6, 7]])
    engine.score([[5, 6, 7]], CANDIDATES)
    expected = engine.start().read([[5, 6, 7, 8]])
    torch.testing.assert_close(state.read([[5, 6, 7, 8]]), expected, atol=1e-5, rtol=0)
    assert state.newly_read == 1


def test_a_candidate_without_a_token_is_refused() -> None:
    with pytest.raises(ValueError, match="no token"):
        TransformersEngine(decoder_of("llama"), end_ids=[]).score([[5, 6]], [[7], []])


@pytest.fixture
def features(tiny_model: tuple[SkinGPT4, Processor]) -> Tensor:
    model, processor = tiny_model
    return torch.randn(3, processor.queries, model.llama_proj.in_features, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def trained(model: SkinGPT4, processor: Processor, features: Tensor, question: str, answer: str) -> list[float]:
    """Log-probabilities of the answer's tokens as training sees them, from the loss's own sequence."""
    made = training_sequence(
        processor.chat_template, question, answer, processor.tokenizer, processor.queries, max_answer_tokens=999
    )
    embeddings = model.decoder.get_input_embeddings()(torch.tensor([max(token, 0) for token in made.ids]))
    embeddings[[token == IMAGE_SLOT for token in made.ids]] = model.project(features[None])[0]
    logits = model.decoder(inputs_embeds=embeddings[None], use_cache=False).logits[0].float().log_softmax(-1)
    return [float(logits[at - 1, made.ids[at]]) for at, counts in enumerate(made.in_loss) if counts]


@pytest.mark.parametrize("template", ["minigpt4", "vicuna_v1", "llama2"])
def test_answers_are_scored_as_training_shows_them(
    tiny_model: tuple[SkinGPT4, Processor], features: Tensor, template: str
) -> None:
    model, processor = tiny_model
    object.__setattr__(processor, "chat_template", TEMPLATES[template])
    answers = [CONCEPT_ANSWER.format(concepts=names) for names in (*CONCEPTS[:3], "Papule, Plaque")]
    found = Chat(model, processor).score_candidates(features, CONCEPT_PROMPT, answers)
    assert found.log_likelihood.shape == (3, 4) and found.tokens.shape == (4,)
    for row in range(3):
        for column, answer in enumerate(answers):
            scores = trained(model, processor, features[row], CONCEPT_PROMPT, answer)
            assert found.tokens[column] == len(scores)
            assert found.log_likelihood[row, column] == pytest.approx(sum(scores), abs=1e-4)
            assert found.normalised[row, column] == pytest.approx(sum(scores) / len(scores), abs=1e-4)


def test_an_open_answer_leaves_out_the_end_symbol(tiny_model: tuple[SkinGPT4, Processor], features: Tensor) -> None:
    chat, answer = Chat(*tiny_model), "A plaque, or nothing"
    closed, opened = (
        chat.score_candidates(features, DIAGNOSIS_PROMPTS[1], [answer], closed=closed) for closed in (True, False)
    )
    model, processor = tiny_model
    ending = len(processor.tokenizer.encode(f"{answer}###")) - len(processor.tokenizer.encode(answer))
    assert ending > 0 and closed.tokens[0] - opened.tokens[0] == ending
    scores = trained(model, processor, features[0], DIAGNOSIS_PROMPTS[1], answer)
    assert opened.log_likelihood[0, 0] == pytest.approx(sum(scores[:-ending]), abs=1e-4)


def test_probabilities_are_those_of_a_closed_world(tiny_model: tuple[SkinGPT4, Processor], features: Tensor) -> None:
    found = Chat(*tiny_model).score_candidates(features, "What is it?", ["Eczema.", "A mole.", "Basal cell carcinoma."])
    for normalised in (True, False):
        probabilities = found.probabilities(normalised=normalised)
        assert probabilities.sum(axis=1) == pytest.approx([1, 1, 1])
        scores = found.normalised if normalised else found.log_likelihood
        assert (probabilities.argmax(axis=1) == scores.argmax(axis=1)).all()
        first, second = probabilities[0, :2]
        assert first / second == pytest.approx(pow(2.718281828459045, scores[0, 0] - scores[0, 1]))
    flat = found.probabilities(temperature=1e9)
    assert flat == pytest.approx(1 / 3, abs=1e-6)


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([], "There is no answer to choose from"),
        (["Eczema.", "  "], "One of the answers to choose from is empty"),
        (["Eczema.", "A mole. " * 2000], "tokens, and this model reads 2048. Give shorter answers"),
    ],
)
def test_candidates_that_cannot_be_scored_are_named(
    tiny_model: tuple[SkinGPT4, Processor], features: Tensor, candidates: list[str], message: str
) -> None:
    with pytest.raises(QuestionError, match=message):
        Chat(*tiny_model).score_candidates(features, "What is it?", candidates)
