"""What is said beside every answer, in the terminal and on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skingpt4.settings import Settings
from skingpt4.vocabulary import EMBEDDED_NOTICE, NOT_A_DIAGNOSIS

if TYPE_CHECKING:
    from skingpt4.chat.photo_check import PhotoVerdict

NO_ANSWER = "(no answer)"  # shown where the model ended its answer at once

GO_ON = "You can go on with this picture, but answers about it are less reliable."


def notices(settings: Settings) -> list[str]:
    """The disclaimer; for the small model of the package also what it was trained on."""
    embedded = settings.model.llama_model.startswith("embedded/")
    return [NOT_A_DIAGNOSIS, EMBEDDED_NOTICE] if embedded else [NOT_A_DIAGNOSIS]


def better_picture(verdict: PhotoVerdict) -> tuple[str, ...]:
    """Why another picture would be better, each with what to do, and that one may go on; empty for a good picture."""
    return (*verdict.reasons, GO_ON) if verdict.kinds else ()


def forgotten(turns: int) -> str:
    """Says that so many of the oldest questions no longer fit into what the model can read at once."""
    which = "question was" if turns == 1 else f"{turns} questions were"
    return f"(The conversation grew long: the oldest {which} forgotten. The picture stays.)"
