"""Figures against cases worked out by hand."""

from __future__ import annotations

import pytest

from skingpt4.evaluation.metrics import micro_macro_f1, wilson_interval
from skingpt4.evaluation.parsing import named_concepts, named_disease


def test_f1_by_hand() -> None:
    truth = [{"Plaque", "Scale"}, {"Plaque"}, {"Crust"}]
    found = [{"Plaque"}, {"Plaque", "Scale"}, set[str]()]
    # Plaque: 2 hits of 2 and 2 -> 1. Scale: 0 of 1 and 1 -> 0. Crust: 0 of 1 and 0 -> 0. All: 2 hits of 4 and 3.
    assert micro_macro_f1(truth, found) == (pytest.approx(4 / 7), pytest.approx(1 / 3))


def test_a_wrong_label_that_is_never_true_costs_micro_and_has_no_macro_of_its_own() -> None:
    assert micro_macro_f1([{"Plaque"}], [{"Plaque", "Wheal"}]) == (pytest.approx(2 / 3), 1.0)


def test_perfect_and_empty() -> None:
    assert micro_macro_f1([{"a"}, {"b"}], [{"a"}, {"b"}]) == (1.0, 1.0)
    with pytest.raises(ValueError, match="undefined"):
        micro_macro_f1([set()], [{"a"}])


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (0, 20, 0.0, 0.1611), (15, 30, 0.3315, 0.6685)],  # the first: Newcombe 1998, table I
)
def test_wilson_interval(right: int, count: int, low: float, high: float) -> None:
    assert wilson_interval(right, count) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_wilson_interval_of_nothing() -> None:
    with pytest.raises(ValueError, match="no proportion"):
        wilson_interval(0, 0)


def test_concepts_are_whole_words_in_any_case_and_number() -> None:
    text = "clinical concepts: Plaque, brown(hyperpigmentation). There are papules and ulcers; a patchwork, no scales."
    assert named_concepts(text) == {"Plaque", "Brown(Hyperpigmentation)", "Papule", "Ulcer", "Scale"}


def test_one_disease_is_named_or_none() -> None:
    diseases = ["lichen planus", "hypertrophic lichen planus", "eczema"]
    assert named_disease("This could be a skin disease image of Eczema.", diseases) == "eczema"
    assert named_disease("It is hypertrophic lichen planus.", diseases) == "hypertrophic lichen planus"
    assert named_disease("Eczema or lichen planus.", diseases) is None
    assert named_disease("No idea.", diseases) is None
