"""The report's files: `report.html`, plots as PNG and SVG, tables as LaTeX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skingpt4.data.card.parts import Card, Section, Table
from skingpt4.durable import write_whole
from skingpt4.evaluation.figures.paired import PairedTest
from skingpt4.evaluation.measure import Metrics
from skingpt4.evaluation.page import sections
from skingpt4.evaluation.page.drawing import Drawing, to_html, to_latex
from skingpt4.evaluation.page.words import SECTIONS
from skingpt4.vocabulary import NOT_A_DIAGNOSIS

PLOTS, TABLES = "plots", "tables"


def write_page(
    page: Path, metrics: Metrics, about: Mapping[str, Any], tests: Mapping[str, PairedTest] | None = None
) -> None:
    """Write the page, and beside it the folders `PLOTS` and `TABLES`. about: how it was made, as `metrics.json` has it.
    tests: against another evaluation, None without one.
    """
    found = [
        sections.first(metrics, about),
        sections.diagnoses(metrics),
        sections.concepts(metrics),
        sections.texts(metrics),
        sections.trust(metrics),
        sections.groups(metrics),
        sections.photo_check(metrics),
        sections.comparison(tests, str(about["compared_with"])) if tests else None,
        _made(about),
    ]
    card = Card(
        title=f"Evaluation on {Path(str(about['data'])).name}",
        subtitle=_subtitle(metrics, about),
        tiles=_tiles(metrics),
        sections=[each for each in found if each is not None],
        footer=f"{NOT_A_DIAGNOSIS} This page is one file and fetches nothing from elsewhere.",
    )
    for drawing in (block for each in card.sections for block in each.blocks):
        if isinstance(drawing, Drawing):
            drawing.save(page.parent / PLOTS)
    for name, table in _tables(metrics, tests).items():
        write_whole(page.parent / TABLES / f"{name}.tex", to_latex(table).encode())
    write_whole(page, to_html(card).encode())


def _subtitle(metrics: Metrics, about: Mapping[str, Any]) -> str:
    split = f"split {about['split']}" if about.get("split") else "all rows"
    patients = f", {metrics.patients:,} patients or lesions" if metrics.patients else ""
    return f"{split} · {metrics.cases:,} cases{patients} · {about['date']} · skingpt4 {about['version']}"


def _tiles(metrics: Metrics) -> list[tuple[str, str]]:
    """The few figures at the top, those that there are."""
    wanted = (
        ("diagnosis.disease_answered", "top_1", "diseases right, in the text"),
        ("diagnosis.disease_scored", "top_1", "diseases right, by score"),
        ("diagnosis.disease_scored", "top_3", "among the first three"),
        ("diagnosis.class_scored", "top_1", "classes right, by score"),
        ("concepts.scored", "macro_auroc", "concepts, macro-AUROC"),
        ("concepts.scored.all", "macro_auroc", "all concepts, macro-AUROC"),
        ("trust.disease", "ece", "calibration error"),
    )
    tiles = []
    for section, name, words in wanted:
        figure = metrics.figures.get(section, {}).get(name)
        level = section.split(".")[1].split("_")[0]
        commonest = metrics.others.get("commonest", {}).get(level)
        has_one = commonest is not None and commonest.value == 1  # nothing to be right about
        if figure is not None and figure.value is not None and not has_one:
            ends = "" if figure.low is None else f", {figure.low:.1%} to {figure.high:.1%}"
            tiles.append((f"{figure.value:.1%}", f"{words}{ends}"))
    return tiles


def _tables(metrics: Metrics, tests: Mapping[str, PairedTest] | None) -> dict[str, Table]:
    """File name -> table."""
    headline = [
        (SECTIONS.get(section, section.replace("_", " ")), *row[:4])
        for section, figures in metrics.figures.items()
        for row in sections.figures_table(figures).rows
    ]
    found = {"headline": Table(("", "figure", "value", "95 % interval", "n"), headline)}
    found |= {f"per_class_{name}": sections.per_class_table(each.per_class) for name, each in metrics.diagnosis.items()}
    found |= {f"concepts_{name}": sections.per_concept_table(each) for name, each in metrics.concepts.items()}
    for attribute, by_metric in metrics.groups.items():
        table = sections.groups_table(by_metric)
        found[f"groups_{attribute.replace(' ', '_')}"] = Table(table.header[:-1], [row[:-1] for row in table.rows])
    if tests:
        table = sections.comparison_table(tests)
        found["comparison"] = Table(table.header[:-1], [row[:-1] for row in table.rows])
    return found


def _made(about: Mapping[str, Any]) -> Section:
    """How to repeat it."""
    plain = [(name, str(value)) for name, value in about.items() if not isinstance(value, Mapping)]
    model = [(f"model.{name}", str(value)) for name, value in about.get("model", {}).items() if value != ""]
    return sections.section(
        "How it was made", "What a reader needs to repeat it.", [Table(("setting", "value"), [*plain, *model])]
    )
