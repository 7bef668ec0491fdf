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
    # Told no type, a phone offers its camera beside all of its files.
    assert patient.page.get_attribute("#upload input", "accept") is None
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


def test_on_a_small_phone_the_conversation_stands_above_the_box(
    patients: Callable[..., Patient], tmp_path: Path
) -> None:
    patient = patients(**{**PHONE, "viewport": {"width": 360, "height": 740}})
    patient.begin(saved(drawing(disease="psoriasis"), tmp_path / "a.png"))
    patient.page.evaluate("window.scrollTo(0, 0)")
    patient.at("start").tap()
    patient.answer(1)
    patient.page.evaluate("window.scrollTo(0, 0)")
    expect(patient.at("asking")).to_be_in_viewport(ratio=1)
    chat, asking = patient.at("chat").bounding_box(), patient.at("asking").bounding_box()
    assert chat is not None and asking is not None
    assert chat["height"] >= 180 and chat["y"] + chat["height"] <= asking["y"]
