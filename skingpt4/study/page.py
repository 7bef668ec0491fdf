"""The study's report as one page that needs nothing else, in the look of the data card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import skingpt4
from skingpt4.data.card.parts import Card, Note, Section, Table
from skingpt4.durable import write_whole
from skingpt4.evaluation.page.drawing import Drawing, to_html
from skingpt4.study.figures import StudyFigures, groups_of
from skingpt4.study.folder import Folder, Study
from skingpt4.study.items import ITEMS, LEVELS
from skingpt4.study.tables import agreement_in_words, class_table, outcome_table, times_table


def write_page(
    study: Study,
    figures: StudyFigures,
    items: Sequence[Drawing],
    times: Sequence[Drawing],
    first: Sequence[tuple[str, bool]],
    folder: Folder,
) -> Path:
    """Write `report.html`. first: what to know before reading, and whether it warns."""
    sections = [
        _section("What to know first", "", [Note(text, "warning" if warns else "plain") for text, warns in first]),
        _section(
            "Ratings",
            "How many ratings fell on each level of the scale, for each statement of the questionnaire; the numbers in "
            "the bars are counts. At the right: the share that agrees or strongly agrees, with Wilson's 95 % interval.",
            [*items, _items_table(study)],
        ),
        _section(
            "Ratings by class",
            "Agree and strongly agree of all ratings of the class, with Wilson's 95 % interval.",
            _class_tables(study, figures),
        ),
        _section(
            "Agreement between raters",
            "1: all raters say the same; 0: as much agreement as chance gives. Computed on the five levels, in order.",
            [agreement_in_words(figures.agreement)],
        ),
    ]
    if figures.arms:
        sentence = (
            "Item by item: the mean rating of each case in one arm against the other arm. The p-values are not "
            "corrected for the number of tests."
        )
        sections.append(_section("The arms compared", sentence, [outcome_table(figures.arms)]))
    if times:
        sentence = "How long each answer took, on the machine that made the study, with the tests' outcome."
        sections.append(
            _section("Response times", sentence, [*times, _times(figures), outcome_table(figures.time_tests)])
        )
    rows = [(name, str(count), str(figures.expected[name])) for name, count in figures.raters.items()]
    sections.append(
        _section("Raters", "Who judged how many texts.", [Table(("rater", "judged", "of"), rows)]),
    )
    card = Card(
        title=study.title,
        subtitle=f"Report of a clinical study · made {study.made_at[:10]} with skingpt4 {study.version} · {study.id}",
        tiles=[
            (f"{len(study.cases)}", "cases"),
            (f"{len(study.raters)}", "raters"),
            (f"{sum(figures.raters.values())} / {sum(figures.expected.values())}", "judgements collected"),
        ],
        sections=sections,
        footer=f"Written by skingpt4 {skingpt4.__version__}. This page is one file and fetches nothing from elsewhere.",
    )
    return write_whole(folder.report / "report.html", to_html(card).encode())


def _section(title: str, sentence: str, blocks: Sequence[Any]) -> Section:
    return Section(title, sentence, list(blocks))


def _items_table(study: Study) -> Table:
    groups = groups_of(study)
    rows = [(f"{item.number}", *(item.wording(group) or "not asked" for group in groups)) for item in ITEMS]
    scale = ", ".join(f"{number} {level.lower()}" for number, level in enumerate(LEVELS, 1))
    return Table(("no.", *(f"asked of {group} raters" for group in groups)), rows, f"The statements (scale: {scale})")


def _class_tables(study: Study, figures: StudyFigures) -> list[Table]:
    return [
        class_table(rows, f"Raters: {group}; texts: {arm}")
        for group in groups_of(study)
        for arm in study.arms
        if (rows := [each for each in figures.classes if (each.group, each.arm) == (group, arm)])
    ]


def _times(figures: StudyFigures) -> Table:
    full = times_table(figures.times)
    return Table(full.header, full.rows, "Seconds per prompt (low, high: 95 % interval of the median)")
