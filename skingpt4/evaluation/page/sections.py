"""The sections of the report: each a sentence for people, tables and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skingpt4.data.card.parts import Note, Section, Table
from skingpt4.evaluation.figures.concepts import ConceptsFigures
from skingpt4.evaluation.figures.diagnosis import ClassFigures
from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.figures.groups import GroupFigures
from skingpt4.evaluation.figures.paired import PairedTest
from skingpt4.evaluation.measure import Metrics
from skingpt4.evaluation.page import plots
from skingpt4.evaluation.page.drawing import Drawing
from skingpt4.evaluation.page.words import SECTIONS, full_title, interval, shown, title_of
from skingpt4.evaluation.trust import NOT_FITTED

FIGURES = ("", "value", "95 % interval", "n", "note")
_MOST_ROWS_DRAWN = 48
_FIRST = (
    "diagnosis.disease_scored.top_1", "diagnosis.disease_answered.top_1", "diagnosis.class_scored.top_1",
    "concepts.scored.macro_auroc", "trust.disease.ece",
)  # fmt: skip  # drawn by group of people; the table has all


def section(title: str, sentence: str, blocks: Sequence[Any]) -> Section:
    """A section of the card whose blocks may be drawings."""
    return Section(title, sentence, list(blocks))


def figures_table(figures: Mapping[str, Figure], title: str = "") -> Table:
    """One row per figure, in words."""
    rows = [
        (title_of(name), shown(figure), interval(figure), f"{figure.n:,}", figure.note)
        for name, figure in figures.items()
    ]
    return Table(FIGURES, rows, title)


def diagnoses(metrics: Metrics) -> Section | None:
    """Diseases and classes, by score and in the text."""
    blocks: list[Any] = []
    for name, found in metrics.diagnosis.items():
        words = SECTIONS[f"diagnosis.{name}"].capitalize()
        level = name.split("_")[0]
        rows = {**found.headline}
        if name.endswith("answered"):
            rows["always the commonest diagnosis"] = metrics.others["commonest"][level]
        blocks.append(figures_table(rows, words))
        names = [each.name for each in found.per_class if each.n]
        kept = [index for index, each in enumerate(found.per_class) if each.n]
        blocks.append(plots.confusion(f"confusion_{name}", f"{words}: who is taken for whom", names, found.columns,
                                      found.confusion[kept]))  # fmt: skip
        blocks.append(_per_class(name, words, found.per_class))
    if not blocks:
        return None
    sentence = (
        "By score: every diagnosis of the closed list is scored by how likely the model finds it as its answer. In the "
        "text: what the written answer names; none or several count as wrong."
    )
    return section("Diagnoses", sentence, blocks)


def _per_class(name: str, words: str, found: Sequence[ClassFigures]) -> Drawing:
    """The most frequent ones are drawn."""
    known = sorted((each for each in found if each.n), key=lambda each: -each.n)[:_MOST_ROWS_DRAWN]
    rows = [(each.name, (each.recall, each.precision)) for each in known]
    return plots.dots(f"per_class_{name}", f"{words}: each diagnosis", rows, ("recall (sensitivity)", "precision"))


def per_class_table(found: Sequence[ClassFigures]) -> Table:
    """Everything of each diagnosis, for a paper's appendix."""
    header = ("diagnosis", "n", "precision", "recall", "specificity", "F1", "AUROC")
    kinds = ("precision", "recall", "specificity", "f1", "auroc")
    rows = [(each.name, f"{each.n}", *(_with_interval(getattr(each, kind)) for kind in kinds)) for each in found]
    return Table(header, rows)


def concepts(metrics: Metrics) -> Section | None:
    """The headline over the frequent ones, and each of the 48."""
    blocks: list[Any] = []
    for name, found in metrics.concepts.items():
        words = SECTIONS[f"concepts.{name}"].capitalize()
        blocks.append(figures_table(found.headline, f"{words}: those with at least 50 images"))
        blocks.append(figures_table(found.appendix, f"{words}: appendix, all 48"))
        kind = "auroc" if name == "scored" else "f1"
        known = sorted((each for each in found.per_concept if each.n), key=lambda each: -each.images)
        rows = [(each.name, (getattr(each, kind),)) for each in known]
        chance = 0.5 if kind == "auroc" else None
        note = "In brackets: cases. The most frequent first; the dashed line is chance." if chance else ""
        blocks.append(
            plots.dots(f"concepts_{name}", f"{words}: {title_of(kind)}", rows, (title_of(kind),), note, chance)
        )
    if not blocks:
        return None
    sentence = (
        "SKINCON's 48 clinical concepts. By score: how much likelier the model finds each concept for the photograph "
        "than without one. In the text: those that the written answer lists."
    )
    return section("Clinical concepts", sentence, blocks)


def per_concept_table(found: ConceptsFigures) -> Table:
    """Everything of each concept, for a paper's appendix."""
    kinds = ("auroc", "average_precision", "f1")
    rows = [
        (each.name, f"{each.n}", f"{each.images}", *(_with_interval(getattr(each, kind)) for kind in kinds))
        for each in found.per_concept
    ]
    return Table(("concept", "n", "images", "AUROC", "average precision", "F1"), rows)


def texts(metrics: Metrics) -> Section:
    """How the answers read."""
    blocks = [
        figures_table(metrics.others[name], SECTIONS[name].capitalize())
        for name in ("text_diagnosis", "text_concepts")
        if name in metrics.others
    ]
    sentence = "The written answers beside the data's own. These figures say how alike the words are, not who is right."
    return section("Text", sentence, blocks)


def trust(metrics: Metrics) -> Section | None:
    """Calibration, abstention, sets, consistency."""
    blocks: list[Any] = []
    for name, found in metrics.trust.items():
        measured = {each: figure for each, figure in found.figures.items() if figure.note != NOT_FITTED}
        blocks.append(figures_table(measured, SECTIONS[f"trust.{name}"].capitalize()))
        if len(measured) < len(found.figures):
            blocks.append(Note(f"Temperature, abstention and sets of diagnoses are undefined: {NOT_FITTED}."))
        stages = {"raw": "as the model says", "fitted": "after temperature"}
        for stage, bins in found.reliability.items():
            ece = found.figures["ece" if stage == "raw" else "ece_fitted"]
            title = f"Reliability, {name}, {stages[stage]}"
            blocks.append(plots.reliability(f"reliability_{name}_{stage}", title, bins, ece))
        accuracy = found.figures["accuracy"].value
        title = f"Risk and coverage, {name}"
        blocks.append(plots.risk_coverage(f"risk_coverage_{name}", title, found.curve, 1 - (accuracy or 0.0)))
        if found.conformal:
            rows = [(each, (figure,)) for each, figure in found.conformal.per_class.items() if figure.n]
            title = f"Sets of diagnoses, {name}: coverage of each"
            note = "The share of sets that hold the true diagnosis. The promise (dashed) is an average over all cases."
            blocks.append(plots.dots(f"sets_{name}", title, rows, ("coverage",), note, 0.9))
    if "consistency" in metrics.others:
        blocks.append(figures_table(metrics.others["consistency"], "Consistency: the same question asked again"))
    if not blocks:
        return None
    sentence = "Whether the model's probabilities mean what they say, and what it gains by keeping silent when unsure."
    return section("Trust", sentence, blocks)


def groups(metrics: Metrics) -> Section | None:
    """Every metric by skin type, sex, age and site."""
    blocks: list[Any] = []
    for attribute, found in metrics.groups.items():
        file = attribute.replace(" ", "_")
        for name in _FIRST:
            if name in found:
                rows = [(group, (figure,)) for group, figure in found[name].values.items() if figure.n]
                title = f"{attribute.capitalize()}: {full_title(name)}"
                blocks.append(
                    plots.dots(f"{file}_{name.replace('.', '_')}", title, rows, (title_of(name.split(".")[-1]),))
                )
        blocks.append(groups_table(found, f"{attribute.capitalize()}: worst group and gap"))
    if not blocks:
        return None
    sentence = (
        "Whether the model is as good for everyone. The gap is the distance of the best and the worst group; even "
        "groups that are alike show one by luck, so the table says how often luck alone gives as large a one."
    )
    return section("Groups of people", sentence, blocks)


def groups_table(found: Mapping[str, GroupFigures], title: str = "") -> Table:
    """Worst group, gap and its interval, of every metric."""
    rows = [
        (full_title(name), *_group(each, each.worst), *_group(each, each.best),
         shown(each.gap), interval(each.gap), f"{each.gap.n}",
         "–" if each.chance is None else f"{each.chance:.3f}", each.gap.note)
        for name, each in found.items()
    ]  # fmt: skip
    header = ("", "worst", "its value", "best", "its value", "gap", "95 % interval", "n", "p of a gap by luck", "note")
    return Table(header, rows, title)


def comparison(tests: Mapping[str, PairedTest], other: str) -> Section:
    """Paired tests of two evaluations."""
    sentence = f"This evaluation less {other}, over the same cases. The p-values are not corrected for their number."
    return section("Comparison", sentence, [comparison_table(tests)])


def comparison_table(tests: Mapping[str, PairedTest]) -> Table:
    """One row per metric."""
    rows = [
        (full_title(name), each.test, shown(each.difference), interval(each.difference), f"{each.difference.n}",
         "–" if each.p_value is None else f"{each.p_value:.4f}", each.difference.note)
        for name, each in tests.items()
    ]  # fmt: skip
    header = ("", "test", "difference", "95 % interval", "n", "p", "note")
    return Table(header, rows)


def first(metrics: Metrics, about: Mapping[str, Any]) -> Section:
    """What to know before reading on."""
    lines = [Note(text, "warning") for text in metrics.remarks]
    how = Note(
        "Intervals are 95 % and come from resampling whole patients or lesions (bootstrap) unless a note says "
        "otherwise. A dash is an undefined figure; its note says why."
    )
    fitted = about.get("fitted_on")
    text = f"Temperature and thresholds were fitted on the split {fitted}." if fitted else "Nothing was fitted."
    return section("What to know first", "", [*lines, how, Note(text)])


def photo_check(metrics: Metrics) -> Section | None:
    """How well pictures that are no photograph to judge by are found."""
    found = metrics.others.get("photo_check")
    if not found:
        return None
    sentence = (
        "Pictures that show no skin, are blurred, dark or taken from too far away: does the model's check find them?"
    )
    return section("Photo check", sentence, [figures_table(found)])


def _with_interval(figure: Figure) -> str:
    ends = interval(figure)
    return f"{shown(figure)} ({ends})" if ends else shown(figure)


def _group(found: GroupFigures, name: str) -> tuple[str, str]:
    """A group's name and value; no name where none is worse than another."""
    return (name if found.gap.value else "all alike", shown(found.values[name])) if name else ("–", "–")
