"""From predictions to figures: right for models whose skill is known, and in words where something is missing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from synthetic_answers import synthetic

from skingpt4.errors import DataError
from skingpt4.evaluation.compare import compare
from skingpt4.evaluation.measure import Metrics, measure
from skingpt4.evaluation.predictions import Predictions


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are about values; the intervals have tests of their own."""
    from skingpt4.evaluation.figures import groups, intervals

    for function in (intervals.measured, intervals.measured_many, intervals.resample):
        *others, _ = function.__defaults__ or ()
        monkeypatch.setattr(function, "__defaults__", (*others, 40))
    monkeypatch.setattr(groups, "RESAMPLES", 40)


def value(metrics: Metrics, section: str, name: str) -> float:
    found = metrics.figures[section][name].value
    assert found is not None
    return found


def test_perfect_random_and_inverted_models() -> None:
    """1, chance and 0, whatever the road from predictions to the figure."""
    chosen = {"perfect": 50.0, "random": 0.0, "inverted": -50.0}
    found = {name: measure(synthetic(200, skill), synthetic(100, skill, 1, 1)) for name, skill in chosen.items()}
    for section, name in (("diagnosis.disease_scored", "macro_auroc"), ("concepts.scored.all", "macro_auroc")):
        assert value(found["perfect"], section, name) == 1 and value(found["inverted"], section, name) == 0
        assert abs(value(found["random"], section, name) - 0.5) < 0.06
    for section in ("diagnosis.disease_scored", "diagnosis.disease_answered"):
        assert value(found["perfect"], section, "top_1") == 1 and value(found["inverted"], section, "top_1") == 0
        assert abs(value(found["random"], section, "top_1") - 1 / 4) < 0.1
    assert value(found["perfect"], "diagnosis.class_scored", "top_1") == 1
    assert value(found["perfect"], "concepts.answered.all", "micro_f1") == 1
    assert value(found["inverted"], "concepts.answered.all", "micro_f1") == 0
    assert value(found["perfect"], "trust.disease", "ece") < 1e-6
    assert value(found["inverted"], "trust.disease", "ece") > 0.5
    assert value(found["perfect"], "commonest", "disease") == 1 / 4
    assert value(found["perfect"], "consistency", "all_equal") == 1


def test_an_over_confident_model_is_cooled_by_its_validation_cases() -> None:
    def loud(cases: Predictions) -> Predictions:
        return replace(cases, disease_log_scores=cases.disease_log_scores * 6)

    found = measure(loud(synthetic(200, seed=4)), loud(synthetic(200, seed=5, cases=1)))
    assert value(found, "trust.disease", "temperature") > 3
    assert value(found, "trust.disease", "ece_fitted") < value(found, "trust.disease", "ece") / 2
    assert 0.8 < value(found, "trust.disease", "set_coverage") <= 1
    assert value(found, "trust.disease", "abstain_risk_20_coverage") > 0.3
    assert value(found, "trust.disease", "accuracy_fitted") == value(found, "trust.disease", "accuracy")


def test_without_validation_cases_what_is_fitted_is_undefined() -> None:
    found = measure(synthetic(40))
    for name in ("temperature", "ece_fitted", "set_coverage", "abstain_risk_10_risk"):
        figure = found.figures["trust.disease"][name]
        assert figure.value is None and "--fit-on" in figure.note
    assert found.figures["concepts.scored.all"]["macro_f1"].value is None
    assert found.figures["concepts.scored.all"]["macro_auroc"].value is not None


def test_what_the_data_does_not_know_is_said() -> None:
    cases = synthetic(12)
    bare = replace(
        cases, disease_class=[""] * 12, concepts=[None] * 12, group=[""] * 12, reference=[""] * 12, repeats=[None] * 12
    )
    found = measure(bare)
    said = " ".join(found.remarks)
    for word in ("patient or lesion", "15 classes", "clinical concepts", "reference answer", "skin type", "sex", "age"):
        assert word in said
    assert set(found.diagnosis) == {"disease_scored", "disease_answered"} and not found.concepts and not found.groups
    assert found.others["text_diagnosis"]["bleu"].note == "no case has a reference answer"
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("rows", [[], [0], [0, 1]])
def test_hardly_any_case(rows: list[int]) -> None:
    """No division by nothing, no NaN: undefined, with n and a reason."""
    found = measure(synthetic(8).select(np.array(rows, int)), synthetic(8, cases=1))
    content: Any = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    figures = [figure for section in content["figures"].values() for figure in section.values()]
    assert all(figure["value"] is not None or figure["note"] for figure in figures)
    assert all(figure["n"] <= 8 for figure in figures) and content["cases"] == len(rows)


def test_one_disease_cannot_be_ranked() -> None:
    cases = synthetic(40)
    only = cases.select(np.array([row for row, name in enumerate(cases.disease) if name == "psoriasis"]))
    found = measure(only).figures["diagnosis.disease_scored"]
    assert found["macro_auroc"].value is None
    assert "all cases are of one diagnosis, psoriasis" in found["macro_auroc"].note
    assert found["top_1"].value is not None and found["top_1"].n == 10


def test_groups_of_people_are_told_apart() -> None:
    """The model is made to fail on one sex alone."""
    cases = synthetic(48, skill=50.0, people=True)
    male = np.array([sex == "male" for sex in cases.sex])
    cases.disease_log_scores[male] *= -1
    measured = measure(cases)
    found = measured.groups
    assert set(found) == {"skin type", "sex"}
    assert list(found["skin type"]["text_diagnosis.refusals"].values) == list("123456")
    by_sex = found["sex"]["diagnosis.disease_scored.top_1"]
    assert (by_sex.values["female"].value, by_sex.values["male"].value) == (1.0, 0.0)
    assert by_sex.worst == "male" and by_sex.gap.value == 1.0 and by_sex.values["male"].n == 24
    assert found["sex"]["trust.disease.brier"].worst == "male"  # where less is better
    headline = [name for name in measured.figures if name.startswith(("diagnosis", "concepts")) and ".all" not in name]
    assert {f"{name}.{metric}" for name in headline for metric in measured.figures[name]} <= set(found["sex"])


def test_a_run_compared_with_itself_does_not_differ() -> None:
    cases = synthetic(40)
    tests = compare(cases, cases.select(np.arange(40)[::-1]))  # in another order
    assert {
        "diagnosis.disease_scored.top_1",
        "diagnosis.class_scored.macro_auroc",
        "concepts.answered.all.micro_f1",
    } <= set(tests)
    assert all(each.difference.value in (0, None) and each.p_value in (1, None) for each in tests.values())


def test_a_better_run_is_found_better() -> None:
    tests = compare(synthetic(60, 4.0), synthetic(60, 0.0, seed=3))
    top_1 = tests["diagnosis.disease_scored.top_1"]
    assert top_1.difference.value is not None and top_1.difference.value > 0.4
    assert top_1.p_value is not None and top_1.p_value < 1e-4 and top_1.only_first is not None and top_1.only_first > 20


def test_runs_over_other_cases_are_not_compared() -> None:
    cases = synthetic(12)
    with pytest.raises(DataError, match="over other cases"):
        compare(cases, synthetic(12, cases=1))
    with pytest.raises(DataError, match="know another disease of the same"):
        compare(cases, replace(cases, disease=cases.disease[::-1]))
