"""`study report`: the figures as one page, as pictures, and as tables for papers (CSV, LaTeX)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from skingpt4.data.card.parts import Table
from skingpt4.data.rows import read_rows
from skingpt4.durable import write_whole
from skingpt4.evaluation.page.drawing import Drawing, to_latex
from skingpt4.study.asking import read_answers
from skingpt4.study.collect import Rating, csv_bytes, read_ratings
from skingpt4.study.figures import TOTAL, ItemFigure, StudyFigures, groups_of, study_figures
from skingpt4.study.folder import Folder, Study
from skingpt4.study.items import LAY
from skingpt4.study.page import write_page
from skingpt4.study.plots import stacked_bars, time_boxes
from skingpt4.study.tables import (
    agreement_table,
    counts_table,
    kappa_table,
    level_table,
    outcome_table,
    times_table,
)


def write_report(out: Path) -> tuple[StudyFigures, Path]:
    """Count, test, draw and write everything into `report/`. Returns the figures and the page.

    Raises `StudyError` where the study or its ratings are missing.
    """
    folder = Folder(out)
    study, ratings = folder.read(), read_ratings(folder)
    figures = study_figures(study, ratings, read_answers(folder.answers))
    write_whole(folder.report / "figures.json", (json.dumps(figures.to_dict(), indent=1) + "\n").encode())
    for name, table in tables_of(figures).items():
        write_whole(folder.report / f"{name}.csv", csv_bytes([table.header, *table.rows]))
        write_whole(folder.report / f"{name}.tex", to_latex(table, numbers_from=len(table.header)).encode())
    items = [
        Drawing(name, title, stacked_bars(rows), counts_table(rows), wide=True)
        for name, title, rows in _bars(study, figures)
    ]
    times = [_drawn_times(study, figures)] if figures.times else []
    for drawing in [*items, *times]:
        drawing.save(folder.report)
    page = write_page(study, figures, items, times, _first(study, ratings, figures, folder), folder)
    return figures, page


def tables_of(figures: StudyFigures) -> dict[str, Table]:
    """Every table with full numbers, by the name of its file."""
    return {
        "items": level_table(figures.items),
        "classes": level_table(figures.classes, by_class=True),
        "agreement": agreement_table(figures.agreement),
        "kappas": kappa_table(figures.agreement),
        "times": times_table(figures.times),
        "tests": outcome_table([*figures.arms, *figures.time_tests]),
    }


def _bars(study: Study, figures: StudyFigures) -> Iterator[tuple[str, str, list[ItemFigure]]]:
    """(file's name, title, rows) of each picture of stacked bars: one per group of raters and arm."""
    for group in groups_of(study):
        for arm in study.arms:
            rows = [each for each in figures.items if (each.group, each.arm) == (group, arm)]
            title = "Ratings by lay users" if group == LAY else f"Ratings by {group}s"
            named = f"{title} of the texts of “{arm}”" if len(study.arms) > 1 else title
            yield f"items_{group}" + (f"_{_safe(arm)}" if len(study.arms) > 1 else ""), named, rows


def _drawn_times(study: Study, figures: StudyFigures) -> Drawing:
    seconds: dict[str, dict[str, list[float]]] = {}
    for each in figures.times:
        if each.prompt == TOTAL and len(each.seconds) == len(study.cases):
            for case, value in zip(study.cases, each.seconds, strict=True):
                seconds.setdefault(case.disease_class or "unknown class", {}).setdefault(each.arm, []).append(value)
        elif each.prompt == TOTAL:  # of some cases only: not known of which class
            seconds.setdefault("all cases", {})[each.arm] = list(each.seconds)
    picture = time_boxes(dict(sorted(seconds.items())))
    return Drawing("times", "Response times", picture, times_table(figures.times), wide=True)


def _first(study: Study, ratings: Sequence[Rating], figures: StudyFigures, folder: Folder) -> list[tuple[str, bool]]:
    """(sentence, whether it warns) of what to know before reading the figures."""
    judged, expected = sum(figures.raters.values()), sum(figures.expected.values())
    arms = f" in {len(study.arms)} arms ({', '.join(study.arms)})" if len(study.arms) > 1 else ""
    notes = [
        (f"{len(study.cases)} cases, {len(study.texts)} texts{arms}, {len(study.raters)} raters; {judged} of "
         f"{expected} judgements were collected.", judged < expected),
    ]  # fmt: skip
    silent = [rater for rater, count in figures.raters.items() if not count]
    if silent:
        notes.append((f"No ratings were collected of {', '.join(silent)}.", True))
    if study.short:
        notes.append((f"The data did not give what the design asked for: {'; '.join(study.short)}.", True))
    notes += [(remark, True) for remark in study.remarks]
    problems = _problems(folder)
    if problems:
        listed = ", ".join(f"{kind} ({count})" for kind, count in problems.items())
        notes.append((f"Collecting found problems, listed in leader/problems.csv: {listed}.", True))
    text = "Every share stands beside its raw counts and n. The Wilson intervals take ratings for independent"
    if len({rating.code for rating in ratings}) < len(ratings):
        text += "; several raters judged the same texts, so the true uncertainty is larger"
    notes.append((f"{text}.", False))
    notes.append(("Intervals of agreement and of times: percentile bootstrap over patients (without: cases).", False))
    return notes


def _problems(folder: Folder) -> Mapping[str, int]:
    if not folder.problems.is_file() or folder.problems.read_text(encoding="utf-8-sig").count("\n") < 2:
        return {}
    return Counter(values["kind"] for _, values in read_rows(folder.problems).rows)


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)
