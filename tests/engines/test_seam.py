"""Another engine can be plugged in: chat knows no more of a decoder than `engines.seam` says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from skingpt4.chat.conversation import Chat
from skingpt4.engines.sampling import Sampling
from skingpt4.engines.seam import Engine, Finished, Segment, never
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.vocabulary import CLINICAL_PROMPTS

SHORT = Sampling(max_new_tokens=12)


class ForgetfulState:
    """Reads everything anew for every token: the plainest engine there can be."""

    def __init__(self, engine: ForgetfulEngine):
        self.engine = engine
        self.newly_read = 0

    @torch.inference_mode()
    def read(self, segments: Sequence[Segment]) -> Tensor:
        embedding = self.engine.decoder.get_input_embeddings()
        parts = [part if isinstance(part, Tensor) else embedding(torch.tensor(part)) for part in segments]
        self.newly_read = sum(map(len, parts))
        return self.engine.decoder(inputs_embeds=torch.cat(parts).unsqueeze(0), use_cache=False).logits[0, -1].float()

    def generate(self, segments: Sequence[Segment], sampling: Sampling, is_finished: Finished = never) -> Iterator[int]:
        made: list[int] = []
        while len(made) < sampling.max_new_tokens and not (made and is_finished(made)):
            token = int(self.read([*segments, made] if made else segments).argmax())
            if token in self.engine.end_ids:
                return
            made.append(token)
            yield token


class ForgetfulEngine:
    def __init__(self, decoder: PreTrainedModel, end_ids: Sequence[int]):
        self.decoder, self.end_ids = decoder, end_ids
        self.context_tokens = 512

    def start(self) -> ForgetfulState:
        return ForgetfulState(self)

    def generate_many(
        self, prompts: Sequence[Sequence[Segment]], max_new_tokens: int, is_finished: Finished
    ) -> list[list[int]]:
        return [list(self.start().generate(p, Sampling(max_new_tokens=max_new_tokens), is_finished)) for p in prompts]

    def score(self, prompt: Sequence[Segment], candidates: Sequence[Sequence[int]]) -> list[Tensor]:
        found = []
        for candidate in candidates:
            begun = [[*prompt, list(candidate[:count])] if count else prompt for count in range(len(candidate))]
            logits = torch.stack([self.start().read(segments) for segments in begun])
            found.append(logits.log_softmax(-1)[range(len(candidate)), list(candidate)])
        return found


@pytest.fixture
def photo() -> Image.Image:
    return Image.linear_gradient("L").resize((64, 48)).convert("RGB")


@pytest.fixture
def chats(tiny_model: tuple[SkinGPT4, Processor]) -> tuple[Chat, Chat]:
    model, processor = tiny_model
    engine: Engine = ForgetfulEngine(model.decoder, processor.tokenizer.eos_ids)
    return Chat(model, processor), Chat(model, processor, engine)


def test_a_conversation_over_another_engine_is_the_same(chats: tuple[Chat, Chat], photo: Image.Image) -> None:
    ours, other = (chat.start(photo) for chat in chats)
    for question in CLINICAL_PROMPTS:
        assert ours.ask(question, SHORT) == other.ask(question, SHORT) != ""
    assert ours.timing is not None and other.timing is not None
    assert ours.timing.read_tokens < other.timing.read_tokens  # the other keeps nothing


def test_many_answers_over_another_engine_are_the_same(chats: tuple[Chat, Chat], photo: Image.Image) -> None:
    pictures = [photo, photo.rotate(180), Image.new("RGB", (30, 30), "red")]
    ours, other = (chat.answer_many(pictures, CLINICAL_PROMPTS[0], 12) for chat in chats)
    assert ours == other


def test_scores_over_another_engine_are_the_same(chats: tuple[Chat, Chat], photo: Image.Image) -> None:
    answers = ["A mole.", "A plaque with scale.", "A plaque."]
    features = chats[0].encode_many([photo, photo.rotate(180)])
    ours, other = (chat.score_candidates(features, CLINICAL_PROMPTS[0], answers) for chat in chats)
    assert ours.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-4)
    assert (ours.tokens == other.tokens).all()


def test_the_other_engines_context_is_the_one_that_counts(chats: tuple[Chat, Chat], photo: Image.Image) -> None:
    conversation = chats[1].start(photo)
    for _ in range(4):
        conversation.ask(CLINICAL_PROMPTS[1], Sampling(max_new_tokens=6))
    assert conversation.dropped_turns == 0
    chats[1].engine.context_tokens = 200  # type: ignore[misc]
    conversation.ask(CLINICAL_PROMPTS[1], Sampling(max_new_tokens=6))
    assert conversation.dropped_turns > 0
