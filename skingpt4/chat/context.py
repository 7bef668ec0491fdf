"""What the decoder reads of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from skingpt4.engines.seam import Segment
from skingpt4.processor import Processor
from skingpt4.prompts import ImageSlot, Turn, encode_turns


def segments(processor: Processor, turns: Sequence[Turn], image_tokens: Sequence[Tensor]) -> list[Segment]:
    """Turns as an engine reads them: ids and image tokens, in order. image_tokens: float[Q, D] of every picture."""
    parts = encode_turns(processor.chat_template, turns, processor.tokenizer)
    return [image_tokens[part.index] if isinstance(part, ImageSlot) else part for part in parts]


def still_read(history: Sequence[Turn], dropped: int) -> list[Turn]:
    """The turns after the first `dropped`, whose pictures go to the next one."""
    kept = list(history[dropped:])
    if kept:
        kept[0] = replace(kept[0], images=kept[0].images + sum(turn.images for turn in history[:dropped]))
    return kept
