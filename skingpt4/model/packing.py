"""Training sequences in one row without padding, and the attention that keeps them apart.

All the decoder's matrices see one row of real tokens: the text before the image, which every sequence has in common,
once, then what is each sequence's own. Only attention needs the sequences side by side; there, and nowhere else, they
are spread out to rows of equal length, right-padded, so that plain causal attention does (every kernel has that, no
mask is made, and padding is never looked at).

Letters of shapes: B sequences, L the longest, T tokens of the packed row, A tokens of the answers, Q queries, H heads,
D width.

    sequences  a b c d        packed  a b c d e f       rows  0 1 2 3      place  0 1 2 3 6 7
               a b e f        (common: a b)                   0 1 4 5
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, PreTrainedModel

from skingpt4.prompts import IMAGE_SLOT, TrainingSequence

NAME = "skingpt4_packed"


@dataclass
class TrainingBatch:
    """Packed training sequences.

    ids int64[T], `IMAGE_SLOT` at image tokens · positions int64[T], each token's place in its sequence · slots
    int64[B·Q], where the image tokens go, in order · predictors int64[A], the tokens before those of the answers ·
    targets int64[A], the answers' ids · rows int64[B, L], which token stands where in the spread-out sequences (any at
    padding) · attended bool[B, L], false at padding · place int64[T], the flat position in `rows` that holds each token
    · owner int64[B·L], the reverse: T at padding and at repetitions of the common beginning.
    """

    ids: Tensor
    positions: Tensor
    slots: Tensor
    predictors: Tensor
    targets: Tensor
    rows: Tensor
    attended: Tensor
    place: Tensor
    owner: Tensor

    @classmethod
    def collate(cls, sequences: Sequence[TrainingSequence]) -> TrainingBatch:
        """Pack sequences; the longest beginning without image and answer that all have in common is taken once."""
        common = common_beginning(sequences)
        longest = max(len(sequence.ids) for sequence in sequences)
        rows = torch.zeros(len(sequences), longest, dtype=torch.long)
        attended = torch.zeros(len(sequences), longest, dtype=torch.bool)
        ids, positions, place = list(sequences[0].ids[:common]), list(range(common)), list(range(common))
        predictors: list[int] = []
        targets: list[int] = []
        for number, sequence in enumerate(sequences):
            length, first = len(sequence.ids), len(ids) - common
            own = range(common, length)
            rows[number, :length] = torch.tensor([*range(common), *(first + index for index in own)])
            attended[number, :length] = True
            answer = [index for index in own if sequence.in_loss[index] and index]
            predictors += rows[number, [index - 1 for index in answer]].tolist()
            targets += [sequence.ids[index] for index in answer]
            ids += sequence.ids[common:]
            positions += own
            place += [number * longest + index for index in own]
        packed = torch.tensor(ids)
        owner = torch.full((rows.numel(),), len(ids))
        owner[place] = torch.arange(len(ids))
        slots = (packed == IMAGE_SLOT).nonzero().flatten()
        return cls(
            packed, torch.tensor(positions), slots, torch.tensor(predictors, dtype=torch.long),
            torch.tensor(targets, dtype=torch.long), rows, attended, torch.tensor(place), owner,
        )  # fmt: skip

    @property
    def answer_tokens(self) -> int:
        """How many tokens the loss is the mean of."""
        return len(self.targets)

    def to(self, device: torch.device) -> TrainingBatch:
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> TrainingBatch:
        """For `DataLoader`, which looks for a method of this name."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Any) -> TrainingBatch:
        return TrainingBatch(*(change(getattr(self, field.name)) for field in fields(self)))


def common_beginning(sequences: Sequence[TrainingSequence]) -> int:
    """How many tokens all sequences begin with alike, before the first image token and before any answer."""
    alike = takewhile(
        lambda column: len(set(column)) == 1, zip(*(sequence.ids for sequence in sequences), strict=False)
    )
    before = min((s.in_loss.index(True) for s in sequences if True in s.in_loss), default=len(sequences[0].ids) - 1)
    return min(sum(1 for _ in takewhile(lambda column: column[0] != IMAGE_SLOT, alike)), before)


def can_pack(decoder: PreTrainedModel) -> bool:
    """Whether plain causal attention over whole sequences is all that this decoder's tokens exchange.

    Others (sliding windows, capped scores, recurrent layers, positions outside of the attention interface) are trained
    on padded sequences.
    """
    config = decoder.config
    special = ("sliding_window", "attn_logit_softcapping", "attention_chunk_size")
    return (
        bool(getattr(decoder, "_supports_attention_backend", False))
        and set(getattr(config, "layer_types", None) or ()) <= {"full_attention"}
        and not any(getattr(config, name, None) for name in special)
        and len(set((getattr(decoder, "hf_device_map", None) or {}).values())) <= 1  # indices and states on one device
    )


@contextmanager
def packed_attention(decoder: PreTrainedModel) -> Iterator[None]:
    """Inside, the decoder's layers call `attend`; it must be given `packing=` a `TrainingBatch`."""
    before = decoder.config._attn_implementation
    decoder.config._attn_implementation = NAME
    try:
        yield
    finally:
        decoder.config._attn_implementation = before


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    packing: TrainingBatch,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each sequence of a packed row: query, key, value [1, H, T, D] -> [1, T, H, D].

    (The form is `transformers`' attention interface.)
    """
    query, key, value = (_spread(tensor, packing) for tensor in (query, key, value))
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:  # the fused kernel is slower there
        made = _plain(query, key, value, scaling)
    else:
        grouped = query.shape[1] != key.shape[1]
        made = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling, enable_gqa=grouped)
    heads, width = made.shape[1], made.shape[3]
    flat = made.transpose(1, 2).reshape(-1, heads * width)
    return _Gather.apply(flat, packing.place, packing.owner).view(1, -1, heads, width), None


def _spread(packed: Tensor, packing: TrainingBatch) -> Tensor:
    """[1, H, T, D] -> [B, H, L, D]."""
    _, heads, tokens, width = packed.shape
    flat = packed.transpose(1, 2).reshape(tokens, heads * width)
    rows = _Spread.apply(flat, packing.rows.flatten(), packing.place)
    return rows.view(*packing.rows.shape, heads, width).transpose(1, 2)


def _plain(query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    """Causal attention in two matrix products."""
    groups = query.shape[1] // key.shape[1]
    key, value = (tensor.repeat_interleave(groups, dim=1) if groups > 1 else tensor for tensor in (key, value))
    length = query.shape[2]
    later = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    return scores.masked_fill(later, float("-inf")).softmax(dim=-1) @ value


class _Spread(torch.autograd.Function):
    """packed[T, W] -> packed[rows], [B·L, W]. Backward takes each token's gradient from its own place, a copy instead
    of a sum: only the common beginning stands in several rows, and no gradient is needed before the image.
    """

    @staticmethod
    def forward(context: Any, packed: Tensor, rows: Tensor, place: Tensor) -> Tensor:
        context.save_for_backward(place)
        return packed[rows]

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (place,) = context.saved_tensors
        return gradient[place], None, None


class _Gather(torch.autograd.Function):
    """rows[B·L, W] -> rows[place], [T, W]. Backward: the gradient where `owner` names its token, zero elsewhere."""

    @staticmethod
    def forward(context: Any, rows: Tensor, place: Tensor, owner: Tensor) -> Tensor:
        context.save_for_backward(owner)
        return rows[place]

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (owner,) = context.saved_tensors
        return torch.cat([gradient, gradient.new_zeros(1, gradient.shape[1])])[owner], None, None


AttentionInterface.register(NAME, attend)
