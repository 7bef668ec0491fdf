"""What raters are asked about each text, and the scale that they answer on.

The topics and their order are those of SkinGPT-4's Figure 4a (Zhou et al. 2024, Nature Communications 15, doi
10.1038/s41467-024-50043-3), rated from "strongly disagree" to "strongly agree". The wording is ours: it speaks of "this
text", so that a form does not say whether a model or a doctor wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from skingpt4.errors import SkinGPTError

DERMATOLOGIST, LAY = "dermatologist", "lay"
GROUPS = (DERMATOLOGIST, LAY)  # of raters
# From 1 to 5; the last two count as agreement.
LEVELS: tuple[str, ...] = ("Strongly disagree", "Disagree", "Neither agree nor disagree", "Agree", "Strongly agree")
AGREES = 4  # this level and above


class StudyError(SkinGPTError):
    """A study's folder, a form or a rating is wrong."""


@dataclass(frozen=True)
class Item:
    """One statement of the questionnaire.

    key: its name in files; `number` is the paper's. topic: for tables and plots. lay: the statement for lay users,
    empty = they are not asked.
    """

    number: int
    key: str
    topic: str
    statement: str
    lay: str = ""

    def wording(self, group: str) -> str:
        """The statement as raters of a group read it; empty where they are not asked."""
        return self.lay if group == LAY else self.statement


ITEMS: tuple[Item, ...] = (
    Item(1, "correct", "Diagnosis is correct or relevant", "The diagnosis in this text is correct or relevant."),
    Item(2, "informative", "Description is informative", "The description in this text is informative."),
    Item(
        3,
        "useful",
        "Suggestions are useful",
        "The suggestions in this text are useful.",
        "The suggestions in this text would be useful to me.",
    ),
    Item(4, "helps_doctors", "Helps doctors", "This text can help doctors with the diagnosis."),
    Item(
        5,
        "helps_patients",
        "Helps patients understand",
        "This text can help patients to understand their disease better.",
        "This text would help me to understand the disease better.",
    ),
    Item(
        6,
        "privacy",
        "Runs locally, protects privacy",
        "If this text came from a program that runs on our own computers, that would protect patients' privacy.",
    ),
    Item(7, "willing", "Willing to use", "I would be willing to use a program that gives texts like this one."),
)


def items_of(group: str) -> tuple[Item, ...]:
    """The items that raters of a group answer: all for dermatologists, 3 and 5 for lay users."""
    return tuple(item for item in ITEMS if item.wording(group))


def level_of(value: object) -> int:
    """A rating 1-5 from a number, its text, or a level's name. Raises `ValueError` for anything off the scale."""
    text = str(value).strip().lower()
    names = [name.lower() for name in LEVELS]
    if text in names:
        return names.index(text) + 1
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if number not in range(1, len(LEVELS) + 1):
        raise ValueError(
            f"{value!r} is not on the scale; 1 ({LEVELS[0].lower()}) to 5 ({LEVELS[-1].lower()}) was expected"
        )
    return int(number)


def agreeing(counts: Sequence[int]) -> int:
    """How many agree or strongly agree. counts: int[5], ratings per level."""
    return sum(counts[AGREES - 1 :])
