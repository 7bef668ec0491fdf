"""Agreement of repeated answers, against hand-worked cases and Fleiss' published example."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.inter_rater import fleiss_kappa

from skingpt4.evaluation.figures.consistency import consistency_figures

# Fleiss 1971: six psychiatrists name one of five diagnoses for each of 30 patients; kappa 0.430 (its table 1).
DIAGNOSES = [
    "444444", "222555", "233335", "555555", "222444", "113333", "333355", "113334", "114444", "555555",
    "144444", "124444", "222333", "144444", "224445", "333335", "111455", "111112", "224444", "133555",
    "555555", "244444", "224555", "114444", "144445", "222224", "111155", "224444", "133333", "555555",
]  # fmt: skip


def test_by_hand() -> None:
    figures = consistency_figures([["eczema"] * 4, ["acne", "acne", "eczema", None]])
    # 6 of 6 pairs and 1 of 6.
    assert figures["pairs"].value == pytest.approx((1 + 1 / 6) / 2)
    assert figures["all_equal"].value == 0.5
    assert figures["named"].value == pytest.approx(7 / 8)
    # Coincidences within pictures: of 8 answers 5 eczema, 2 acne, 1 none. Disagreement observed: 10 ordered pairs / 3;
    # expected: (64 - 25 - 4 - 1) / 7.
    assert figures["alpha"].value == pytest.approx(1 - (10 / 3) / (34 / 7))
    assert {figure.n for figure in figures.values()} == {2}


def test_fleiss_example() -> None:
    counts = np.array([[row.count(str(kind)) for kind in range(1, 6)] for row in DIAGNOSES])
    kappa = fleiss_kappa(counts)
    assert kappa == pytest.approx(0.430, abs=5e-4)
    figures = consistency_figures([list(row) for row in DIAGNOSES])
    # Alpha is Fleiss' kappa with its correction for n R = 180 answers: 1 - (1 - kappa) (180 - 1) / 180.
    assert figures["alpha"].value == pytest.approx(1 - (1 - kappa) * 179 / 180)
    assert figures["pairs"].value == pytest.approx(0.5556, abs=5e-5)  # his mean P
    assert figures["all_equal"].value == pytest.approx(5 / 30)
    low, high = figures["alpha"].low, figures["alpha"].high
    assert low is not None and high is not None and low < 0.43 < high


def test_a_steady_a_random_and_a_blind_model() -> None:
    pictures = [f"disease {row % 5}" for row in range(60)]
    steady = consistency_figures([[name] * 10 for name in pictures])
    assert (steady["pairs"].value, steady["all_equal"].value, steady["alpha"].value) == (1, 1, 1)
    rng = np.random.default_rng(0)
    random = consistency_figures([[pictures[pick] for pick in rng.integers(0, 60, 10)] for _ in range(60)])
    assert random["alpha"].value == pytest.approx(0, abs=0.03) and random["pairs"].value == pytest.approx(0.2, abs=0.03)
    assert random["all_equal"].value == 0
    blind = consistency_figures([["eczema"] * 10] * 60)
    assert blind["pairs"].value == 1 and blind["alpha"].value is None and "same one" in blind["alpha"].note
    mute = consistency_figures([[None] * 10] * 60)
    assert mute["named"].value == 0 and mute["alpha"].value is None


def test_empty_and_uneven() -> None:
    for figure in consistency_figures([]).values():
        assert (figure.value, figure.n) == (None, 0) and figure.note
    for repeats in ([["a"]], [["a", "b"], ["a"]]):
        with pytest.raises(ValueError, match="number of repeats"):
            consistency_figures(repeats)
