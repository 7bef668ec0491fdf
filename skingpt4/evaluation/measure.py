"""All figures of an evaluation: from what a model said and scored about the cases to numbers with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from skingpt4.evaluation.concept_cases import ANSWERED, SCORED, ConceptCases, concept_cases
from skingpt4.evaluation.figures.concepts import ConceptsFigures
from skingpt4.evaluation.figures.consistency import consistency_figures
from skingpt4.evaluation.figures.diagnosis import DiagnosisFigures
from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.figures.groups import UNKNOWN, GroupFigures
from skingpt4.evaluation.figures.intervals import proportion
from skingpt4.evaluation.figures.text import text_figures
from skingpt4.evaluation.group_figures import EXPECTED, group_figures, people_of, sections_of
from skingpt4.evaluation.levels import CLASS, DISEASE, Level, class_map, levels_of
from skingpt4.evaluation.predictions import Predictions
from skingpt4.evaluation.trust import Trust, trust_of
from skingpt4.vocabulary import CONCEPT_ANSWER

FORMAT = 1  # of `metrics.json`

Show = Callable[[Sequence[str]], Iterable[str]]


@dataclass
class Metrics:
    """What was measured. cases, patients: how many (patients: 0 where no case has a group).

    diagnosis: by "disease_scored", "disease_answered", "class_scored", "class_answered". concepts: by "scored",
    "answered". trust: by "disease", "class". groups: by "skin type", "sex", "age", "site", then by "SECTION.METRIC".
    others: figures by section: "text_diagnosis", "text_concepts", "consistency", "photo_check", "commonest" (the
    accuracy of always giving the commonest diagnosis). What the data cannot tell is absent, with a remark that says so.
    """

    cases: int
    patients: int
    diagnosis: dict[str, DiagnosisFigures] = field(default_factory=dict)
    concepts: dict[str, ConceptsFigures] = field(default_factory=dict)
    trust: dict[str, Trust] = field(default_factory=dict)
    groups: dict[str, dict[str, GroupFigures]] = field(default_factory=dict)
    others: dict[str, dict[str, Figure]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def figures(self) -> dict[str, dict[str, Figure]]:
        """The headline figures by section and name."""
        found = {f"diagnosis.{name}": figures.headline for name, figures in self.diagnosis.items()}
        for name, concepts in self.concepts.items():
            found |= {f"concepts.{name}": concepts.headline, f"concepts.{name}.all": concepts.appendix}
        found |= {f"trust.{name}": trust.figures for name, trust in self.trust.items()}
        return found | self.others

    def to_dict(self) -> dict[str, Any]:
        """The content of `metrics.json`. Keys are only ever added while `format` stays the same.

        figures: section -> name -> {value, n, low, high, note}; a value of null is undefined and its note says why;
        low and high are the ends of the 95 % interval. per_class, confusion (rows = truth), per_concept, trust (the
        numbers of the plots), groups: attribute -> "section.name" -> {values: group -> figure, worst, best, gap,
        left_out}.
        """
        figures = {
            section: {name: figure.to_dict() for name, figure in found.items()}
            for section, found in self.figures.items()
        }
        diagnosis = {name: found.to_dict() for name, found in self.diagnosis.items()}
        return {
            "format": FORMAT,
            "cases": self.cases,
            "patients": self.patients,
            "remarks": self.remarks,
            "figures": figures,
            "per_class": {name: found["per_class"] for name, found in diagnosis.items()},
            "confusion": {name: found["confusion"] for name, found in diagnosis.items()},
            "per_concept": {name: found.to_dict()["per_concept"] for name, found in self.concepts.items()},
            "trust": {name: trust.to_dict() for name, trust in self.trust.items()},
            "groups": {
                attribute: {name: found.to_dict() for name, found in by_metric.items()}
                for attribute, by_metric in self.groups.items()
            },
        }


def measure(
    test: Predictions,
    validation: Predictions | None = None,
    concept_images: Sequence[int] | None = None,
    bertscore_model: Path | None = None,
    seed: int = 0,
    show: Show = iter,
) -> Metrics:
    """Every figure that the cases allow. validation: other cases, for what is fitted: the temperature and thresholds.

    concept_images: int[48], how many images of the whole data show each concept (None = of these cases); it decides
    which concepts the headline counts. seed: of the bootstrap. show: wraps the names of the stages, e.g. with a bar.
    """
    found = Metrics(len(test), len({name for name in test.group if name}))
    class_of = class_map(test, *([validation] if validation else []))
    levels = levels_of(test, class_of)
    fits = levels_of(validation, class_of) if validation else {}
    concepts = concept_cases(test, validation, concept_images)
    found.remarks += _remarks(found, test, levels, concepts)
    stages: dict[str, Callable[[], None]] = {
        "diagnoses": lambda: _diagnoses(found, levels, seed),
        "concepts": lambda: _concepts(found, concepts, seed),
        "texts": lambda: _texts(found, test, bertscore_model, seed),
        "trust": lambda: _trust(found, test, levels, fits, seed),
        "groups": lambda: _groups(found, test, levels, concepts, seed),
    }
    for stage in show(list(stages)):
        stages[stage]()
    return found


def _remarks(
    found: Metrics, test: Predictions, levels: Mapping[str, Level], concepts: Mapping[str, ConceptCases]
) -> Iterator[str]:
    """What cannot be measured, and why."""
    if not found.patients:
        yield "No case names its patient or lesion: the intervals take every photograph for a patient of its own."
    if DISEASE not in levels:
        yield "No case names a disease: diseases are not measured."
    if CLASS not in levels:
        yield "No case has one of the 15 classes of diagnoses: classes are not measured."
    if not concepts:
        yield "No case has clinical concepts: concepts are not measured."
    if not any(test.reference):
        yield "No case has a reference answer: texts are not compared with one."


def _diagnoses(found: Metrics, levels: Mapping[str, Level], seed: int) -> None:
    for name, level in levels.items():
        for kind, diagnoses in ((SCORED, level.scored), (ANSWERED, level.answered)):
            if diagnoses is not None:
                found.diagnosis[f"{name}_{kind}"] = diagnoses.figures(level.groups, seed)
        commonest = int(np.bincount(level.truth).argmax())
        share = proportion(level.truth == commonest, level.groups, seed)
        note = "; ".join(filter(None, [level.names[commonest], share.note]))
        found.others.setdefault("commonest", {})[name] = replace(share, note=note)


def _concepts(found: Metrics, concepts: Mapping[str, ConceptCases], seed: int) -> None:
    for name, each in concepts.items():
        found.concepts[name] = each.concepts.figures(each.groups, seed)


def _texts(found: Metrics, test: Predictions, bertscore_model: Path | None, seed: int) -> None:
    found.others["text_diagnosis"] = text_figures(
        test.diagnosis_answer, test.reference, test.group, bertscore_model, seed
    )
    if any(test.concept_answer):
        references = [CONCEPT_ANSWER.format(concepts=", ".join(each)) if each else None for each in test.concepts]
        found.others["text_concepts"] = text_figures(test.concept_answer, references, test.group, bertscore_model, seed)


def _trust(
    found: Metrics, test: Predictions, levels: Mapping[str, Level], fits: Mapping[str, Level], seed: int
) -> None:
    for name, level in levels.items():
        if level.scored is not None:
            found.trust[name] = trust_of(level, fits.get(name), seed)
    asked = [row for row, named in enumerate(test.repeats) if named is not None and len(named) > 1]
    looked = [row for row, score in enumerate(test.photo_score) if score is not None]
    if looked:
        warned = [(test.photo_score[row] or 0.0) > 0.5 for row in looked]
        share = proportion(warned, [test.group[row] for row in looked], seed)
        found.others.setdefault("photo_check", {})["cases to take again"] = share
    if asked:
        repeats = [test.repeats[row] or () for row in asked]
        found.others["consistency"] = consistency_figures(repeats, [test.group[row] for row in asked], seed)


def _groups(
    found: Metrics, test: Predictions, levels: Mapping[str, Level], concepts: Mapping[str, ConceptCases], seed: int
) -> None:
    temperatures = {name: trust.figures["temperature"].value or 1.0 for name, trust in found.trust.items()}
    sections = sections_of(test, levels, concepts, temperatures)
    for attribute, members in people_of(test).items():
        if set(members) <= {UNKNOWN}:
            found.remarks.append(f"The {attribute} is not noted for any case: there are no figures by {attribute}.")
        else:
            found.groups[attribute] = group_figures(test, sections, members, EXPECTED[attribute], seed)
