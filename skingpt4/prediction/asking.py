"""What is asked about each picture, and the asking, many pictures side by side."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import expit, softmax
from torch import Tensor

from skingpt4.chat.context import segments, still_read
from skingpt4.chat.conversation import Chat
from skingpt4.chat.photo_check import FEATURES, PhotoCheck, statistics_of
from skingpt4.chat.questions import QuestionError
from skingpt4.data.records import in_column_order
from skingpt4.errors import ImageError, SettingsError
from skingpt4.evaluation.candidates import concept_log_odds, diagnosis_log_scores
from skingpt4.evaluation.parsing import named_concepts, names_of
from skingpt4.images import open_image
from skingpt4.prompts import Turn
from skingpt4.vocabulary import CLASSES, CONCEPT_PROMPT, CONCEPTS, DIAGNOSIS_PROMPTS

if TYPE_CHECKING:
    from skingpt4.data.records import ImageRef

# In a conversation prompts differ in length by what was answered before: so many batches are read together, and each
# is made of prompts of about one length.
SORTED_BATCHES = 4


@dataclass(frozen=True)
class Plan:
    """What is asked. questions: each by itself, or one after the other in one `conversation`. diagnoses: the candidates
    to rank, empty = none. concepts: score all 48. Raises `SettingsError` for values out of range.
    """

    questions: tuple[str, ...] = (DIAGNOSIS_PROMPTS[1], CONCEPT_PROMPT)
    conversation: bool = False
    diagnoses: tuple[str, ...] = CLASSES
    concepts: bool = False
    max_new_tokens: int = 300

    def __post_init__(self) -> None:
        if not self.questions:
            raise SettingsError("No question is asked; give at least one.")
        if self.max_new_tokens < 1:
            raise SettingsError(f"max_new_tokens is {self.max_new_tokens}; it must be at least 1.")


@dataclass(frozen=True)
class Prepared:
    """A picture that has been decoded. pixels: float32[3, S, S]. statistics: for a photo check, else empty."""

    pixels: Tensor
    statistics: Mapping[str, float]


class Asker:
    """Asks what the plan says, `batch_size` pictures side by side. photo_check: looks at each photograph too.

    Raises `QuestionError` for a question that is empty or does not fit into the decoder's context.
    """

    def __init__(self, chat: Chat, plan: Plan, batch_size: int, photo_check: PhotoCheck | None = None):
        self._chat, self._check, self._batch_size = chat, photo_check, batch_size
        self._plan = replace(plan, questions=tuple(chat.clean(question) for question in plan.questions))
        self._diseases = [name for names in names_of(plan.diagnoses).values() for name in names]
        self._require_fitting()
        self.together = batch_size * (SORTED_BATCHES if plan.conversation else 1)  # pictures to hand over at once

    def prepare(self, image: ImageRef) -> Prepared | str:
        """Decode one picture, or say why that cannot be done; for threads that work ahead of the model."""
        try:
            picture = open_image(image)
        except ImageError as error:
            return str(error)
        return Prepared(self._chat.processor.pixels(picture), statistics_of(picture) if self._check else {})

    def ask(self, pictures: Sequence[Prepared]) -> list[dict[str, Any]]:
        """What a `Prediction` says about each of these pictures beside its name."""
        started = time.perf_counter()
        features = self._encode(pictures)
        answers = self._answers(features)
        scores = [self._scores(features[rows], [answers[row] for row in rows]) for rows in self._batches(len(pictures))]
        columns = {name: [value for part in scores for value in part[name]] for name in scores[0]}
        columns["answers"] = [self._asked(each) for each in answers]
        columns["concepts"] = [in_column_order(named_concepts("\n".join(each), self._diseases)) for each in answers]
        if self._check:
            looked = zip(pictures, features.float().mean(dim=1).cpu().numpy(), strict=True)
            columns["photo"] = [self._check.judge({FEATURES: mean, **each.statistics}).kinds for each, mean in looked]
        columns["seconds"] = [(time.perf_counter() - started) / len(pictures)] * len(pictures)
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def _encode(self, pictures: Sequence[Prepared]) -> Tensor:
        """float32[n, Q, 768]"""
        model = self._chat.model
        with torch.inference_mode():
            return torch.cat(
                [
                    model.encode_images(torch.stack([pictures[row].pixels for row in rows]).to(model.device))
                    for rows in self._batches(len(pictures))
                ]
            )

    def _answers(self, features: Tensor) -> list[tuple[str, ...]]:
        """The greedy answer to every question, for each picture."""
        said: list[list[Turn]] = [[] for _ in features]
        for question in self._plan.questions:
            histories = said if self._plan.conversation else [[] for _ in said]
            turns = [Turn(question, images=int(not history)) for history in histories]
            asked = [self._still_read([*history, turn]) for history, turn in zip(histories, turns, strict=True)]
            order = sorted(range(len(asked)), key=lambda row: self._length(asked[row]))
            for batch in self._batches(len(order)):
                rows = [order[place] for place in batch]
                conversations = [asked[row] for row in rows]
                replies = self._chat.answer_conversations(features[rows], conversations, self._room(conversations[0]))
                for row, reply in zip(rows, replies, strict=True):
                    said[row].append(replace(turns[row], reply=reply))
        return [tuple(turn.reply or "" for turn in each) for each in said]

    def _still_read(self, turns: Sequence[Turn]) -> list[Turn]:
        """Without the oldest turns where there is no room for the answer, as in a chat."""
        dropped = 0
        while dropped < len(turns) - 1 and not self._fits(still_read(turns, dropped)):
            dropped += 1
        return still_read(turns, dropped)

    def _fits(self, turns: Sequence[Turn]) -> bool:
        return self._length(turns) + self._room(turns) <= self._chat.engine.context_tokens

    def _room(self, turns: Sequence[Turn]) -> int:
        """The longest answer, in tokens. It depends on no other picture's answers: in a conversation, a quarter of the
        context is always there.
        """
        limit = self._chat.engine.context_tokens
        free = limit // 4 if self._plan.conversation else limit - self._length(turns)
        return min(self._plan.max_new_tokens, free)

    def _length(self, turns: Sequence[Turn]) -> int:
        """Tokens of a prompt."""
        processor = self._chat.processor
        picture = torch.empty(processor.queries, 0)
        return sum(len(segment) for segment in segments(processor, turns, [picture]))

    def _require_fitting(self) -> None:
        for question in self._plan.questions:
            alone = [Turn(question, images=1)]
            if not question:
                raise QuestionError("A question is empty; ask something about each picture.")
            if self._room(alone) < 1 or not self._fits(alone):
                raise QuestionError(
                    f"The question “{question[:60]}…” is too long: with the picture it has {self._length(alone)} "
                    f"tokens, and this model reads {self._chat.engine.context_tokens}. Ask a shorter one."
                )

    def _asked(self, answers: Sequence[str]) -> list[dict[str, str]]:
        pairs = zip(self._plan.questions, answers, strict=True)
        return [{"question": question, "answer": answer} for question, answer in pairs]

    def _scores(self, features: Tensor, answers: Sequence[Sequence[str]]) -> dict[str, list[Any]]:
        """Ranked diagnoses and concepts, as far as they are wanted, for each picture."""
        found: dict[str, list[Any]] = {}
        if self._plan.diagnoses:
            scores = diagnosis_log_scores(self._chat, features, self._plan.diagnoses)
            found["diagnoses"] = [_ranked("diagnosis", self._plan.diagnoses, row) for row in softmax(scores, axis=1)]
            found["unlisted"] = [max(0.0, 1.0 - total) for total in np.exp(scores).sum(axis=1).tolist()]
        if self._plan.concepts:
            questions = () if self._plan.conversation else self._plan.questions
            listed = (
                [each[questions.index(CONCEPT_PROMPT)] for each in answers] if CONCEPT_PROMPT in questions else None
            )
            probabilities = expit(concept_log_odds(self._chat, features, None, listed))
            found["concept_scores"] = [_ranked("concept", CONCEPTS, row) for row in probabilities]
        return found

    def _batches(self, count: int) -> list[range]:
        return [range(first, min(first + self._batch_size, count)) for first in range(0, count, self._batch_size)]


def _ranked(what: str, names: Sequence[str], probabilities: np.ndarray) -> list[dict[str, str | float]]:
    """The likeliest first."""
    order = np.argsort(-probabilities, kind="stable")
    return [{what: names[index], "probability": float(probabilities[index])} for index in order]
