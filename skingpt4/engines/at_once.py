"""Answers that come whole, by `transformers`' own `generate`: many prompts side by side, or several beams of one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.generation import StoppingCriteria, StoppingCriteriaList

from skingpt4.engines.sampling import Sampling
from skingpt4.engines.seam import Finished, Segment


def embed(decoder: PreTrainedModel, segments: Sequence[Segment]) -> Tensor:
    """Segments -> float[T, D] in the decoder's dtype."""
    embedding = decoder.get_input_embeddings()
    device, dtype = embedding.weight.device, embedding.weight.dtype
    parts = [
        segment.to(device, dtype)
        if isinstance(segment, Tensor)
        else embedding(torch.tensor(segment, dtype=torch.long, device=device))
        for segment in segments
    ]
    return torch.cat(parts)


class _RowStops(StoppingCriteria):
    """Ends a row when `is_finished` says so of the tokens it has made."""

    def __init__(self, is_finished: Finished):
        self._is_finished = is_finished

    def __call__(self, input_ids: Tensor, scores: object, **_: object) -> Tensor:
        return torch.tensor([self._is_finished(row) for row in input_ids.tolist()], device=input_ids.device)


@torch.inference_mode()
def generate_many(
    decoder: PreTrainedModel,
    prompts: Sequence[Sequence[Segment]],
    max_new_tokens: int,
    end_ids: Sequence[int],
    is_finished: Finished,
) -> list[list[int]]:
    """Greedy tokens for each prompt (segments of ids and of image tokens float[Q, D]), the ending tokens left out.

    is_finished: whether a row's tokens hold a stop string. Prompts are padded on the left and masked.
    """
    rows = [embed(decoder, segments) for segments in prompts]
    length = max(len(row) for row in rows)
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
        **_endings(end_ids, is_finished),
    )
    return [_until_end(row, end_ids) for row in made.tolist()]


@torch.inference_mode()
def beam_search(
    decoder: PreTrainedModel,
    segments: Sequence[Segment],
    sampling: Sampling,
    end_ids: Sequence[int],
    is_finished: Finished,
) -> list[int]:
    """The tokens of the best of `sampling.num_beams` beams. is_finished: of a beam, which is then compared as it is.

    The search draws from torch's global generators (under a temperature), which are put back as they were.
    """
    embeddings = embed(decoder, segments).unsqueeze(0)
    warm = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0} if sampling.temperature else {}
    gpus = [embeddings.device] if embeddings.device.type == "cuda" else []
    with torch.random.fork_rng(gpus):
        torch.manual_seed(sampling.seed)
        made = decoder.generate(
            inputs_embeds=embeddings,
            attention_mask=torch.ones(embeddings.shape[:2], dtype=torch.long, device=embeddings.device),
            max_new_tokens=sampling.max_new_tokens,
            do_sample=bool(warm),
            num_beams=sampling.num_beams,
            repetition_penalty=sampling.repetition_penalty,
            **warm,
            **_endings(end_ids, is_finished),
        )
    return _until_end(made[0].tolist(), end_ids)


def _endings(end_ids: Sequence[int], is_finished: Finished) -> dict[str, object]:
    """What tells `generate` where a row ends."""
    return {
        "eos_token_id": list(end_ids) or None,
        "pad_token_id": end_ids[0] if end_ids else 0,
        "stopping_criteria": StoppingCriteriaList([_RowStops(is_finished)]),
    }


def _until_end(row: list[int], end_ids: Sequence[int]) -> list[int]:
    return row[: next((index for index, token in enumerate(row) if token in end_ids), len(row))]
