"""A study's folder: what is in it, and who may see it.

`forms/` goes to the raters. `leader/` is for the study's leader alone: its key says what each text is and who wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from skingpt4.durable import write_whole
from skingpt4.study.items import StudyError

FORMAT = "skingpt4-study-1"


@dataclass(frozen=True)
class Case:
    """A photograph of the study. name: how the data set calls it. skin_type: Fitzpatrick 1-6, -1 = unknown."""

    id: str
    name: str
    disease: str = ""
    disease_class: str = ""
    skin_type: int = -1
    patient: str = ""


@dataclass(frozen=True)
class Text:
    """What raters judge: one arm's text about one case. code: all that a form says of it."""

    code: str
    case: str
    arm: str


@dataclass(frozen=True)
class Rater:
    """group: of `items.GROUPS`. order: the codes in this rater's order."""

    id: str
    group: str
    order: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """The key of a study.

    id: drawn at random; every form and every rater's file carries it. design: what was asked for, to know whether a
    second `study new` goes on with this one. short: strata with fewer cases than wanted, in words. remarks: what the
    report's readers must know, such as leaks.
    """

    id: str
    title: str
    made_at: str
    version: str
    design: dict[str, Any]
    arms: tuple[str, ...]
    cases: tuple[Case, ...]
    texts: tuple[Text, ...]
    raters: tuple[Rater, ...]
    short: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    format: str = field(default=FORMAT)

    def case_of(self, code: str) -> Case:
        """The case of a text."""
        return self._cases[self._texts[code].case]

    def arm_of(self, code: str) -> str:
        """The arm of a text."""
        return self._texts[code].arm

    def rater(self, id: str) -> Rater | None:
        """The rater of this name, in upper or lower case."""
        return next((rater for rater in self.raters if rater.id.lower() == id.strip().lower()), None)

    @cached_property
    def _cases(self) -> dict[str, Case]:
        return {case.id: case for case in self.cases}

    @cached_property
    def _texts(self) -> dict[str, Text]:
        return {text.code: text for text in self.texts}


@dataclass(frozen=True)
class Folder:
    """Where everything of a study lies."""

    root: Path

    @property
    def key(self) -> Path:
        return self.root / "leader" / "key.json"

    @property
    def answers(self) -> Path:
        return self.root / "leader" / "answers.jsonl"

    @property
    def ratings(self) -> Path:
        return self.root / "leader" / "ratings.csv"

    @property
    def problems(self) -> Path:
        return self.root / "leader" / "problems.csv"

    @property
    def forms(self) -> Path:
        return self.root / "forms"

    @property
    def report(self) -> Path:
        return self.root / "report"

    def read(self) -> Study:
        """The study's key. Raises `StudyError` where there is none, or one of another format."""
        try:
            values = json.loads(self.key.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise StudyError(
                f"{self.root} holds no study: {self.key} is missing. `skingpt4 study new --data DIR --out {self.root}` "
                "makes one; give the folder that it wrote."
            ) from error
        except (OSError, ValueError) as error:
            raise StudyError(
                f"{self.key} cannot be read: {error}. Copy it again from where the study was made."
            ) from error
        return _study(values, self.key)

    def write(self, study: Study) -> None:
        """Write the key; it appears whole or not at all."""
        write_whole(self.key, (json.dumps(asdict(study), indent=1, ensure_ascii=False) + "\n").encode())


def _study(values: Mapping[str, Any], path: Path) -> Study:
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise StudyError(f"{path} is no key of a study that this version reads ({FORMAT} was expected).")
    try:
        return Study(
            **{
                **values,
                "arms": tuple(values["arms"]),
                "cases": tuple(Case(**case) for case in values["cases"]),
                "texts": tuple(Text(**text) for text in values["texts"]),
                "raters": tuple(Rater(**{**rater, "order": tuple(rater["order"])}) for rater in values["raters"]),
                "short": tuple(values["short"]),
                "remarks": tuple(values.get("remarks", ())),
            }
        )
    except (KeyError, TypeError) as error:
        raise StudyError(f"{path} is damaged ({error}). Copy it again from where the study was made.") from error
