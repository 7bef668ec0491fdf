"""The learning curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from skingpt4.training.reports.curves import MOST_POINTS, draw_curves, plot_loss, points, thinned


def write(folder: Path, lines: list[dict[str, Any]]) -> None:
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def training(count: int) -> list[dict[str, Any]]:
    return [{"step": n, "epoch": n / 10, "loss": 8 / n, "lr": 0.1 / n, "seconds": n} for n in range(1, count + 1)]


def test_points_are_those_steps_that_have_a_finite_figure() -> None:
    lines = [{"step": 1, "loss": 2.0}, {"step": 2, "lr": 1.0}, {"step": 3, "loss": float("nan")}, {"loss": 9.0}]
    steps, values = points(lines, "loss")
    assert steps.tolist() == [1] and values.tolist() == [2.0]
    assert [each.size for each in points([], "loss")] == [0, 0]


def test_many_points_become_means_and_ranges_of_neighbours() -> None:
    steps, values = np.arange(10 * MOST_POINTS, dtype=float), np.tile([0.0, 4.0], 5 * MOST_POINTS)
    middle, mean, low, high = thinned(steps, values)
    assert len(middle) == MOST_POINTS and np.all(np.diff(middle) > 0) and middle[0] == 4.5
    assert np.all(mean == 2) and np.all(low == 0) and np.all(high == 4)
    few = thinned(steps[:7], values[:7])
    assert all(len(each) == 7 for each in few) and few[1].tolist() == few[2].tolist() == values[:7].tolist()


@pytest.mark.parametrize(("highest", "scale"), [(2.0, "linear"), (20.0, "log")])
def test_losses_far_apart_get_a_logarithmic_axis(highest: float, scale: str) -> None:
    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    plot_loss(axes, [{"step": 1, "loss": highest}, {"step": 2, "loss": 1.0}, {"step": 2, "validation_loss": 1.5}])
    assert axes.get_yscale() == scale
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["training", "validation", "lowest: 1.500 at step 2"]


@pytest.mark.parametrize("kind", ["nothing", "one line", "no validation", "everything", "torn"])
def test_a_picture_is_drawn_whatever_there_is(kind: str, tmp_path: Path) -> None:
    lines = {"nothing": [], "one line": training(1)}.get(kind, training(60))
    if kind == "everything":
        lines += [{"step": 30, "epoch": 3, "validation_loss": 0.5}, {"step": 60, "epoch": 6, "validation_loss": 0.6}]
        lines += [{"step": 60, "concept_f1": 0.5, "disease_named": 0.25, "shown": 4}]
    write(tmp_path, lines)
    if kind == "torn":
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write('{"step": 61, "lo')
    path = draw_curves(tmp_path)
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.shape == (660, 1100, 3)
    validation = np.abs(picture.astype(int) - (0xC2, 0x41, 0x0C)).sum(-1) < 30  # its colour
    assert bool(validation.any()) == (kind == "everything")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["curves.png", "metrics.jsonl"]  # no partial file
