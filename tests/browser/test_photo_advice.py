"""A photograph that is not good enough: a patient is asked for a better one, and may go on with this one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from patient import PHONE, Patient, drawing, saved
from playwright.sync_api import expect

from skingpt4.chat.notices import GO_ON
from skingpt4.chat.photo_check import ADVICE
from skingpt4.demo.page import words

pytestmark = pytest.mark.slow


def test_a_dark_photograph_is_told_and_answered_and_a_good_one_is_not(patient: Patient, tmp_path: Path) -> None:
    night = saved(drawing().point(lambda value: value // 9), tmp_path / "night.png")
    patient.begin(night)
    advice = patient.at("photo_advice")
    expect(advice).to_contain_text(words.BETTER_PICTURE)
    expect(advice).to_contain_text(ADVICE["dark"])
    expect(advice).to_contain_text(GO_ON)
    assert patient.describe()
    expect(advice).to_be_visible()
    patient.restart()
    expect(advice).to_be_hidden()
    patient.add(saved(drawing(), tmp_path / "day.png"))
    expect(patient.at("photo_status")).to_have_text(words.READY)
    expect(advice).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_it_is_read_before_the_conversation_and_does_not_stand_in_its_way(
    patients: Callable[..., Patient], tmp_path: Path, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    patient = patients(**PHONE, color_scheme=scheme)
    patient.begin(saved(drawing().point(lambda value: value // 9), tmp_path / "night.png"))
    expect(patient.at("photo_advice")).to_be_in_viewport()
    expect(patient.at("start")).to_be_visible()
    assert Axe().run(patient.page, "#photo_advice").violations_count == 0
    patient.at("start").tap()
    assert patient.answer(1)
    expect(patient.at("photo_advice")).to_be_hidden()
