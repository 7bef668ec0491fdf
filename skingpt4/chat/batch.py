"""Many conversations answered side by side, for evaluation and for studies."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from skingpt4.chat.context import segments
from skingpt4.engines.seam import Engine, Segment
from skingpt4.processor import Processor
from skingpt4.prompts import Turn, answer_text, until_stop

BATCH = 64


def answer_conversations(
    engine: Engine,
    processor: Processor,
    project: Callable[[Tensor], Tensor],
    features: Tensor,
    conversations: Sequence[Sequence[Turn]],
    max_new_tokens: int,
) -> list[str]:
    """The greedy answer to each conversation's last turn. features: float[n, Q, 768], one photograph each.

    project: features float[B, Q, 768] -> image tokens float[B, Q, D].
    """
    answers: list[str] = []
    for start in range(0, len(conversations), BATCH):
        image_tokens = project(features[start : start + BATCH])
        prompts = [
            segments(processor, turns, [tokens])
            for turns, tokens in zip(conversations[start : start + BATCH], image_tokens, strict=True)
        ]
        answers += _answer_batch(engine, processor, prompts, max_new_tokens)
    return answers


def _answer_batch(
    engine: Engine, processor: Processor, prompts: Sequence[list[Segment]], max_new_tokens: int
) -> list[str]:
    stops, tokenizer = processor.chat_template.stops, processor.tokenizer
    made = engine.generate_many(
        prompts, max_new_tokens, lambda ids: until_stop(tokenizer.decode(ids), stops) is not None
    )
    return [answer_text(ids, tokenizer, stops, len(ids) == max_new_tokens) for ids in made]
