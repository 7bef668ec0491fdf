"""The plots of an evaluation: confusion, calibration, risk and coverage, dots with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from skingpt4.data.card.parts import Table
from skingpt4.evaluation.figures.calibration import ReliabilityBin
from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.figures.selection import RiskCoverage
from skingpt4.evaluation.page.drawing import ACCENT, FAINT, INK, MUTED, OTHER, TEXT_PX, Drawing, new_picture
from skingpt4.evaluation.page.words import interval, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH_PX, _WIDE_PX = 500, 1040
_ROW_PX = 25
_LONGEST_LABEL = 34  # letters; the table has the whole name
_MOST_CELLS_WITH_NUMBERS = 20
_CURVE_ROWS = 11  # of the table beside a curve


def confusion(name: str, title: str, rows: Sequence[str], columns: Sequence[str], counts: np.ndarray) -> Drawing:
    """Rows = the true diagnosis, columns = the one given. counts: int[R, C]. The colour is the share of the row."""
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle

    cell = min(34.0, 760 / len(columns))
    picture, axes = new_picture(cell * len(columns) + 270, cell * len(rows) + 250)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    down, right = np.nonzero(counts)
    patches = [Rectangle((x, y), 1, 1) for y, x in zip(down.tolist(), right.tolist(), strict=True)]
    colours = [(*to_rgb(ACCENT), 0.12 + 0.88 * float(share)) for share in shares[down, right]]
    axes.add_collection(PatchCollection(patches, facecolors=colours, linewidths=0))
    axes.hlines(np.arange(len(rows) + 1), 0, len(columns), color=FAINT, linewidth=0.5)
    axes.vlines(np.arange(len(columns) + 1), 0, len(rows), color=FAINT, linewidth=0.5)
    if len(columns) <= _MOST_CELLS_WITH_NUMBERS:
        for y, x in zip(down, right, strict=True):
            axes.text(x + 0.5, y + 0.5, f"{counts[y, x]}", ha="center", va="center", color=INK, fontsize=TEXT_PX - 1)
    size = min(TEXT_PX, cell * 0.86)
    axes.set_yticks(np.arange(len(rows)) + 0.5, [short(each) for each in rows], fontsize=size)
    axes.set_xticks(np.arange(len(columns)) + 0.5, [short(each) for each in columns], rotation=90, fontsize=size)
    axes.xaxis.tick_top()
    axes.set_aspect("equal")
    axes.set_xlim(0, len(columns))
    axes.set_ylim(len(rows), 0)
    cells = [(each, *(f"{count}" for count in row)) for each, row in zip(rows, counts, strict=True)]
    note = "Read it row by row: of the cases with the diagnosis on the left, how many were given the one above."
    return Drawing(name, title, picture, Table(("true \\ given", *columns), cells), note, wide=True)


def reliability(name: str, title: str, bins: Sequence[ReliabilityBin], ece: Figure) -> Drawing:
    """How often the first diagnosis is right, by its probability; the area of a point is the bin's number of cases."""
    picture, axes = new_picture(_WIDTH_PX, 400)
    axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1.2, label="well calibrated")
    filled = [each for each in bins if each.n]
    most = max((each.n for each in filled), default=1)
    for each in filled:
        x, y = each.confidence.value or 0.0, each.accuracy.value or 0.0
        if each.accuracy.low is not None and each.accuracy.high is not None:
            axes.plot([x, x], [each.accuracy.low, each.accuracy.high], color=ACCENT, linewidth=1.4)
        axes.plot(x, y, "o", color=ACCENT, markersize=4 + 9 * (each.n / most) ** 0.5)
    _unit_square(axes, "probability of the first diagnosis", "share that is right")
    rows = [
        (f"{each.low:.2f}–{each.high:.2f}", f"{each.n}", shown(each.confidence), shown(each.accuracy),
         interval(each.accuracy))
        for each in bins
    ]  # fmt: skip
    note = f"Points below the line: too sure. Expected calibration error {shown(ece)}; bars: 95 % intervals."
    header = ("probability", "cases", "mean probability", "right", "95 % interval")
    return Drawing(name, title, picture, Table(header, rows), note)


def risk_coverage(name: str, title: str, curve: RiskCoverage, error: float) -> Drawing:
    """The share of wrong answers among the surest cases. error: of all cases."""
    picture, axes = new_picture(_WIDTH_PX, 400)
    axes.plot([0, 1], [error, error], "--", color=MUTED, linewidth=1.2)
    axes.plot(curve.coverage, curve.risk, color=ACCENT, linewidth=2, drawstyle="steps-post")
    _unit_square(axes, "coverage: share of cases answered", "risk: share of these that is wrong")
    axes.set_ylim(0, min(1.0, 1.15 * max(float(curve.risk.max(initial=0)), error, 0.05)))
    chosen = np.unique(np.linspace(0, max(0, len(curve.risk) - 1), _CURVE_ROWS).round().astype(int))[: len(curve.risk)]
    rows = [(f"{curve.coverage[i]:.1%}", f"{curve.risk[i]:.1%}", f"{curve.thresholds[i]:.3f}") for i in chosen]
    note = "Sorted by how sure the model is. A useful confidence stays below the dashed line, the error over all cases."
    return Drawing(name, title, picture, Table(("coverage", "risk", "probability of at least"), rows), note)


def dots(
    name: str, title: str, rows: Sequence[tuple[str, Sequence[Figure]]], series: Sequence[str], note: str = "",
    reference: float | None = None,
) -> Drawing:  # fmt: skip
    """One row per name with a dot and its 95 % interval for each of (at most two) series. reference: a dashed line."""
    picture, axes = new_picture(_WIDTH_PX, 74 + _ROW_PX * max(1, len(rows)))
    figures = [figure for _, each in rows for figure in each]
    for index, (colour, label) in enumerate(zip((ACCENT, OTHER), series, strict=False)):
        shift = 0.22 * (index - (len(series) - 1) / 2)
        for place, (_, each) in enumerate(rows):
            _dot(axes, place + shift, each[index], colour, "o" if index == 0 else "D")
        axes.plot([], [], "o" if index == 0 else "D", color=colour, label=label)
    if reference is not None:
        axes.axvline(reference, linestyle="--", color=MUTED, linewidth=1.2)
    axes.set_yticks(range(len(rows)), [f"{short(label)} ({each[0].n})" for label, each in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    ends = [end for figure in figures for end in (figure.low, figure.high, figure.value) if end is not None]
    axes.set_xlim(min(0.0, *ends, 0.0) - 0.02, max(1.0, *ends, 1.0) * 1.02)
    axes.tick_params(axis="x", labelcolor=INK)
    axes.grid(axis="x", color=FAINT, linewidth=0.7)
    if len(series) > 1:
        picture.legend(loc="outside upper left", ncols=2, frameon=False, labelcolor=INK, fontsize=TEXT_PX)
    cells = [
        (label, *(cell for figure in each for cell in (shown(figure), interval(figure), f"{figure.n}")))
        for label, each in rows
    ]
    header = ("", *(cell for label in series for cell in (label, "95 % interval", "n")))
    return Drawing(name, title, picture, Table(header, cells), note)


def short(label: str) -> str:
    """A label that leaves room for the plot."""
    return label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1].rstrip() + "…"


def _dot(axes: Axes, place: float, figure: Figure, colour: str, marker: str) -> None:
    if figure.value is None:
        return
    if figure.low is not None and figure.high is not None:
        axes.plot([figure.low, figure.high], [place, place], color=colour, linewidth=1.6)
    axes.plot(figure.value, place, marker, color=colour, markersize=6)


def _unit_square(axes: Axes, x: str, y: str) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.tick_params(labelcolor=INK)
    axes.grid(color=FAINT, linewidth=0.7)
