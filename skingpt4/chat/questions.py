"""What a user asks, before the model reads it."""

from __future__ import annotations

from collections.abc import Sequence

from skingpt4.errors import SkinGPTError
from skingpt4.prompts import SPECIAL_MARKS, plain

LONGEST_PIECE = 16  # characters of a token: SentencePiece's own limit


class QuestionError(SkinGPTError):
    """A question is empty, too long for the decoder, or comes while another is being answered."""


def clean_question(question: str, stops: Sequence[str], context_tokens: int) -> str:
    """A question without what would end or open a turn of the template (`###`), and without half characters.

    Raises `QuestionError` for what is no text, and, before any work is done with it, for one that no tokenizer could
    make short enough.
    """
    if not isinstance(question, str):
        raise QuestionError(f"The question is no text (type {type(question).__name__}); ask in words.")
    if len(question) > LONGEST_PIECE * context_tokens:
        raise QuestionError(f"The question is too long: it has {len(question):,} characters. Ask a shorter one.")
    return without_marks(question, stops).strip()


def without_marks(text: str, stops: Sequence[str]) -> str:
    """Text from outside that can play no turn of its own, and that a tokenizer can read."""
    return plain(text.encode("utf-8", "replace").decode(), (*SPECIAL_MARKS, *stops))
