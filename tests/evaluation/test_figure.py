"""A figure never hides that it is undefined."""

from __future__ import annotations

import json

import numpy as np
import pytest

from skingpt4.evaluation.figures.figure import Figure


def test_a_figure_reads_as_papers_print_it() -> None:
    assert str(Figure(0.873, 400, 0.84, 0.904)) == "0.873 (0.84-0.90, n 400)"
    assert str(Figure(0.5, 3, note="no interval")) == "0.500 (n 3)"
    assert str(Figure.undefined("no case has it", 12)) == "undefined (no case has it, n 12)"


def test_json_and_back_with_numpy_numbers() -> None:
    figure = Figure(np.float32(0.5), np.int64(7), np.float32(0.25), np.float64(0.75), "a note")  # type: ignore[arg-type]
    written = json.dumps(figure.to_dict())
    assert json.loads(written) == {"value": 0.5, "n": 7, "low": 0.25, "high": 0.75, "note": "a note"}
    assert Figure.from_dict(json.loads(written)) == figure


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_no_nan_and_no_infinity(number: float) -> None:
    with pytest.raises(ValueError, match="undefined numbers are None"):
        Figure(number, 5)
    with pytest.raises(ValueError, match="undefined numbers are None"):
        Figure(0.5, 5, number, 1.0)


def test_undefined_says_why_and_an_interval_is_whole() -> None:
    with pytest.raises(ValueError, match="must say why"):
        Figure(None, 0)
    with pytest.raises(ValueError, match="two ends"):
        Figure(0.5, 5, low=0.1)
    with pytest.raises(ValueError, match="two ends"):
        Figure(None, 5, 0.1, 0.9, "why")
