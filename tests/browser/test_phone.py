"""A phone in front of the page: its width, its camera, a thumb."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from patient import PHONE, Patient, drawing, saved
from playwright.sync_api import expect

from skingpt4.demo.page import words

pytestmark = pytest.mark.slow
WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def test_a_visit_on_a_phone_needs_no_scrolling_to_the_side(patients: Callable[..., Patient], tmp_path: Path) -> None:
    patient = patients(**PHONE)
    patient.open()
    assert not patient.page.evaluate(WIDER)
    patient.accept()
    assert "image/*" in str(patient.page.get_attribute("#upload input", "accept"))  # a phone then offers its camera
    patient.add(saved(drawing(disease="psoriasis"), tmp_path / "a.png"))
    assert not patient.page.evaluate(WIDER)
    patient.at("start").tap()
    assert patient.answer(1)
    expect(patient.at("chat").locator(".message.bot")).to_be_in_viewport()
    patient.button(words.EXPERTS).tap()
    assert not patient.page.evaluate(WIDER)
    for name in ("report", "restart", "ask"):
        box = patient.at(name).bounding_box()
        assert box is not None and box["height"] >= 40, name  # for a thumb
