"""A study's figures as tables: with full numbers for CSV and LaTeX, in words for the page."""

from __future__ import annotations

from collections.abc import Sequence

from skingpt4.data.card.parts import Table
from skingpt4.evaluation.figures.figure import Figure
from skingpt4.study.figures import Agreement, ItemFigure, Outcome, Times, topic_of
from skingpt4.study.items import LEVELS, agreeing


def level_table(rows: Sequence[ItemFigure], by_class: bool = False) -> Table:
    """Raw counts per level, n, and the share that agrees with its interval."""
    about = ("class",) if by_class else ()
    header = (*about, "item", "raters", "arm", *LEVELS, "n", "agree", "share", "low", "high")
    return Table(header, [
        (
            *((row.disease_class,) if by_class else ()), topic_of(row.item), row.group, row.arm, *map(str, row.counts),
            str(sum(row.counts)), str(agreeing(row.counts)), *_numbers(row.agree),
        )
        for row in rows
    ])  # fmt: skip


def counts_table(rows: Sequence[ItemFigure]) -> Table:
    """The same for people."""
    return Table(("item", *LEVELS, "n", "agree or strongly agree"), [
        (topic_of(row.item), *map(str, row.counts), str(sum(row.counts)), share(row)) for row in rows
    ])  # fmt: skip


def class_table(rows: Sequence[ItemFigure], title: str) -> Table:
    """One row per class, one column per item: how many agree of how many, with the interval."""
    items = list(dict.fromkeys(row.item for row in rows))
    by_class: dict[str, dict[str, ItemFigure]] = {}
    for row in rows:
        by_class.setdefault(row.disease_class, {})[row.item] = row
    cells = [(name, *(share(own[item]) for item in items)) for name, own in by_class.items()]
    return Table(("class", *map(topic_of, items)), cells, title)


def agreement_table(rows: Sequence[Agreement]) -> Table:
    """Krippendorff's alpha of every item."""
    header = ("item", "raters", "arm", "Krippendorff's alpha", "low", "high", "n texts", "note")
    return Table(header, [
        (topic_of(row.item), row.group, row.arm, *_numbers(row.alpha), str(row.alpha.n), row.alpha.note) for row in rows
    ])  # fmt: skip


def kappa_table(rows: Sequence[Agreement]) -> Table:
    """Weighted kappa of every pair of raters."""
    header = ("item", "raters", "arm", "pair", "weighted kappa", "low", "high", "n texts", "note")
    return Table(header, [
        (topic_of(row.item), row.group, row.arm, pair, *_numbers(kappa), str(kappa.n), kappa.note)
        for row in rows
        for pair, kappa in row.kappas.items()
    ])  # fmt: skip


def agreement_in_words(rows: Sequence[Agreement]) -> Table:
    """For the page: alpha, and the lowest and highest kappa of the pairs."""
    cells = []
    for row in rows:
        values = {pair: kappa.value for pair, kappa in row.kappas.items() if kappa.value is not None}
        low, high = (min(values, key=values.__getitem__), max(values, key=values.__getitem__)) if values else ("", "")
        pairs = f"{values[low]:.2f} ({low}) to {values[high]:.2f} ({high})" if len(values) > 1 else ""
        pairs = pairs or (f"{values[low]:.2f} ({low})" if values else "undefined")
        cells.append((topic_of(row.item), row.group, row.arm, str(row.alpha), pairs))
    header = ("item", "raters", "arm", "Krippendorff's alpha (ordinal)", "weighted kappa (quadratic) of two raters")
    return Table(header, cells)


def times_table(rows: Sequence[Times]) -> Table:
    """Seconds per arm and prompt."""
    header = ("arm", "prompt", "n", "median", "low", "high", "first quartile", "third quartile", "shortest", "longest")
    return Table(header, [
        (
            row.arm, row.prompt, str(len(row.seconds)), *_numbers(row.median, 3),
            *(f"{value:.3f}" for value in (*row.quartiles(), min(row.seconds), max(row.seconds))),
        )
        for row in rows
    ])  # fmt: skip


def outcome_table(rows: Sequence[Outcome]) -> Table:
    """Each question with its test."""
    return Table(("question", "test", "statistic", "p", "n", "note"), [
        (row.question, row.name, _number(row.statistic), _p(row.p), str(row.n), row.note) for row in rows
    ])  # fmt: skip


def share(row: ItemFigure) -> str:
    """Such as "8/10, 80% (49–94%)"."""
    agree = row.agree
    if agree.value is None or agree.low is None or agree.high is None:
        return "no rating"
    return f"{agreeing(row.counts)}/{agree.n}, {agree.value:.0%} ({agree.low:.0%}–{agree.high:.0%})"


def _numbers(figure: Figure, decimals: int = 4) -> tuple[str, str, str]:
    return _number(figure.value, decimals), _number(figure.low, decimals), _number(figure.high, decimals)


def _number(value: float | None, decimals: int = 4) -> str:
    return "" if value is None else f"{value:.{decimals}f}"


def _p(p: float | None) -> str:
    return "" if p is None else ("< 0.0001" if p < 0.0001 else f"{p:.4f}")
