"""The study's pictures: stacked bars per item (the paper's Figure 4a) and response times (Figure 4b)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from skingpt4.evaluation.page.drawing import ACCENT, FAINT, INK, MUTED, OTHER, TEXT_PX, new_picture
from skingpt4.study.figures import ItemFigure, topic_of
from skingpt4.study.items import LEVELS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH_PX, _ROW_PX = 1040, 34
_ON = "#fffffe"  # words on a strong colour
# Per level: colour and strength. Teal and orange are told apart by the colour-blind too.
_LEVEL_LOOKS = ((OTHER, 1.0), (OTHER, 0.45), (MUTED, 0.55), (ACCENT, 0.45), (ACCENT, 1.0))
_ARM_LOOKS = ((ACCENT, 0.75), (OTHER, 0.75), (MUTED, 0.9))
_DIGIT = 0.014  # of a bar: a part that is narrower than its count stays without


def stacked_bars(rows: Sequence[ItemFigure]) -> Figure:
    """One bar per item: the share of each level with its count inside; at the right, how many agree."""
    figure, axes = new_picture(_WIDTH_PX, 84 + _ROW_PX * len(rows))
    counts = np.array([row.counts for row in rows])
    totals = np.maximum(1, counts.sum(axis=1))
    for level, (colour, strength) in enumerate(_LEVEL_LOOKS):
        left, width = counts[:, :level].sum(axis=1) / totals, counts[:, level] / totals
        axes.barh(range(len(rows)), width, left=left, height=0.72, color=colour, alpha=strength, label=LEVELS[level])
        for place, count in enumerate(counts[:, level]):
            if width[place] > _DIGIT * len(str(count)):
                ink = _ON if strength == 1 else INK
                middle = left[place] + width[place] / 2
                axes.text(middle, place, f"{count}", ha="center", va="center", color=ink, fontsize=TEXT_PX)
    for place, row in enumerate(rows):
        agree = row.agree
        interval = "" if agree.low is None else f" ({agree.low:.0%}–{agree.high:.0%})"
        text = "no rating" if agree.value is None else f"{agree.value:.0%}{interval}, n {agree.n}"
        axes.text(1.015, place, text, va="center", color=INK, fontsize=TEXT_PX)
    title = "agree (95 % interval)"
    axes.text(1.015, -0.75, title, va="center", color=INK, fontweight="bold", fontsize=TEXT_PX)
    axes.set_yticks(range(len(rows)), [topic_of(row.item) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -1.1)
    axes.set_xlim(0, 1.36)
    axes.set_xticks([])
    _legend(figure, len(LEVELS))
    return figure


def time_boxes(seconds: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Boxes of the quartiles with every case as a point. seconds: row's label -> arm -> seconds of its cases."""
    arms = list(dict.fromkeys(arm for by_arm in seconds.values() for arm in by_arm))
    figure, axes = new_picture(_WIDTH_PX, 92 + (12 + 22 * len(arms)) * len(seconds))
    height = 0.72 / len(arms)
    draw = np.random.default_rng(0)
    for index, arm in enumerate(arms):
        colour, strength = _ARM_LOOKS[index % len(_ARM_LOOKS)]
        for place, by_arm in enumerate(seconds.values()):
            values = by_arm.get(arm, ())
            if not len(values):
                continue
            where = place + height * (index - (len(arms) - 1) / 2)
            low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
            axes.barh(where, high - low, left=low, height=height * 0.86, color=colour, alpha=strength * 0.5)
            axes.plot([median, median], [where - height * 0.43, where + height * 0.43], color=INK, linewidth=2)
            spread = where + draw.uniform(-0.3, 0.3, len(values)) * height
            axes.plot(values, spread, "o", color=colour, markersize=3.5, alpha=0.9)
        axes.plot([], [], "s", color=colour, alpha=strength, label=arm)
    axes.set_yticks(range(len(seconds)), list(seconds))
    axes.set_ylim(len(seconds) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds for the photograph and all prompts; box: quartiles, line: median, points: cases")
    axes.tick_params(axis="x", labelcolor=INK)
    axes.grid(axis="x", color=FAINT, linewidth=0.7)
    _legend(figure, len(arms))
    return figure


def _legend(figure: Figure, columns: int) -> None:
    figure.legend(
        loc="outside upper left", ncols=columns, frameon=False, labelcolor=INK, handlelength=1.1, fontsize=TEXT_PX
    )
