"""A conversation as JSON can hold it, and back."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import Tensor

from skingpt4.chat.questions import without_marks
from skingpt4.errors import SkinGPTError
from skingpt4.prompts import Turn

if TYPE_CHECKING:
    from skingpt4.processor import Processor

FORMAT = 1


class ConversationError(SkinGPTError):
    """A saved conversation is damaged, or belongs to another model."""


@dataclass(frozen=True)
class SavedConversation:
    """turns: all, the first `dropped_turns` no longer read. features: float32[Q, W] of every picture."""

    turns: Sequence[Turn]
    dropped_turns: int
    features: Sequence[Tensor]


def saved(turns: Sequence[Turn], dropped_turns: int, features: Sequence[Tensor]) -> dict[str, Any]:
    """Turns, and features as base64 of little-endian float32."""
    return {
        "format": FORMAT,
        "turns": [asdict(turn) for turn in turns],
        "dropped_turns": dropped_turns,
        "pictures": [
            {
                "shape": list(tensor.shape),
                "float32": base64.b64encode(tensor.cpu().float().numpy().astype("<f4").tobytes()).decode(),
            }
            for tensor in features
        ],
    }


def from_saved(data: dict[str, Any], processor: Processor, width: int) -> SavedConversation:
    """What `saved` gave; marks of the template are taken out of what the turns say, as of a question that is asked.

    width: of this model's features. Raises `ConversationError`.
    """
    shape, stops = (processor.queries, width), processor.chat_template.stops
    try:
        if data["format"] != FORMAT or isinstance(data["format"], bool):
            raise ConversationError(
                f"This conversation was saved in format {data['format']!r}, and this version reads {FORMAT}. "
                "Update skingpt4, or start a new conversation."
            )
        turns = [
            Turn(_text(turn["question"], stops).strip(), _count(turn["images"]), _text(turn["reply"], stops))
            for turn in data["turns"]
        ]
        features = [_tensor(picture) for picture in data["pictures"]]
        dropped = _count(data["dropped_turns"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ConversationError(
            f"This is no saved conversation, or a damaged one ({type(error).__name__}: {error}); `to_dict()` of a "
            "conversation was expected."
        ) from error
    wrong = next((tuple(tensor.shape) for tensor in features if tuple(tensor.shape) != shape), None)
    if wrong is not None:
        raise ConversationError(
            f"The saved pictures have features of {wrong[0]} x {wrong[1]}, and this model's are {shape[0]} x "
            f"{shape[1]}: they come from another model. Load that one, or start anew with the picture."
        )
    if any(turn.images < 0 for turn in turns) or sum(turn.images for turn in turns) > len(features):
        raise ConversationError("The saved conversation is damaged: its turns show more pictures than it has.")
    if not 0 <= dropped <= len(turns):
        raise ConversationError("The saved conversation is damaged: more turns were dropped than it has.")
    return SavedConversation(turns, dropped, features)


def _text(value: object, stops: Sequence[str]) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text was expected, not {value!r:.50}")
    return without_marks(value, stops)


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"a whole number was expected, not {value!r:.50}")
    return value


def _tensor(picture: dict[str, Any]) -> Tensor:
    rows, width = (_count(size) for size in picture["shape"])
    values = numpy.frombuffer(base64.b64decode(picture["float32"], validate=True), dtype="<f4")
    if not numpy.isfinite(values).all():
        raise ValueError("a picture's features are not finite")
    return torch.from_numpy(values.astype(numpy.float32).reshape(rows, width))
