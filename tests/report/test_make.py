"""How a report is made: what is asked, told on the way, kept and left out."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from PIL import Image
from PIL.ImageChops import difference
from pypdf import PdfReader

from skingpt4 import __version__
from skingpt4.chat.conversation import Chat
from skingpt4.chat.notices import GO_ON
from skingpt4.chat.photo_check import ADVICE
from skingpt4.engines.sampling import Sampling
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.report.content import UNSEEN, Report
from skingpt4.report.files import report_bytes
from skingpt4.report.identity import identity_of
from skingpt4.report.make import LONGEST_SIDE_PX, make_report, mentioned_concepts, report_steps
from skingpt4.settings import Settings
from skingpt4.vocabulary import CLINICAL_PROMPTS, EMBEDDED_NOTICE, NOT_A_DIAGNOSIS

SHORT = Sampling(max_new_tokens=3)


def test_the_four_prompts_are_answered_in_order_as_chat_answers_them(
    report: Report, chat: Chat, photograph: Image.Image
):
    conversation = chat.start(photograph)
    assert [section.question for section in report.sections] == list(CLINICAL_PROMPTS)
    assert [section.name for section in report.sections] == ["description", "features", "cause", "treatment"]
    assert [section.answer for section in report.sections] == [conversation.ask(each) for each in CLINICAL_PROMPTS]
    assert "ulcer" in report.sections[1].answer


def test_what_must_be_read_first_is_there(report: Report):
    assert report.notices == (UNSEEN, NOT_A_DIAGNOSIS, EMBEDDED_NOTICE)
    assert report.conversation[0].question.startswith("My mole bleeds")
    assert report.conversation[0].pictures == 1
    bleeding = next(flag for flag in report.red_flags if any("bleed" in each.words for each in flag.evidence))
    assert {each.said_by for each in bleeding.evidence} == {"user"}
    named = {each.words for flag in report.red_flags for each in flag.evidence if each.said_by == "answer"}
    assert "squamous cell carcinoma" in named


def test_what_the_model_forgot_is_in_the_report_and_raises_its_flags(
    chat: Chat, embedded: Settings, photograph: Image.Image
):
    conversation = chat.start(photograph)
    conversation.add_turn("My mole bleeds.", "Please see a doctor.")
    conversation.add_turn("And " + "where " * 800, "I cannot tell.")
    conversation.ask("Is it contagious? " * 20, SHORT)
    assert conversation.dropped_turns >= 1
    report = make_report(chat, photograph, embedded, SHORT, conversation)
    assert len(report.conversation) == 3
    assert any(each.words.startswith("mole") for flag in report.red_flags for each in flag.evidence)
    assert any("forgotten" in remark for remark in report.remarks)


def test_concepts_of_all_answers_are_explained_in_skincons_order():
    found = mentioned_concepts(["Erythema with two papules.", "No scale is seen.", "Nothing."])
    assert [each.name for each in found] == ["Papule", "Scale", "Erythema"]
    assert all(each.words and each.source_url.startswith("https://") for each in found)


def test_steps_tell_how_far_it_is(chat: Chat, embedded: Settings, photograph: Image.Image):
    steps = list(report_steps(chat, photograph, embedded, SHORT))
    numbers = [step.section for step in steps]
    assert numbers == sorted(numbers) and set(numbers) == {1, 2, 3, 4}
    assert str(steps[0]) == "Section 1 of 4: Description"
    assert [step.report for step in steps[:-1]] == [None] * (len(steps) - 1)
    report = steps[-1].report
    assert report is not None
    for number, section in enumerate(report.sections, 1):
        assert [step.answer for step in steps if step.section == number and not step.report][-1] == section.answer
    assert len(report.remarks) == 4 and "cut off after 3 tokens" in report.remarks[0]


def test_closing_stops_within_a_token(chat: Chat, embedded: Settings, photograph: Image.Image):
    made: list[int] = []
    hook = chat.model.decoder.register_forward_hook(lambda *_: made.append(1))
    try:
        steps = report_steps(chat, photograph, embedded)
        while not next(steps).answer:
            pass
        before = len(made)
        steps.close()
        assert before > 0 and len(made) == before
    finally:
        hook.remove()


def test_the_users_conversation_is_used_again_and_stays_as_it_is(
    tiny_model: tuple[SkinGPT4, Processor], tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    picture, other = Image.new("RGB", (40, 30), "brown"), Image.new("RGB", (30, 30), "blue")
    chat = Chat(*tiny_model)
    conversation = chat.start(picture)
    conversation.ask("Is it new?", SHORT)
    conversation.add_image(other)
    conversation.ask("And this?", SHORT)
    before = conversation.to_dict()
    monkeypatch.setattr(chat, "encode", lambda _: pytest.fail("the photograph was encoded again"))
    report = make_report(chat, picture, tiny_settings, SHORT, conversation)
    assert conversation.to_dict() == before
    assert [each.question for each in report.conversation] == ["Is it new?", "And this?"]
    monkeypatch.undo()
    assert report.sections == make_report(chat, picture, tiny_settings, SHORT).sections


def test_what_was_forgotten_is_told(
    tiny_model: tuple[SkinGPT4, Processor], tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    chat = Chat(*tiny_model)
    monkeypatch.setattr(type(chat.engine), "context_tokens", property(lambda _: 400))
    report = make_report(chat, Image.new("RGB", (30, 30), "brown"), tiny_settings, Sampling(max_new_tokens=60))
    assert any("forgotten" in remark for remark in report.remarks)
    assert all(section.answer for section in report.sections)


def test_nothing_of_the_file_or_the_machine_is_in_it(
    tiny_model: tuple[SkinGPT4, Processor], tiny_settings: Settings, tmp_path: Path
):
    camera = Image.new("RGB", (3000, 200), "tan")
    exif = camera.getexif()
    exif[0x010E], exif[0x010F] = "patient Jane Roe", "Phone of Jane"
    exif.get_ifd(0x8825)[1] = "N"
    camera.save(tmp_path / "jane_roe.jpg", exif=exif, comment=b"Jane's arm", dpi=(72, 72))
    with Image.open(tmp_path / "jane_roe.jpg") as opened:
        assert opened.getexif() and opened.info["comment"]
        report = make_report(Chat(*tiny_model), opened, tiny_settings, SHORT)
    text = report.to_json().decode()
    for secret in ("Jane", "jane", str(tmp_path), str(Path(tiny_settings.model.llama_model).parent), str(Path.home())):
        assert secret not in text
    assert max(report.picture.width, report.picture.height) == LONGEST_SIDE_PX
    for picture in (report.picture, report.heatmap):
        assert picture is not None and b"Jane" not in picture.data and b"Exif" not in picture.data
        shown = Image.open(io.BytesIO(picture.data))
        assert shown.format == "JPEG" and not shown.getexif() and "comment" not in shown.info
        assert shown.size == (picture.width, picture.height)


def test_the_picture_is_the_one_that_was_given(report: Report, photograph: Image.Image):
    shown = Image.open(io.BytesIO(report.picture.data))
    assert shown.size == photograph.size
    assert max(high for _, high in difference(shown, photograph).getextrema()) < 40
    assert report.made_at.tzinfo is not None


def test_identity_tells_checkpoints_apart(tiny_model: tuple[SkinGPT4, Processor], tiny_settings: Settings):
    chat = Chat(*tiny_model)
    first = identity_of(chat, tiny_settings)
    assert first.version == __version__ and first.decoder.startswith("llm (llama, ")
    assert first == identity_of(chat, tiny_settings)
    with torch.no_grad():
        chat.model.llama_proj.bias[0] += 1e-3
    second = identity_of(chat, tiny_settings)
    assert {key for key, value in asdict(second).items() if value != asdict(first)[key]} == {"projection"}
    tiny_settings.model.llama_model = "C:\\Users\\Jane Roe\\vicuna-13b"
    assert "Jane" not in identity_of(chat, tiny_settings).decoder


def test_a_photograph_that_is_not_good_enough_is_told_and_the_report_made_all_the_same(
    chat: Chat, embedded: Settings, photograph: Image.Image, report: Report
):
    night = photograph.point(lambda value: value // 9)
    made = make_report(chat, night, embedded, SHORT)
    assert report.photo_advice == ()
    assert ADVICE["dark"] in made.photo_advice and made.photo_advice[-1] == GO_ON
    assert len(made.sections) == 4
    for name in ("html", "md", "json"):
        assert ADVICE["dark"] in report_bytes(made, name).decode(), name
        assert GO_ON not in report_bytes(report, name).decode(), name
    record = json.loads(report_bytes(made, "fhir"))
    assert ADVICE["dark"] in record["conclusion"] and ADVICE["dark"] in record["text"]["div"]
    page = " ".join(PdfReader(io.BytesIO(report_bytes(made, "pdf"))).pages[0].extract_text().split())
    assert ADVICE["dark"] in page
