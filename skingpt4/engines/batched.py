"""Greedy answers to many prompts at once, each row stopping by itself (for evaluation; a conversation has its own
state).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.generation import StoppingCriteria, StoppingCriteriaList

from skingpt4.engines.transformers_engine import Segment, embed


class _RowStops(StoppingCriteria):
    """Ends a row when `is_finished` says so of the tokens it has made."""

    def __init__(self, is_finished: Callable[[list[int]], bool]):
        self._is_finished = is_finished

    def __call__(self, input_ids: Tensor, scores: object, **_: object) -> Tensor:
        return torch.tensor([self._is_finished(row) for row in input_ids.tolist()], device=input_ids.device)


@torch.inference_mode()
def generate_many(
    decoder: PreTrainedModel,
    prompts: Sequence[Sequence[Segment]],
    max_new_tokens: int,
    end_ids: Sequence[int],
    is_finished: Callable[[list[int]], bool],
) -> list[list[int]]:
    """Greedy tokens for each prompt (segments of ids and of image tokens float[Q, D]), the ending tokens left out.

    is_finished: whether a row's tokens hold a stop string. Prompts are padded on the left and masked.
    """
    rows = [embed(decoder, segments) for segments in prompts]
    length, pad = max(len(row) for row in rows), end_ids[0] if end_ids else 0
    embeddings = rows[0].new_zeros(len(rows), length, rows[0].shape[-1])
    attended = torch.zeros(len(rows), length, dtype=torch.long, device=embeddings.device)
    for index, row in enumerate(rows):
        embeddings[index, length - len(row) :] = row
        attended[index, length - len(row) :] = 1
    made = decoder.generate(
        inputs_embeds=embeddings,
        attention_mask=attended,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        eos_token_id=list(end_ids) or None,
        pad_token_id=pad,
        stopping_criteria=StoppingCriteriaList([_RowStops(is_finished)]),
    )
    return [_until_end(row, end_ids) for row in made.tolist()]


def _until_end(row: list[int], end_ids: Sequence[int]) -> list[int]:
    return row[: next((index for index, token in enumerate(row) if token in end_ids), len(row))]
