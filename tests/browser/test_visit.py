"""The whole visit, as a patient makes it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from patient import Patient, drawing, photograph, saved
from playwright.sync_api import expect

from skingpt4 import Chat, Sampling, load_model
from skingpt4.demo.page import words
from skingpt4.report.content import Report
from skingpt4.vocabulary import CLINICAL_PROMPTS, EMBEDDED_NOTICE, NOT_A_DIAGNOSIS

pytestmark = pytest.mark.slow


def test_a_visit_from_the_notice_to_the_next_photograph(patient: Patient, tmp_path: Path) -> None:
    file = photograph(tmp_path)
    patient.open()
    assert NOT_A_DIAGNOSIS in patient.page.inner_text("#welcome")
    expect(patient.at("upload")).to_be_hidden()
    patient.begin(file)
    assert EMBEDDED_NOTICE in patient.page.inner_text("#banner")
    assert all(patient.shown("photograph"))

    conversation = Chat(*load_model()).start(file)
    assert patient.describe() == conversation.ask(CLINICAL_PROMPTS[0]).strip()
    assert patient.said("user") == [CLINICAL_PROMPTS[0]]
    patient.button(next(iter(words.SUGGESTIONS))).click()
    assert patient.answer(2) == conversation.ask(CLINICAL_PROMPTS[1]).strip()
    question = "Is <b>this</b> **contagious**? ![x](http://example.com/x.png) <img src=http://example.com/y.png>"
    assert patient.ask(question, 3) == conversation.ask(question).strip()
    assert patient.said("user")[-1] == question
    assert patient.at("chat").locator("b, strong, img").count() == 0

    files = patient.report()
    assert set(files) == {"Web page", "PDF", "Text (Markdown)", "Data (JSON)", "Medical record (FHIR)"}
    report = Report.from_json(files["Data (JSON)"])
    assert [section.question for section in report.sections] == list(CLINICAL_PROMPTS)
    assert report.sections[0].answer == patient.said("bot")[0]
    assert [exchange.question for exchange in report.conversation] == patient.said("user")
    assert files["PDF"].startswith(b"%PDF") and b"<html" in files["Web page"]
    assert json.loads(files["Medical record (FHIR)"])["resourceType"] == "DiagnosticReport"

    links = [link.get_attribute("href") for link in patient.at("downloads").get_by_role("link").all()]
    patient.restart()
    expect(patient.at("downloads")).to_be_hidden()
    expect(patient.at("chat")).to_be_hidden()
    gone = [patient.page.request.get(patient.url.rstrip("/") + str(link)).status for link in links]
    assert gone == [404] * 5
    patient.add(photograph(tmp_path, 1))
    expect(patient.at("photo_status")).to_have_text(words.READY)
    assert patient.describe() == Chat(*load_model()).start(photograph(tmp_path, 1)).ask(CLINICAL_PROMPTS[0]).strip()


def test_a_sign_that_needs_a_doctor_is_told_first(patient: Patient, tmp_path: Path) -> None:
    patient.begin(saved(drawing(disease="psoriasis"), tmp_path / "a.png"))
    patient.describe()
    expect(patient.at("flags")).to_be_hidden()
    patient.ask("My mole has been bleeding <i>since</i> Monday", 2)
    flags = patient.page.get_by_role("alert")
    expect(flags).to_contain_text(words.FLAGS_TITLE)
    expect(flags).to_contain_text("bleed")
    expect(patient.at("status")).to_have_text(words.SEE_FLAGS)
    assert flags.bounding_box()["y"] < patient.at("chat").bounding_box()["y"]  # type: ignore[index]
    patient.restart()
    expect(patient.at("flags")).to_be_hidden()


def test_experts_see_speed_checkpoint_and_where_the_model_looked(patient: Patient, tmp_path: Path) -> None:
    patient.begin(photograph(tmp_path))
    patient.describe()
    patient.button(words.EXPERTS).click()
    expect(patient.at("speed")).to_contain_text(re.compile(r"\d+ tokens per second"))
    expect(patient.at("checkpoint")).to_contain_text(re.compile("[0-9a-f]{64}"))
    patient.at("show_heatmap").click()
    expect(patient.at("heatmap").locator("img")).to_be_visible()
    assert all(patient.shown("heatmap"))
    conversation = Chat(*load_model()).start(photograph(tmp_path))
    conversation.ask(CLINICAL_PROMPTS[0])
    patient.set(longest=3)
    assert patient.ask("Is it red?", 2) == conversation.ask("Is it red?", Sampling(max_new_tokens=3)).strip()


def test_a_half_typed_question_stays_whatever_else_is_pressed(patient: Patient, tmp_path: Path) -> None:
    file = saved(drawing(), tmp_path / "a.png")
    patient.begin(file)
    patient.box.fill("Is it")
    patient.describe()
    expect(patient.box).to_have_value("Is it")
    patient.button(next(iter(words.SUGGESTIONS))).click()
    patient.answer(2)
    expect(patient.box).to_have_value("Is it")
    patient.set(longest=3)
    patient.at("report").click()
    expect(patient.at("downloads")).to_be_visible()
    patient.wait()
    expect(patient.box).to_have_value("Is it")
    patient.at("show_heatmap").click()
    expect(patient.at("heatmap").locator("img")).to_be_visible()
    patient.wait()
    expect(patient.box).to_have_value("Is it")
    patient.box.press("Enter")
    patient.answer(3)
    assert patient.said("user")[-1] == "Is it"
    expect(patient.box).to_have_value("")
    patient.box.fill("for this photograph only")
    patient.restart()
    patient.add(file)
    expect(patient.box).to_have_value("")


def test_a_setting_that_cannot_be_is_named_and_nothing_is_lost(patient: Patient, tmp_path: Path) -> None:
    patient.begin(saved(drawing(), tmp_path / "a.png"))
    answer = patient.describe()
    for seed in (-5, 1e23):
        patient.set(seed=seed)
        patient.type("What is it?")
        expect(patient.at("status")).to_contain_text("“Seed” (under “For experts”) must be a whole number from 0 to")
        expect(patient.box).to_have_value("What is it?")
        expect(patient.page.get_by_text("Error", exact=True)).to_have_count(0)
        assert patient.said("bot") == [answer]
        patient.set(seed=1)
        patient.at("show_heatmap").click()  # the line tells of something else
        expect(patient.at("status")).to_have_text(words.SEE_HEATMAP)
        patient.wait()
    patient.at("ask").click()
    assert patient.answer(2)


def test_keys_are_enough(patient: Patient) -> None:
    patient.open()
    press = patient.page.keyboard.press

    def go_to(name: str) -> None:
        for _ in range(40):
            press("Tab")
            if name in patient.page.evaluate("document.activeElement.innerText + document.activeElement.placeholder"):
                return
        raise AssertionError(f"no key leads to {name}")

    go_to(words.ACCEPT)
    press("Enter")
    expect(patient.at("upload")).to_be_visible()
    go_to("melanoma")
    press("Enter")
    expect(patient.at("photo_status")).to_have_text(words.DRAWN)
    go_to(words.START)
    press("Enter")
    assert patient.answer(1)
    go_to(words.QUESTION)
    patient.page.keyboard.type("Is it dangerous?")
    press("Enter")
    assert patient.answer(2)
    go_to(words.RESTART)
    press("Enter")
    expect(patient.at("upload")).to_be_visible()


def test_two_patients_side_by_side_hear_their_own(patients: Callable[..., Patient], tmp_path: Path) -> None:
    files = [photograph(tmp_path, number) for number in (2, 3)]
    both = [patients(), patients()]
    for each, file in zip(both, files, strict=True):
        each.begin(file)
        each.at("start").click()
    chat = Chat(*load_model())
    for each, file in zip(both, files, strict=True):
        conversation = chat.start(file)
        assert each.answer(1) == conversation.ask(CLINICAL_PROMPTS[0]).strip()
        assert each.ask("Is it dangerous?", 2) == conversation.ask("Is it dangerous?").strip()
    address = both[1].url.rstrip("/") + str(both[1].page.get_attribute("#photograph img", "src"))
    assert [each.page.request.get(address).status for each in both] == [404, 200]
