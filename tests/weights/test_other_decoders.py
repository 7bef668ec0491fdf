"""Decoders of other families than LLaMA, in their own chat template: trained, asked, and asked many at once."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from other_decoders import FAMILIES, WIDTH, write_decoder
from safetensors.torch import save_file
from tiny_models import TINY, settings_for, write_llama
from torch import Tensor
from torch.nn import functional as F

from skingpt4.chat.conversation import Chat, Conversation
from skingpt4.chat.load import load_chat
from skingpt4.errors import SettingsError, WeightsError
from skingpt4.model.packing import TrainingBatch, can_pack
from skingpt4.model.skingpt4 import PROJECTION
from skingpt4.prompts import Turn
from skingpt4.settings import Settings
from skingpt4.weights.build import build_model, load_model
from skingpt4.weights.checkpoint import save_checkpoint
from skingpt4.weights.decoder import require_merged

QUESTION = "What could this be?"
ANSWERS = ["This could be psoriasis.", "Plaque, Scale, Erythema"]
STEPS = 120


@dataclass(frozen=True)
class Taught:
    """A decoder that was trained to give ANSWERS for two photographs. losses: of every step."""

    chat: Chat
    features: Tensor
    losses: list[float]
    settings: Settings


def settings_of(name: str, checkpoints: Path, folder: Path) -> Settings:
    write_decoder(name, folder)
    settings = settings_for(checkpoints)
    settings.model.llama_model, settings.model.ckpt = str(folder), ""
    settings.model.chat_template = settings.model.prompt_template = "auto"
    return settings


@pytest.fixture(scope="module", params=list(FAMILIES))
def taught(request: pytest.FixtureRequest, tiny_checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Taught:
    """Projection and decoder trained together: a random decoder that stays frozen says nothing in words."""
    settings = settings_of(request.param, tiny_checkpoints, tmp_path_factory.mktemp(request.param))
    chat = load_chat(settings)
    model, processor = chat.model, chat.processor
    features = torch.randn(2, 8, 24, generator=torch.Generator().manual_seed(1))
    batch = TrainingBatch.collate([processor.training_sequence(QUESTION, answer) for answer in ANSWERS])
    model.train_only(PROJECTION, "decoder")
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.0)
    losses = []
    for _ in range(STEPS):
        loss = model(features, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if losses[-1] < 0.01:
            break
    model.train_only(PROJECTION)
    return Taught(chat, features, losses, settings)


def test_what_was_trained_is_said(taught: Taught) -> None:
    assert taught.losses[0] > 3
    assert taught.losses[-1] < 0.1
    said = [taught.chat.start_from_features(features).ask(QUESTION) for features in taught.features]
    assert said == ANSWERS


def test_an_answer_ends_by_its_mark(taught: Taught) -> None:
    """Not by running on until the limit, and without a trace of the mark in the text."""
    conversation = taught.chat.start_from_features(taught.features[0])
    ids = conversation.answer_ids(QUESTION, 100)
    processor = taught.chat.processor
    assert processor.tokenizer.decode(ids).strip() == ANSWERS[0]
    assert not set(ids) & set(processor.tokenizer.specials.values())
    assert "".join(conversation.stream(QUESTION)) == ANSWERS[0]


def test_many_at_once_are_as_one_by_one(taught: Taught) -> None:
    questions = [QUESTION, QUESTION, "Is it contagious, and what should I do about it at home?", "Why?"]
    features = taught.features[[0, 1, 0, 1]]
    one_by_one = [
        taught.chat.start_from_features(row).ask(question) for row, question in zip(features, questions, strict=True)
    ]
    turns = [[Turn(question, images=1)] for question in questions]
    assert taught.chat.answer_conversations(features, turns) == one_by_one
    assert one_by_one[:2] == ANSWERS


def test_the_answer_trained_is_the_likeliest(taught: Taught) -> None:
    candidates = [*ANSWERS, "Acne.", "What is wrong?"]
    scores = taught.chat.score_candidates(taught.features, QUESTION, candidates)
    assert scores.log_likelihood.argmax(axis=1).tolist() == [0, 1]
    assert (scores.log_likelihood.max(axis=1) > -3).all()  # the whole answer with its end mark, nearly certain


def test_later_turns_are_read_from_memory_as_afresh(taught: Taught) -> None:
    conversation = taught.chat.start_from_features(taught.features[0])
    for question in (QUESTION, "Why?", "And now?"):
        conversation.ask(question)
    assert conversation.history[0].reply == ANSWERS[0]
    fresh = Conversation.from_dict(taught.chat, conversation.to_dict())
    remembered, read = (talk.next_token_logits("More?") for talk in (conversation, fresh))
    torch.testing.assert_close(remembered, read, atol=1e-3, rtol=1e-3)


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=list(FAMILIES))
def frozen(
    request: pytest.FixtureRequest, tiny_checkpoints: Path, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    return settings_of(request.param, tiny_checkpoints, tmp_path_factory.mktemp(request.param))


def test_the_projection_learns_under_a_frozen_decoder(frozen: Settings) -> None:
    model, processor = build_model(frozen)
    assert model.trainable_names() == ["llama_proj.weight", "llama_proj.bias"]
    before = copy.deepcopy(model.decoder.state_dict())
    features = torch.randn(2, 8, 24, generator=torch.Generator().manual_seed(1))
    batch = TrainingBatch.collate([processor.training_sequence(QUESTION, answer) for answer in ANSWERS])
    optimizer = torch.optim.AdamW(model.llama_proj.parameters(), lr=0.05)
    losses = []
    for _ in range(25):
        loss = model(features, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert min(losses[-5:]) < losses[0] - 0.05
    assert all(torch.equal(value, before[name]) for name, value in model.decoder.state_dict().items())


def test_the_loss_is_that_of_the_plain_decoder(frozen: Settings) -> None:
    """Packed where the decoder allows it, else padded; here each sequence alone, its image tokens put in by hand."""
    model, processor = build_model(frozen)
    features = torch.randn(3, 8, 24, generator=torch.Generator().manual_seed(2))
    sequences = [processor.training_sequence("What is it? " * count, answer) for count, answer in
                 zip((1, 9, 4), (*ANSWERS, "Acne."), strict=True)]  # fmt: skip
    window = getattr(model.decoder.config, "sliding_window", None)
    assert can_pack(model.decoder) == (window is None)
    embedding = model.decoder.get_input_embeddings()
    losses, tokens = [], 0
    with torch.inference_mode():
        for sequence, image_tokens in zip(sequences, model.project(features), strict=True):
            ids = torch.tensor(sequence.ids)
            assert (ids < 0).sum() == 8
            row = embedding(ids.clamp(min=0))
            row[ids < 0] = image_tokens
            logits = model.decoder(inputs_embeds=row[None]).logits[0, :-1]
            answer = torch.tensor(sequence.in_loss)[1:]
            losses.append(F.cross_entropy(logits[answer].float(), ids[1:][answer], reduction="sum"))
            tokens += int(answer.sum())
        found = model(features, TrainingBatch.collate(sequences))
    torch.testing.assert_close(found, sum(losses) / tokens, atol=1e-4, rtol=1e-4)


def test_a_checkpoint_knows_decoder_and_template(tiny_checkpoints: Path, tmp_path: Path) -> None:
    settings = settings_of("qwen3", tiny_checkpoints, tmp_path / "decoder")
    save_checkpoint(tmp_path / "run", build_model(settings)[0], settings)
    model, processor = load_model(tmp_path / "run")
    assert processor.chat_template.opening == "<think>\n\n</think>\n\n"
    assert model.llama_proj.out_features == WIDTH
    other = settings_of("qwen2", tiny_checkpoints, tmp_path / "other")
    other.model.ckpt = str(tmp_path / "run")
    with pytest.raises(WeightsError, match="trained for another decoder of the same width"):
        build_model(other)


# --- what can be wrong is found before anything big is read -----------------------------------------------------------


def test_auto_without_a_chat_template(tiny_settings: Settings) -> None:
    tiny_settings.model.chat_template = "auto"
    with pytest.raises(SettingsError, match=r"The tokenizer in .*llm has no chat template, which 'auto' asks for"):
        build_model(tiny_settings)


def delta_of(folder: Path, name: str) -> Path:
    """What a published difference of two LLaMAs looks like: numbers around zero, norms as well."""
    write_llama(folder, TINY)
    tensors = {
        key: 0.02 * torch.randn(value.shape).to(value.dtype)
        for key, value in torch.load(folder / "pytorch_model.bin", weights_only=True).items()
    }
    if name.endswith(".bin"):
        torch.save(tensors, folder / name)
    else:
        (folder / "pytorch_model.bin").unlink()
        save_file(tensors, folder / name)
    return folder


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_deltas_are_recognised(name: str, tiny_settings: Settings, tmp_path: Path) -> None:
    tiny_settings.model.llama_model = str(delta_of(tmp_path / "vicuna-13b-delta-v0", name))
    with pytest.raises(WeightsError) as caught:
        build_model(tiny_settings)
    message = str(caught.value)
    assert "holds the difference between a decoder and the LLaMA that it was trained from" in message
    assert "python -m fastchat.model.apply_delta --base-model-path LLAMA --target-model-path MERGED" in message
    assert "vicuna-13b-delta-v0" in message


def test_a_merged_decoder_is_no_delta(tmp_path: Path) -> None:
    """Whatever its name says: merging leaves that of the difference in config.json."""
    write_llama(tmp_path / "merged-from-delta-v0", TINY)
    require_merged(tmp_path / "merged-from-delta-v0")
    write_decoder("gemma2", tmp_path / "gemma")  # whose norms are kept as differences from 1
    require_merged(tmp_path / "gemma")
