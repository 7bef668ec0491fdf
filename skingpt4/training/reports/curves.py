"""The learning curves of a run as a picture, drawn anew from its `metrics.jsonl`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skingpt4.durable import replacing
from skingpt4.training.reports.run_folder import CURVES_FILE, METRICS_FILE, read_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_POINTS = 400  # of a curve; of more, the mean and the range of neighbours are drawn
LOG_FROM = 4.0  # highest / lowest loss from which the axis is logarithmic
TRAINING, VALIDATION, RATE = "#8a94a6", "#c2410c", "#0f766e"
# Keys of the metrics that say how many of the shown answers are right, and their names on the picture.
ANSWER_FIGURES = {"concept_f1": "concepts, micro-F1", "disease_named": "disease named"}


def draw_curves(folder: Path) -> Path:
    """Draw loss, learning rate and (where answers were checked) their figures into the run's folder; returns the file,
    which appears whole or not at all.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = read_lines(folder / METRICS_FILE)
    answered = [key for key in ANSWER_FIGURES if points(lines, key)[0].size]
    figure = Figure(figsize=(10, 6), layout="constrained")
    FigureCanvasAgg(figure)  # no display, and no state shared with anyone's pyplot
    below = ["rate", "answers"] if answered else ["rate", "rate"]
    axes: dict[str, Axes] = figure.subplot_mosaic([["loss", "loss"], below], height_ratios=[3, 2])
    figure.suptitle(folder.resolve().name)
    plot_loss(axes["loss"], lines)
    axes["loss"].set_ylabel("loss per answer token")
    _epochs_on_top(axes["loss"], lines)
    axes["rate"].plot(*points(lines, "lr"), color=RATE)
    axes["rate"].set_ylabel("learning rate")
    axes["rate"].yaxis.set_major_formatter("{x:g}")
    axes["rate"].set_ylim(bottom=0)
    if answered:
        _plot_answers(axes["answers"], lines, answered)
    last = max((line.get("step", 0) for line in lines), default=0)
    for each in axes.values():
        each.set_xlim(-0.02 * max(1, last), 1.02 * max(1, last))
        each.grid(alpha=0.25)
        each.spines[["top", "right"]].set_visible(False)
        each.set_xlabel("step")
        each.xaxis.set_major_formatter("{x:,.0f}")
    with replacing(folder / CURVES_FILE) as partial:
        figure.savefig(partial, dpi=110)
    return folder / CURVES_FILE


def plot_loss(axes: Axes, lines: Sequence[dict[str, Any]]) -> None:
    """Training and validation loss over the steps, the lowest validation loss marked."""
    steps, losses = points(lines, "loss")
    middle, mean, low, high = thinned(steps, losses)
    axes.plot(middle, mean, color=TRAINING, label="training")
    if len(mean) < len(losses):
        axes.fill_between(middle, low, high, color=TRAINING, alpha=0.25, linewidth=0, label="training, range")
    steps, validation = points(lines, "validation_loss")
    if validation.size:
        axes.plot(steps, validation, color=VALIDATION, marker="o", markersize=3.5, label="validation")
        best = int(validation.argmin())
        label = f"lowest: {validation[best]:.3f} at step {steps[best]:,.0f}"
        axes.plot(steps[best], validation[best], "o", color=VALIDATION, markersize=9, fillstyle="none", label=label)
    shown = np.concatenate([losses, validation])
    if shown.size and shown.min() > 0 and shown.max() > LOG_FROM * shown.min():
        _log_scale(axes)
    if shown.size:
        axes.legend(frameon=False, fontsize=9)


def points(lines: Sequence[dict[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps float[n] and values float[n] of one figure where it was noted; values that are not finite are left out."""
    found = [(line["step"], line[key]) for line in lines if _is_number(line.get(key)) and "step" in line]
    values = np.array(found, float).reshape(-1, 2)
    return values[:, 0], values[:, 1]


def thinned(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """At most `MOST_POINTS` of n points: middle step, mean, lowest and highest value, float[m] each."""
    if len(steps) <= MOST_POINTS:
        return steps, values, values, values
    starts = np.linspace(0, len(steps), MOST_POINTS, endpoint=False).astype(int)
    counts = np.diff([*starts, len(steps)])
    middle, mean = (np.add.reduceat(each, starts) / counts for each in (steps, values))
    return middle, mean, np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _plot_answers(axes: Axes, lines: Sequence[dict[str, Any]], keys: Sequence[str]) -> None:
    for key, colour in zip(keys, ("#4f46c8", "#a21caf"), strict=False):
        axes.plot(*points(lines, key), color=colour, marker="o", markersize=3, label=ANSWER_FIGURES[key])
    count = int(points(lines, "shown")[1][-1])
    axes.set_title(f"answers about the {count} photographs shown", fontsize=10)
    axes.set_ylim(-0.03, 1.03)
    axes.legend(frameon=False, fontsize=9)


def _log_scale(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _epochs_on_top(axes: Axes, lines: Sequence[dict[str, Any]]) -> None:
    steps, epochs = points(lines, "epoch")
    if steps.size and epochs[-1] > 0:
        per_epoch = steps[-1] / epochs[-1]
        top = axes.secondary_xaxis("top", functions=(lambda step: step / per_epoch, lambda epoch: epoch * per_epoch))
        top.set_xlabel("epoch", fontsize=9)
        top.tick_params(labelsize=8)
