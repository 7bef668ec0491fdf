"""Answers that a model does not make up but is asked to weigh: how likely it finds each of a closed list."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from skingpt4.chat.context import segments
from skingpt4.chat.questions import QuestionError
from skingpt4.engines.seam import Engine
from skingpt4.processor import Processor
from skingpt4.prompts import Turn, encode_answer, plain


@dataclass(frozen=True)
class CandidateScores:
    """How likely a model finds each of C answers to one question about each of n photographs.

    log_likelihood: float64[n, C], natural logarithm, the sum over the answer's tokens. tokens: int64[C], how many those
    are.
    """

    log_likelihood: np.ndarray
    tokens: np.ndarray

    @property
    def normalised(self) -> np.ndarray:
        """float64[n, C]: per token, so that long answers are not less likely for their length alone."""
        return self.log_likelihood / self.tokens

    def probabilities(self, temperature: float = 1.0, normalised: bool = True) -> np.ndarray:
        """float64[n, C], rows that sum to 1: softmax over the candidates, as if the answer had to be one of them."""
        from scipy.special import softmax

        scores = self.normalised if normalised else self.log_likelihood
        return softmax(scores / temperature, axis=1)


def score_answers(
    engine: Engine,
    processor: Processor,
    project: Callable[[Tensor], Tensor],
    features: Tensor,
    question: str,
    candidates: Sequence[str],
    closed: bool = True,
) -> CandidateScores:
    """As `Chat.score_candidates`. project: features float[B, Q, 768] -> image tokens float[B, Q, D]."""
    answers = _encoded(processor, candidates, closed)
    found = np.empty((len(features), len(answers)))
    for row in range(len(features)):
        prompt = segments(processor, [Turn(question, images=1)], list(project(features[row : row + 1])))
        read = sum(map(len, prompt)) + max(map(len, answers))
        if read > engine.context_tokens:
            raise QuestionError(
                f"Question, picture and the longest answer have {read} tokens, and this model reads "
                f"{engine.context_tokens}. Give shorter answers."
            )
        found[row] = [float(scores.double().sum()) for scores in engine.score(prompt, answers)]
    return CandidateScores(found, np.array([len(answer) for answer in answers]))


def _encoded(processor: Processor, candidates: Sequence[str], closed: bool) -> list[list[int]]:
    """Answers as `prompts` renders them in training: each a segment of its own, with or without its end symbol."""
    if not candidates:
        raise QuestionError("There is no answer to choose from; give at least one.")
    template, tokenizer = processor.chat_template, processor.tokenizer
    texts = [plain(text, tokenizer.specials).strip() for text in candidates]
    if not all(texts):
        raise QuestionError("One of the answers to choose from is empty; leave it out.")
    end = template.stops[0] if closed else ""
    return [encode_answer(template.lead + text, end, tokenizer, sys.maxsize) for text in texts]
