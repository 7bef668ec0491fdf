"""`study new`: draws the cases, asks the models, writes the forms. Called again, it goes on where it was stopped."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from skingpt4 import __version__
from skingpt4.chat.conversation import Chat
from skingpt4.data.records import ImageRef, PackedImage, Record
from skingpt4.engines.sampling import Sampling
from skingpt4.study.asking import append_answer, ask_model, read_answers
from skingpt4.study.folder import Case, Folder, Rater, Study, Text
from skingpt4.study.forms import write_forms
from skingpt4.study.items import DERMATOLOGIST, LAY, StudyError
from skingpt4.study.sampling import draw_cases
from skingpt4.study.texts import Answer, require_one_photograph_each, text_of_image
from skingpt4.training.reports.log import with_progress

_LETTERS = "BCDFGHJKLMNPQRSTVWXZ23456789"  # no vowels, so no words; no 0, 1, O, I that are mistaken for each other
_CODE_LENGTH, _ID_LENGTH = 5, 8


@dataclass(frozen=True)
class Design:
    """What a study should be. by, each, balance, seed: as of `sampling.draw_cases`. dermatologists, lay: raters."""

    title: str
    by: tuple[str, ...]
    each: int
    balance: str
    seed: int
    dermatologists: int
    lay: int


@dataclass(frozen=True)
class Arm:
    """Who wrote the texts. load: a model, called when it is needed; texts: written ones, by the photograph's name.
    source: what it is, to know a study again. Exactly one of `load` and `texts` is given.
    """

    name: str
    source: str
    load: Callable[[], Chat] | None = None
    texts: Mapping[str, Answer] | None = None


def new_study(
    records: Sequence[Record], root: Path, arms: Sequence[Arm], design: Design, out: Path, sampling: Sampling,
    remarks: Sequence[str] = (),
) -> Study:  # fmt: skip
    """Make the key, all answers and the forms in `out`. Returns the study.

    root: the folder that photographs are named relative to. remarks: what the report's readers must know.
    Raises `StudyError` where `out` holds another study or something else, for a wrong design, and where no photograph
    has a text of every written arm or one row could be the text of several.
    """
    folder = Folder(out)
    asked = _asked(arms, design, sampling)
    by_name = _with_texts({name_of(record, root): record for record in records}, arms)
    if folder.key.is_file():
        study = folder.read()
        _require_same(study, asked, out, by_name)
    else:
        if out.exists() and any(out.iterdir()):
            raise StudyError(f"{out} is not empty and holds no study; give another folder with --out.")
        study = _plan(by_name, arms, design, asked, remarks)
        folder.write(study)
    images: dict[str, ImageRef] = {case.id: by_name[case.name].image for case in study.cases}
    for arm in arms:
        _answer(study, arm, images, sampling, folder.answers)
    write_forms(study, out, images)
    return study


def name_of(record: Record, root: Path) -> str:
    """A photograph's name relative to the data's folder, with `/`: a study outlives a folder that is moved."""
    if isinstance(record.image, PackedImage):
        return record.image.name
    return record.image.relative_to(root).as_posix() if record.image.is_relative_to(root) else record.image.name


def _plan(
    by_name: Mapping[str, Record], arms: Sequence[Arm], design: Design, asked: dict[str, Any], remarks: Sequence[str]
) -> Study:
    sample = draw_cases(list(by_name.values()), design.by, design.each, design.balance, design.seed)
    names = {id(record): name for name, record in by_name.items()}
    cases = tuple(
        Case(f"case-{number:03}", names[id(each)], each.disease, each.disease_class, each.skin_type, each.group)
        for number, each in enumerate(sample.records, 1)
    )
    codes = _codes(len(cases) * len(arms))
    texts = tuple(Text(codes.pop(), case.id, arm.name) for case in cases for arm in arms)
    order = secrets.SystemRandom()  # a rater who knows the seed could tell the arms by their places
    raters = []
    for group, count in ((DERMATOLOGIST, design.dermatologists), (LAY, design.lay)):
        for number in range(1, count + 1):
            shuffled = order.sample([text.code for text in texts], len(texts))
            raters.append(Rater(f"{group[0].upper()}{number}", group, tuple(shuffled)))
    if not raters:
        raise StudyError("A study needs at least one rater; ask for some with --raters or --lay-raters.")
    short = list(sample.short)
    if sample.left_out:
        short.append(f"{sample.left_out} photographs were left out: {' or '.join(design.by)} is not known of them")
    return Study(
        id=_code(_ID_LENGTH),
        title=design.title,
        made_at=datetime.now().astimezone().isoformat(timespec="seconds"),
        version=__version__,
        design=asked,
        arms=tuple(arm.name for arm in arms),
        cases=cases,
        texts=texts,
        raters=tuple(raters),
        short=tuple(short),
        remarks=tuple(remarks),
    )


def _codes(count: int) -> list[str]:
    """Different names that say nothing: drawn from the system, as a rater may know the seed."""
    codes: set[str] = set()
    while len(codes) < count:
        codes.add(_code(_CODE_LENGTH))
    return list(codes)


def _code(length: int) -> str:
    """Begins with a letter: spreadsheets make numbers of what may be one."""
    return "".join(secrets.choice(_LETTERS if place else _LETTERS[:20]) for place in range(length))


def _with_texts(records: Mapping[str, Record], arms: Sequence[Arm]) -> dict[str, Record]:
    """The photographs that every written arm has a text for."""
    written = [arm for arm in arms if arm.texts is not None]
    for arm in written:
        require_one_photograph_each(arm.texts or {}, records, arm.name)
    found = {
        name: record for name, record in records.items() if all(text_of_image(arm.texts or {}, name) for arm in written)
    }
    if not found:
        names = ", ".join(sorted(arm.name for arm in written))
        raise StudyError(
            f"None of the {len(records):,} photographs has a text of {names}. The column `image` of that table must "
            "hold the photographs' names as the data has them, e.g. arm.jpg or clinic/arm.jpg."
            if written
            else "The data holds no photograph."
        )
    return found


def _asked(arms: Sequence[Arm], design: Design, sampling: Sampling) -> dict[str, Any]:
    """As JSON gives it back."""
    return {
        "arms": {arm.name: arm.source for arm in arms},
        "by": list(design.by),
        "each": design.each,
        "balance": design.balance,
        "seed": design.seed,
        "raters": [design.dermatologists, design.lay],
        "title": design.title,
        "sampling": dict(vars(sampling)),
    }


def _require_same(study: Study, asked: Mapping[str, Any], out: Path, by_name: Mapping[str, Record]) -> None:
    differ = [name for name in asked if study.design.get(name) != asked[name]]
    if differ:
        name = differ[0]
        raise StudyError(
            f"{out} holds a study of another design: its {name} is {study.design.get(name)!r}, and {asked[name]!r} was "
            "asked for. Give another folder with --out, or the same options to go on with this one."
        )
    gone = [case.name for case in study.cases if case.name not in by_name]
    if gone:
        raise StudyError(
            f"{len(gone)} of the study's {len(study.cases)} photographs are not in the data any more, e.g. {gone[0]}. "
            "Put them back, or begin another study with --out."
        )


def _answer(study: Study, arm: Arm, images: Mapping[str, ImageRef], sampling: Sampling, path: Path) -> None:
    if arm.load is not None:
        answered = {case for case, name in read_answers(path) if name == arm.name}
        left = len(set(images) - answered)
        asking = ask_model(arm.load, arm.name, images, sampling, path)
        if left:
            for _ in with_progress((number for number, _ in enumerate(asking)), f"Asking {arm.name}", left):
                pass
        return
    there = read_answers(path)
    for case in study.cases:
        text = text_of_image(arm.texts or {}, case.name)
        assert text is not None  # of those without, none was drawn
        known = there.get((case.id, arm.name))
        if known is not None and known.parts != text.parts:
            raise StudyError(
                f"{arm.source} has another text about {case.name} than the study, whose forms may be with the raters. "
                "Give the table that it was begun with, or begin another study with --out."
            )
        if known is None:
            append_answer(path, Answer(case.id, arm.name, text.parts, text.seconds))
