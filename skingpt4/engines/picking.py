"""An answer token by token, from the logits of each next one: for engines whose decoder is in this process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import torch
from torch import Tensor
from transformers.generation import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from skingpt4.engines.sampling import Sampling
from skingpt4.engines.seam import Finished


def answer_tokens(
    logits: Tensor,
    append: Callable[[int], Tensor],
    sampling: Sampling,
    end_ids: Collection[int],
    is_finished: Finished,
) -> Iterator[int]:
    """The answer's tokens as they are picked, the ending token left out.

    logits: float32[V] of the first of them. append: has the decoder read a token; returns the next one's logits.
    """
    processors = _processors(sampling)
    generator = torch.Generator(device=logits.device).manual_seed(sampling.seed)
    new: list[int] = []
    for count in range(sampling.max_new_tokens):
        token = _pick(logits, new, processors, sampling, generator)
        if token in end_ids:
            return
        yield token
        new.append(token)
        if is_finished(new):
            return
        if count + 1 < sampling.max_new_tokens:
            logits = append(token)


@torch.inference_mode()
def _pick(
    logits: Tensor, new: list[int], processors: LogitsProcessorList, sampling: Sampling, generator: torch.Generator
) -> int:
    scores = logits.unsqueeze(0)
    if processors:
        scores = processors(torch.tensor([new], dtype=torch.long, device=logits.device), scores.clone())
    if sampling.temperature == 0:
        return int(scores.argmax())
    return int(torch.multinomial(scores.softmax(dim=-1), 1, generator=generator))


def _processors(sampling: Sampling) -> LogitsProcessorList:
    processors = LogitsProcessorList()
    if sampling.repetition_penalty != 1:
        processors.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.temperature not in (0, 1):
        processors.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.temperature > 0 and sampling.top_p < 1:
        processors.append(TopPLogitsWarper(sampling.top_p))
    return processors
