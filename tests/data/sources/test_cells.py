from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skingpt4.data.sources.cells import parse_age, parse_sex, parse_skin_type, plain_disease


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("45", 45), (" 45.0 ", 45), ("45.9", 45), ("0", 0), ("120", 120), ("85+", 85), ("45 years", 45), ("45 y/o", 45),
        ("45yo", 45), ("7 Months", 0), ("18 months", 1), ("3 weeks", 0), ("", -1), ("Unknown", -1), ("n/a", -1),
        ("-1", -1),
    ],
)  # fmt: skip
def test_ages(text: str, years: int) -> None:
    assert parse_age(text) == years


@pytest.mark.parametrize("text", ["abc", "121", "-5", "45-50", "1957", "12/03/1957", "4 5", "forty"])
def test_nonsense_is_no_age(text: str) -> None:
    with pytest.raises(ValueError, match=r"the age is .*; years \(0-120\) or an empty cell were expected"):
        parse_age(text)


@pytest.mark.parametrize(
    ("texts", "sex"),
    [
        (("female", "F", "f.", " Female ", "W", "woman"), "female"),
        (("male", "M", "MALE", "man"), "male"),
        (("", "unknown", "other", "X", "OTHER_OR_UNSPECIFIED"), ""),
    ],
)
def test_sexes(texts: tuple[str, ...], sex: str) -> None:
    assert {parse_sex(text) for text in texts} == {sex}


@pytest.mark.parametrize("text", ["abc", "0", "1", "F/M", "mf"])
def test_nonsense_is_no_sex(text: str) -> None:
    with pytest.raises(ValueError, match=r"the sex is .*; female, male, F, M, other or an empty cell was expected"):
        parse_sex(text)


@given(st.integers(1, 6), st.sampled_from(["{}", "{}.0", "FST{}", "type {}", "Fitzpatrick type {}", "skin type {}"]))
def test_skin_types_in_figures(number: int, form: str) -> None:
    assert parse_skin_type(form.format(number)) == number


def test_skin_types_in_roman_figures() -> None:
    texts = ("I", "II", "iii", "Type IV", "phototype v", "VI")
    assert [parse_skin_type(text) for text in texts] == [1, 2, 3, 4, 5, 6]


def test_an_unknown_skin_type_is_kept_apart() -> None:
    assert {parse_skin_type(text) for text in ("", "unknown", "-1", "0", "nan")} == {-1}


@pytest.mark.parametrize("text", ["7", "II-III", "12", "IIII", "dark", "3.5"])
def test_nonsense_is_no_skin_type(text: str) -> None:
    with pytest.raises(ValueError, match=r"the skin type is .*; one of Fitzpatrick's 1 to 6 or I to VI was expected"):
        parse_skin_type(text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Squamous cell carcinoma, NOS", "squamous cell carcinoma"),
        ("Acute dermatitis, NOS", "acute dermatitis"),
        ("HPV  infection", "HPV infection"),
        ("nevus", "nevus"),
        ("", ""),
    ],
)
def test_names_as_they_stand_in_a_sentence(name: str, expected: str) -> None:
    assert plain_disease(name) == expected
