"""Which cases are drawn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from skingpt4.data.records import Record
from skingpt4.study.items import StudyError
from skingpt4.study.sampling import draw_cases


def records(count: int, classes: int = 3, patients: int = 0) -> list[Record]:
    """The classes take turns, skin types change slower; patients: so many, or each photograph its own."""
    return [
        Record(
            Path(f"{number:03}.png"), (), (), disease_class=f"class {number % classes}",
            skin_type=number // classes % 6 + 1, group=f"p{number % patients}" if patients else "",
        )
        for number in range(count)
    ]  # fmt: skip


def test_as_many_of_each_class_whatever_the_order():
    sample = draw_cases(records(60), ["class"], 5, seed=3)
    assert Counter(each.disease_class for each in sample.records) == {f"class {n}": 5 for n in range(3)}
    assert sample.short == () and sample.left_out == 0
    assert draw_cases(records(60)[::-1], ["class"], 5, seed=3) == sample
    assert draw_cases(records(60), ["class"], 5, seed=4) != sample


def test_skin_types_take_turns_inside_a_class():
    sample = draw_cases(records(90), ["class"], 6, "skin-type")
    assert set(Counter((each.disease_class, each.skin_type) for each in sample.records).values()) == {1}
    by_both = draw_cases(records(90), ["class", "skin-type"], 2)
    assert len(by_both.records) == 3 * 6 * 2
    assert len(draw_cases(records(90), [], 7).records) == 7


def test_never_two_photographs_of_a_patient_and_what_is_short_is_said():
    sample = draw_cases(records(30, classes=2, patients=6), ["class"], 5)
    assert Counter(each.group for each in sample.records).most_common(1)[0][1] == 1
    assert sample.short == ("class 0: 3 of 5", "class 1: 3 of 5")


def test_photographs_of_no_class_are_left_out_and_counted():
    without = [*records(4, 2), Record(Path("x.png"), (), ())]
    assert draw_cases(without, ["class"], 2).left_out == 1
    with pytest.raises(StudyError, match=r"known of none.*--by"):
        draw_cases(without, ["sex"], 1)
    with pytest.raises(StudyError, match="there are class, disease"):
        draw_cases(without, ["shoe size"], 1)
    with pytest.raises(StudyError, match="at least 1"):
        draw_cases(without, ["class"], 0)


def test_no_class_is_starved_by_patients_who_have_another_disease_too():
    both = [Record(Path(f"{n}.png"), (), (), disease_class=f"class {n % 2}", group=f"p{n // 2}") for n in range(8)]
    sample = draw_cases(both, ["class"], 3)
    assert Counter(each.disease_class for each in sample.records) == {"class 0": 2, "class 1": 2}
    assert sample.short == ("class 0: 2 of 3", "class 1: 2 of 3")
