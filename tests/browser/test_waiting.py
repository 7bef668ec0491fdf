"""Answers without an end: they stream, they stop, and others wait for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from patient import PHONE, Patient, drawing, saved
from playwright.sync_api import expect
from recital import ids_of, teach
from tiny_models import settings_for

from skingpt4 import Chat
from skingpt4.demo.page import words
from skingpt4.demo.server.launch import open_page
from skingpt4.vocabulary import CLINICAL_PROMPTS
from skingpt4.weights.build import build_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def endless_url(tiny_checkpoints: Path) -> Iterator[str]:
    """The page of a model that never comes to an end by itself."""
    settings = settings_for(tiny_checkpoints)
    model, processor = build_model(settings)
    teach(model, processor, ids_of(processor, "▁a", "▁the", "▁a"))
    with open_page(Chat(model, processor), settings) as page:
        yield page.local_url


@pytest.fixture
def talkers(patients: Callable[..., Patient], endless_url: str, tmp_path: Path) -> Callable[..., Patient]:
    """Makes patients whose photograph is there, and whose answers are as long as they can be."""

    def make(**options: Any) -> Patient:
        patient = patients(endless_url, **options)
        patient.begin(saved(drawing(), tmp_path / "a.png"))
        patient.set(longest=1000)
        return patient

    return make


def keep_the_model(patient: Patient) -> None:
    """For as long as it lasts: a report of four endless answers."""
    patient.set(longest=1)
    patient.describe()
    patient.set(longest=1000)
    patient.at("report").click()
    expect(patient.at("status")).to_contain_text(words.REPORTING)


def test_the_answer_streams_and_stops(talkers: Callable[..., Patient]) -> None:
    patient = talkers()
    patient.at("start").click()
    expect(patient.at("status")).to_have_text(words.ANSWERING)
    expect(patient.at("chat").locator(".message.bot")).to_have_count(1)
    seen = [patient.said("bot")[0]]
    for _ in range(3):
        expect(patient.at("chat").locator(".message.bot")).not_to_have_text(seen[-1])
        seen.append(patient.said("bot")[0])
    assert all(later.startswith(earlier) for earlier, later in pairwise(seen))
    expect(patient.at("ask")).to_be_hidden()
    patient.at("stop").click()
    patient.wait()
    expect(patient.at("status")).to_have_text(words.STOPPED)
    stopped = patient.said("bot")
    assert stopped[0].startswith(seen[-1])
    assert len(stopped[0].split()) < 900
    time.sleep(0.5)
    assert patient.said("bot") == stopped
    patient.set(longest=4)
    assert patient.ask("What is it?", 2) == "a the a the"


def test_others_wait_see_their_place_and_may_stop_waiting(talkers: Callable[..., Patient]) -> None:
    first, second = talkers(), talkers()
    keep_the_model(first)
    second.type("Is it dangerous?")
    expect(second.at("status")).to_have_text(words.waiting(1))
    expect(second.at("chat")).to_contain_text(words.waiting(1))
    second.at("stop").click()
    second.wait()
    expect(second.at("status")).to_have_text(words.STOPPED)
    expect(second.box).to_have_value("Is it dangerous?")


def test_only_typed_questions_come_back_to_where_they_were_typed(talkers: Callable[..., Patient]) -> None:
    first, second = talkers(), talkers()
    keep_the_model(first)
    second.box.fill("Is it")
    second.at("start").click()
    expect(second.at("status")).to_have_text(words.waiting(1))
    second.at("stop").click()
    second.wait()
    expect(second.at("status")).to_have_text(words.STOPPED)
    expect(second.box).to_have_value("Is it")


def test_a_phone_shows_the_growing_answer_and_the_button_that_stops_it(talkers: Callable[..., Patient]) -> None:
    patient = talkers(**{**PHONE, "viewport": {"width": 360, "height": 740}})
    patient.button(words.EXPERTS).tap()
    patient.page.evaluate("window.scrollTo(0, 0)")
    patient.at("start").tap()
    expect(patient.at("status")).to_have_text(words.ANSWERING)
    expect(patient.at("chat")).to_be_in_viewport(ratio=1)
    expect(patient.at("stop")).to_be_in_viewport(ratio=1)
    patient.at("stop").tap()
    patient.wait()


def test_others_are_answered_when_it_is_their_turn(talkers: Callable[..., Patient]) -> None:
    first, second = talkers(), talkers()
    second.set(longest=4)
    keep_the_model(first)
    second.at("start").click()
    expect(second.at("status")).to_have_text(words.waiting(1))
    first.at("stop").click()
    assert second.answer(1) == "a the a the"


def test_starting_again_and_leaving_make_room_for_others(talkers: Callable[..., Patient]) -> None:
    leaving, restarting, last = talkers(), talkers(), talkers()
    last.set(longest=4)
    keep_the_model(leaving)
    restarting.at("start").click()
    expect(restarting.at("status")).to_have_text(words.waiting(1))
    last.at("start").click()
    expect(last.at("status")).to_have_text(words.waiting(2))
    leaving.page.close()
    expect(restarting.at("status")).to_have_text(words.ANSWERING)
    restarting.restart()
    assert last.answer(1) == "a the a the"
    expect(restarting.at("photo_status")).to_have_text(words.WAITING_FOR_PHOTOGRAPH)
    expect(restarting.at("chat")).to_be_hidden()


def test_a_report_tells_how_far_it_is_and_may_be_stopped(talkers: Callable[..., Patient]) -> None:
    patient = talkers()
    patient.set(longest=4)
    assert patient.describe() == "a the a the"
    patient.set(longest=400)
    patient.at("report").click()
    for section in (1, 2):
        expect(patient.at("status")).to_have_text(words.section_of(section, len(CLINICAL_PROMPTS)))
    patient.at("stop").click()
    patient.wait()
    expect(patient.at("status")).to_have_text(words.REPORT_STOPPED)
    expect(patient.at("downloads")).to_be_hidden()
