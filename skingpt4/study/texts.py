"""Texts that are no model's: a dermatologist's, from a table of photographs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skingpt4.data.rows import read_rows, scalar_of, text_of
from skingpt4.report.make import SECTIONS
from skingpt4.study.items import StudyError

IMAGE, TEXT, SECONDS = "image", "text", "seconds"
PARTS = tuple(name for name, _ in SECTIONS)


@dataclass(frozen=True)
class Answer:
    """One arm's text about one case.

    parts: by section's name (`report.make.SECTIONS`), or under `TEXT` alone. seconds: how long each took, by the same
    names, with "picture" for reading the photograph; empty = not known.
    """

    case: str
    arm: str
    parts: dict[str, str]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def total_seconds(self) -> float | None:
        """For the photograph and all prompts; None where it was not measured."""
        return sum(self.seconds.values()) if self.seconds else None

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Answer:
        """A line of the study's answers."""
        return cls(line["case"], line["arm"], dict(line["parts"]), dict(line["seconds"]))


def read_texts(path: Path, arm: str) -> dict[str, Answer]:
    """A table (CSV, XLSX, JSONL, Parquet) -> the texts by the photograph's name.

    Columns: `image`; `text`, or all of `description`, `features`, `cause`, `treatment`; and `seconds` (to write it)
    where it was measured. Raises `DataError` for a table without these columns and for every wrong row, by number.
    """
    if not path.is_file():
        raise StudyError(f"The texts of the arm {arm!r} were looked for in {path}, which is no file.")
    table = read_rows(path)
    columns: Sequence[str] = PARTS if set(PARTS) <= set(table.columns) else (TEXT,)
    table.require((IMAGE, *columns), f"the arm {arm!r} (or {', '.join(PARTS)} instead of {TEXT})")
    found: dict[str, Answer] = {}
    for number, values in table.rows:
        try:
            name = text_of(values, IMAGE).replace("\\", "/")
            parts = {column: text_of(values, column) for column in columns}
            empty = [column for column, text in parts.items() if not text]
            if not name or empty:
                raise ValueError(f"`{empty[0] if name else IMAGE}` is empty")
            if name in found:
                raise ValueError(f"{name} has a text in an earlier row")
            found[name] = Answer("", arm, parts, _seconds(scalar_of(values, SECONDS)))
        except ValueError as error:
            table.fail(number, str(error))
    table.raise_errors()
    return found


def key_of_image(texts: Mapping[str, Answer], image: str) -> str | None:
    """How the table calls a photograph: by its whole name, else by the most of it from the end, as `arm.jpg`."""
    parts = image.replace("\\", "/").split("/")
    tails = ("/".join(parts[first:]) for first in range(len(parts)))
    return next((tail for tail in tails if tail in texts), None)


def text_of_image(texts: Mapping[str, Answer], image: str) -> Answer | None:
    """The text of a photograph, None where the table has none."""
    key = key_of_image(texts, image)
    return None if key is None else texts[key]


def require_one_photograph_each(texts: Mapping[str, Answer], images: Iterable[str], arm: str) -> None:
    """Raise `StudyError` where one row of the table would be the text of several photographs."""
    first: dict[str, str] = {}
    for image in images:
        key = key_of_image(texts, image)
        if key is not None and first.setdefault(key, image) != image:
            raise StudyError(
                f"The text of {key} in the table of {arm} could be of {first[key]} and of {image}. Write the names in "
                "its column `image` with their folders, as the data has them."
            )


def _seconds(text: str) -> dict[str, float]:
    if not text:
        return {}
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"`{SECONDS}` is {text!r}; a number of seconds was expected, or an empty cell")
    return {TEXT: seconds}
