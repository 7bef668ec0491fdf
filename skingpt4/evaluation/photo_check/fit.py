"""Fitting the photo check to a model and its kind of photographs, and measuring it on others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from skingpt4.chat.batch import BATCH
from skingpt4.chat.conversation import Chat
from skingpt4.chat.photo_check import (
    ADVICE,
    Evidence,
    Judgement,
    PhotoCheck,
    encoder_sizes,
    evidence_for,
    evidence_of,
)
from skingpt4.errors import DataError
from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.figures.intervals import measured, proportion
from skingpt4.evaluation.figures.metrics import Ranking
from skingpt4.evaluation.photo_check.pictures import SPOILERS, pictures_without_skin
from skingpt4.images import IMAGE_SUFFIXES, HasBytes, open_image
from skingpt4.training.reports.log import with_progress

if TYPE_CHECKING:
    from PIL.Image import Image

    Picture = str | Path | bytes | Image | HasBytes

GOOD = "good"
FEWEST_GOOD = 20
MOST_GOOD = 400  # photographs that are looked at, each with a spoiled copy of every kind
NOTICED = 0.95  # share of the bad pictures that a judgement is to notice ...
FALSE_ALARMS = 0.02  # ... unless more than this share of the good ones would be refused
FOLDS = 5
# What each judgement is told apart from. "no skin" and "far" are learnt against otherwise spoiled pictures too, so that
# they are not said of those; "dark" and "blurred" against good ones alone, since others would move their line.
AGAINST: dict[str, tuple[str, ...]] = {
    "no skin": (GOOD, "dark", "blurred", "far"),
    "dark": (GOOD,),
    "blurred": (GOOD,),
    "far": (GOOD, "dark", "blurred"),
}
_LARGEST_PX = 896  # larger photographs are made smaller first: many are in memory at a time
_FIT, _MEASURE = 0, 1  # seeds: no picture that is made for fitting is made for measuring

Negatives = dict[str, list[Path]]


@dataclass(frozen=True)
class Looked:
    """What is known of n pictures.

    kinds: str[n], GOOD or one of `ADVICE`. given: bool[n], not made by code. groups: the photograph or patient that a
    picture is from. evidence: of each, as `evidence_of` gives it.
    """

    kinds: np.ndarray
    given: np.ndarray
    groups: list[str]
    evidence: list[Evidence]


def fit_photo_check(
    chat: Chat, good: Sequence[Picture], bad: Mapping[str, Sequence[Picture]] | None = None, what: str = "Fitting"
) -> PhotoCheck:
    """A check for this model. good: validation photographs, at least `FEWEST_GOOD`. bad: given negatives by what is
    wrong with them (a kind of `ADVICE`), as `negatives_in` finds them.

    Blurred, dark and far copies are made of the good ones, and pictures without skin by code, so that it can be fitted
    without any negatives. Each judgement is a logistic regression whose line is drawn, on cross-validated values, where
    it notices `NOTICED` of the bad pictures: what lies between them and the good ones is not complained about. Raises
    `DataError` for too few good ones or an unknown kind, and `ImageError`.
    """
    if len(good) < FEWEST_GOOD:
        raise DataError(
            f"{len(good)} good photographs are too few to fit a photo check; at least {FEWEST_GOOD} were expected. "
            "Give a larger validation set."
        )
    looked = _look_at(chat, good, bad or {}, None, _FIT, what)
    judgements = {kind: _judgement(kind, looked) for kind in ADVICE}
    processor = chat.processor
    return PhotoCheck(
        judgements, encoder_sizes(processor.image_size, processor.queries, chat.model.llama_proj.in_features)
    )


def measure_photo_check(
    check: PhotoCheck,
    chat: Chat,
    good: Sequence[Picture],
    bad: Mapping[str, Sequence[Picture]] | None = None,
    groups: Sequence[str] | None = None,
    what: str = "Measuring the photo check",
) -> dict[str, Figure]:
    """How well a check tells pictures apart that it was not fitted on, with intervals by patient.

    good, bad: as of `fit_photo_check`, others than there. groups: the patient of each good one ("" = unknown).
    "auroc …": of the score between good and bad pictures, over all, per kind, and for the given ones alone. "false
    alarms": share of the good ones that it asks to be taken again. "noticed …": share of the bad ones of a kind that
    get a reason, whichever. Raises as `fit_photo_check`, but takes any number of pictures.
    """
    looked = _look_at(chat, good, bad or {}, groups, _MEASURE, what)
    verdicts = [check.judge(evidence) for evidence in looked.evidence]
    scores = np.array([verdict.score for verdict in verdicts])
    alarmed = np.array([bool(verdict.kinds) for verdict in verdicts])
    is_good = looked.kinds == GOOD
    figures = {"auroc": _auroc(looked, scores, ~is_good)}
    figures |= {f"auroc {kind}": _auroc(looked, scores, looked.kinds == kind) for kind in ADVICE}
    figures["auroc given"] = _auroc(looked, scores, looked.given & ~is_good)
    for name, rows in (("false alarms", is_good), *((f"noticed {kind}", looked.kinds == kind) for kind in ADVICE)):
        chosen = np.flatnonzero(rows)
        figures[name] = proportion(alarmed[chosen], [looked.groups[row] for row in chosen])
    return figures


def negatives_in(folder: Path) -> tuple[Negatives, Negatives]:
    """The pictures of a folder in two halves: to fit on, and to measure on. By kind: those in a sub-folder that is
    called like a kind of `ADVICE` ("blurred", "no skin" …) are of that kind, all others show no skin.

    Files with the same content come once. Raises `DataError` where there is no folder or no picture.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; --negatives expects one with pictures that are not good enough.")
    by_content: dict[str, tuple[str, Path]] = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file():
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            by_content.setdefault(digest, (_kind_of(file.relative_to(folder)), file))
    if not by_content:
        raise DataError(f"{folder} holds no pictures ({', '.join(IMAGE_SUFFIXES[:4])} … were expected).")
    halves: tuple[Negatives, Negatives] = ({}, {})
    for kind in ADVICE:
        files = [file for _, (found, file) in sorted(by_content.items()) if found == kind]
        for number, file in enumerate(files):
            halves[number % 2].setdefault(kind, []).append(file)
    return halves


def _kind_of(file: Path) -> str:
    names = [part.lower().replace("_", " ").replace("-", " ") for part in file.parts[:-1]]
    return next((kind for kind in ADVICE if kind in names), "no skin")


def _look_at(
    chat: Chat,
    good: Sequence[Picture],
    bad: Mapping[str, Sequence[Picture]],
    patients: Sequence[str] | None,
    seed: int,
    what: str,
) -> Looked:
    """At the good ones with their spoiled copies, as many pictures without skin, and the given ones."""
    if unknown := sorted(set(bad) - set(ADVICE)):
        raise DataError(f"Unknown kinds of bad pictures: {', '.join(unknown)}; known are {', '.join(ADVICE)}.")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(good))[:MOST_GOOD])
    given = [(kind, picture) for kind, pictures in bad.items() for picture in pictures]
    without_skin = max(len(chosen), FEWEST_GOOD)
    sources = _sources([good[row] for row in chosen], without_skin, given, seed)
    looked: tuple[list[str], list[bool], list[str], list[Evidence]] = ([], [], [], [])
    kinds, are_given, groups, evidence = looked
    waiting: list[Image] = []
    count = len(chosen) + without_skin + len(given)
    for number, pictures in zip(with_progress(range(count), what, count), sources, strict=True):
        patient = patients[chosen[number]] if patients is not None and number < len(chosen) else ""
        for kind, picture, is_given in pictures:
            kinds.append(kind)
            are_given.append(is_given)
            groups.append(patient or f"picture {number}")
            waiting.append(picture)
        if len(waiting) >= BATCH or number == count - 1:
            features = chat.encode_many(waiting)
            evidence += [evidence_of(*each) for each in zip(features, waiting, strict=True)]
            waiting.clear()
    return Looked(np.array(kinds), np.array(are_given, bool), groups, evidence)


def _sources(
    good: Sequence[Picture], without_skin: int, given: Sequence[tuple[str, Picture]], seed: int
) -> Iterator[list[tuple[str, Image, bool]]]:
    """For each photograph what is looked at: (kind, picture, whether it was given)."""
    rng = np.random.default_rng([seed, 0])
    for source in good:
        picture = _opened(source)
        spoiled = [(kind, spoil(picture, rng), False) for kind, spoil in SPOILERS.items()]
        yield [(GOOD, picture, True), *spoiled]
    for picture in pictures_without_skin(without_skin, seed):
        yield [("no skin", picture, False)]
    for kind, source in given:
        yield [(kind, _opened(source), True)]


def _opened(source: Picture) -> Image:
    from PIL import ImageOps

    picture, largest = open_image(source), (_LARGEST_PX, _LARGEST_PX)
    return ImageOps.contain(picture, largest) if max(picture.size) > _LARGEST_PX else picture


def _judgement(kind: str, looked: Looked) -> Judgement:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = np.flatnonzero(np.isin(looked.kinds, [*AGAINST[kind], kind]))
    inputs = np.stack([evidence_for(kind, looked.evidence[row]) for row in rows])
    inputs /= inputs.shape[1] ** 0.5  # one strength of regularisation for 3 inputs and for 768
    is_bad, is_good = looked.kinds[rows] == kind, looked.kinds[rows] == GOOD
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=5000))
    folds = GroupKFold(FOLDS)  # a photograph and its copies are in one fold
    groups = [looked.groups[row] for row in rows]
    held_out = cross_val_predict(model, inputs, is_bad, groups=groups, cv=folds, method="decision_function")
    line = max(np.quantile(held_out[is_bad], 1 - NOTICED), np.quantile(held_out[is_good], 1 - FALSE_ALARMS))
    model.fit(inputs, is_bad)
    scaled, regression = model[0], model[1]
    weight = regression.coef_[0] / scaled.scale_
    bias = float(regression.intercept_[0] - weight @ scaled.mean_ - line)
    return Judgement((weight / inputs.shape[1] ** 0.5).astype(np.float32), bias)


def _auroc(looked: Looked, scores: np.ndarray, is_bad: np.ndarray) -> Figure:
    """Of the score, between the good pictures and these."""
    rows = np.flatnonzero(is_bad | (looked.kinds == GOOD))
    ranking = Ranking(is_bad[rows, None], scores[rows, None])
    why = "there is no good picture" if is_bad.any() else "there is no bad picture of this kind"
    groups = [looked.groups[row] for row in rows]
    return measured(lambda drawn: float(ranking.auroc_and_precision(drawn)[0][0]), groups, len(rows), why)
