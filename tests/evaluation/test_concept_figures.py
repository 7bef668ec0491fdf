"""Concept figures against hand-worked cases, scikit-learn, and models whose figures are known beforehand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from skingpt4.evaluation.figures.concepts import Concepts
from skingpt4.evaluation.figures.metrics import Ranking, best_f1_thresholds, micro_macro_f1
from skingpt4.vocabulary import CONCEPTS

NAMES = ("Plaque", "Scale", "Crust")


def drawn(seed: int, n: int = 60, columns: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.random((n, columns)) < 0.4
    return truth, random.normal(size=(n, columns)) + truth


def test_auroc_and_average_precision_by_hand() -> None:
    """Scores 4 3 2 1, truth yes no yes no: pairs won 3 of 4; precision 1/1 and 2/3 at the two hits."""
    ranking = Ranking(np.array([[True], [False], [True], [False]]), np.array([[4.0], [3.0], [2.0], [1.0]]))
    auroc, precision = ranking.auroc_and_precision(np.arange(4))
    assert (auroc[0], precision[0]) == (0.75, pytest.approx((1 + 2 / 3) / 2))
    auroc, precision = ranking.auroc_and_precision(np.array([0, 2, 2]))  # all have it
    assert math.isnan(auroc[0]) and math.isnan(precision[0])
    auroc, _ = ranking.auroc_and_precision(np.array([1, 2, 2, 0]))  # 4 yes, 3 no, 2 yes twice: 1 of 3 pairs
    assert auroc[0] == pytest.approx(1 / 3)


@given(st.integers(0, 2**32 - 1), st.integers(4, 60), st.booleans())
@settings(max_examples=60, deadline=None)
def test_ranking_as_scikit_learn_in_every_resample(seed: int, n: int, ties: bool) -> None:
    random = np.random.default_rng(seed)
    truth, scores = drawn(seed, n)
    scores = scores.round(0) if ties else scores
    scores[0, 0] = -1e300  # stands for -inf, which scikit-learn refuses
    mine = scores.copy()
    mine[0, 0] = -np.inf
    rows = random.integers(0, n, n)
    auroc, precision = Ranking(truth, mine).auroc_and_precision(rows)
    for column in range(3):
        true = truth[rows, column]
        if true.all() or not true.any():
            assert math.isnan(auroc[column]) and math.isnan(precision[column])
        else:
            assert auroc[column] == pytest.approx(sk.roc_auc_score(true, scores[rows, column]), abs=1e-12)
            assert precision[column] == pytest.approx(sk.average_precision_score(true, scores[rows, column]), abs=1e-12)


def test_ranking_refuses_nan_and_other_shapes() -> None:
    with pytest.raises(ValueError, match="NaN"):
        Ranking(np.array([[True]]), np.array([[np.nan]]))
    with pytest.raises(ValueError, match="one shape"):
        Ranking(np.array([[True]]), np.zeros((2, 1)))


def test_thresholds_by_hand_and_by_trying_all() -> None:
    truth = np.array([[True, False, True], [True, False, True], [False, False, True]])
    scores = np.array([[0.9, 0.1, 0.3], [0.4, 0.2, 0.2], [0.3, 0.3, 0.1]])
    assert best_f1_thresholds(truth, scores)[[0, 2]].tolist() == [0.4, 0.1]
    assert math.isnan(best_f1_thresholds(truth, scores)[1])  # no case has it
    truth, scores = drawn(8)
    for column, threshold in enumerate(best_f1_thresholds(truth, scores)):
        tried = [sk.f1_score(truth[:, column], scores[:, column] >= value) for value in scores[:, column]]
        assert sk.f1_score(truth[:, column], scores[:, column] >= threshold) == max(tried)


def test_all_figures_as_scikit_learn() -> None:
    truth, scores = drawn(1, 200)
    thresholds = best_f1_thresholds(*drawn(2, 200))
    figures = Concepts(truth, scores, NAMES, thresholds).figures()
    found = scores >= thresholds
    for column, concept in enumerate(figures.per_concept):
        assert concept.n == concept.images == truth[:, column].sum()
        assert concept.auroc.value == pytest.approx(sk.roc_auc_score(truth[:, column], scores[:, column]))
        precision = sk.average_precision_score(truth[:, column], scores[:, column])
        assert concept.average_precision.value == pytest.approx(precision)
        assert concept.f1.value == pytest.approx(sk.f1_score(truth[:, column], found[:, column]))
    values = {name: figure.value for name, figure in figures.headline.items()}
    assert values == {
        "macro_auroc": pytest.approx(sk.roc_auc_score(truth, scores)),
        "macro_average_precision": pytest.approx(sk.average_precision_score(truth, scores)),
        "macro_f1": pytest.approx(sk.f1_score(truth, found, average="macro")),
        "micro_f1": pytest.approx(sk.f1_score(truth, found, average="micro")),
    }
    for name, figure in figures.headline.items():
        assert figure.low is not None and figure.high is not None
        assert figure.low < values[name] < figure.high and figure.n == 200
        assert figure.note == "over 3 of 3 concepts"
        rows = np.arange(200)
        assert Concepts(truth, scores, NAMES, thresholds).metric(name)(rows) == figure.value


def test_a_perfect_a_random_and_an_inverted_model() -> None:
    random = np.random.default_rng(0)
    truth = random.random((1000, 3)) < 0.25
    perfect = Concepts(truth, truth * 1.0, NAMES, np.full(3, 0.5)).figures().headline
    assert [figure.value for figure in perfect.values()] == [1.0] * 4
    inverted = Concepts(truth, truth * -1.0, NAMES, np.full(3, -0.5)).figures().headline
    assert (inverted["macro_auroc"].value, inverted["macro_f1"].value, inverted["micro_f1"].value) == (0.0, 0.0, 0.0)
    chance = Concepts(truth, random.normal(size=(1000, 3)), NAMES).figures().headline
    assert chance["macro_auroc"].value == pytest.approx(0.5, abs=0.03)
    assert chance["macro_average_precision"].value == pytest.approx(0.25, abs=0.03)  # its chance is the prevalence
    low, high = chance["macro_auroc"].low, chance["macro_auroc"].high
    assert low is not None and high is not None and low < 0.5 < high


def test_the_headline_is_of_concepts_with_fifty_images_and_the_appendix_of_all() -> None:
    truth, scores = drawn(4)
    figures = Concepts(truth, scores, NAMES, images=[50, 49, 80]).figures()
    aurocs = [concept.auroc.value for concept in figures.per_concept]
    assert figures.headline["macro_auroc"].value == pytest.approx((aurocs[0] + aurocs[2]) / 2)  # type: ignore[operator]
    assert figures.appendix["macro_auroc"].value == pytest.approx(sum(aurocs) / 3)  # type: ignore[arg-type]
    assert figures.headline["macro_auroc"].note == "over 2 of 3 concepts"
    few = Concepts(truth, scores, NAMES, images=[1, 2, 3]).figures()
    assert few.headline["macro_auroc"].value is None
    assert few.headline["macro_auroc"].note.startswith("no concept has 50 images")
    assert few.appendix["macro_auroc"].value == figures.appendix["macro_auroc"].value


def test_without_a_threshold_f1_is_undefined_and_says_so() -> None:
    truth, scores = drawn(5)
    none = Concepts(truth, scores, NAMES).figures().appendix
    assert (none["macro_f1"].value, none["micro_f1"].value) == (None, None)
    assert "no validation set was given" in none["macro_f1"].note
    some = Concepts(truth, scores, NAMES, np.array([0.5, np.nan, 0.5])).figures()
    assert some.per_concept[1].f1.value is None and some.per_concept[1].auroc.value is not None
    f1s = [some.per_concept[column].f1.value for column in (0, 2)]
    assert some.appendix["macro_f1"].value == pytest.approx(sum(f1s) / 2)  # type: ignore[arg-type]
    assert some.appendix["macro_f1"].note == "over 2 of 3 concepts"


def test_a_concept_of_none_or_of_all_is_undefined() -> None:
    truth, scores = drawn(6)
    truth[:, 0], truth[:, 1] = False, True
    figures = Concepts(truth, scores, NAMES, np.zeros(3)).figures()
    absent, everywhere, _ = figures.per_concept
    for figure in (absent.auroc, absent.average_precision, absent.f1):
        assert (figure.value, figure.n, figure.note) == (None, 60, "no case has it")
    assert (everywhere.auroc.value, everywhere.auroc.note) == (None, "all cases have it")
    assert everywhere.f1.value is not None
    assert figures.appendix["macro_auroc"].value == figures.per_concept[2].auroc.value


def test_an_empty_split_and_cases_without_concepts() -> None:
    empty = Concepts(np.empty((0, 3), dtype=bool), np.empty((0, 3)), NAMES).figures()
    for figure in [*empty.headline.values(), *empty.appendix.values(), empty.per_concept[0].auroc]:
        assert (figure.value, figure.n, figure.note) == (None, 0, "no case to measure it on")
    bare = Concepts(np.zeros((5, 3), dtype=bool), np.zeros((5, 3)), NAMES).figures()
    assert bare.appendix["macro_auroc"].note == "no case has one of these concepts"
    assert json.dumps([empty.to_dict(), bare.to_dict()], allow_nan=False)


def test_text_lists_as_the_older_micro_and_macro_f1() -> None:
    random = np.random.default_rng(3)
    truth, found = ([{c for c in CONCEPTS[:9] if random.random() < 0.3} for _ in range(40)] for _ in range(2))
    concepts = Concepts.from_answers(truth, found, CONCEPTS)
    figures = concepts.figures([str(row // 2) for row in range(40)])
    micro, macro = micro_macro_f1(truth, found)
    assert concepts.metrics == ("macro_f1", "micro_f1")
    assert figures.appendix["macro_f1"].value == pytest.approx(macro)
    assert figures.appendix["micro_f1"].value == pytest.approx(micro)
    assert figures.appendix["macro_f1"].note == "over 9 of 48 concepts"
    assert "scores none" in figures.per_concept[0].auroc.note


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ("a", "b")}, "by 2 concepts"),
        ({"thresholds": np.zeros(2)}, "one for each of the 3"),
        ({"images": [1, 2]}, "one for each of the 3"),
    ],
)
def test_wrong_shapes_are_refused(options: dict[str, object], message: str) -> None:
    truth, scores = drawn(7)
    with pytest.raises(ValueError, match=message):
        Concepts(truth, scores, **{"names": NAMES, **options})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 answers were given for 2 cases"):
        Concepts.from_answers([set(), set()], [set()], NAMES)
