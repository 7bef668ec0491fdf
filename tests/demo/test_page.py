"""The page through its real server, over HTTP as a browser speaks it, on loopback; and the visits behind it."""

from __future__ import annotations

import gc
import io
import socket
import threading
import weakref
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from PIL import Image
from recital import ids_of, teach
from visitors import Tab

from skingpt4.chat.conversation import Chat
from skingpt4.chat.notices import better_picture
from skingpt4.chat.photo_check import load_photo_check
from skingpt4.config import embedded_settings
from skingpt4.demo.page import panels, words
from skingpt4.demo.page.examples import examples
from skingpt4.demo.page.expert import sampling_of
from skingpt4.demo.page.line import BusyError, Line
from skingpt4.demo.page.visit import Visit
from skingpt4.demo.server import launch as demo_page
from skingpt4.demo.server.access import Access
from skingpt4.demo.server.launch import OpenPage
from skingpt4.engines.sampling import Sampling
from skingpt4.errors import DeviceError, ImageError, SettingsError
from skingpt4.prompts import Turn
from skingpt4.settings import Settings
from skingpt4.vocabulary import CLINICAL_PROMPTS, NOT_A_DIAGNOSIS
from skingpt4.weights.build import build_model

GREEDY = (0.0, 1.0, 12, 1.0, 1, 0)  # temperature, top-p, longest answer, repetition penalty, beams, seed
SHORT = Sampling(max_new_tokens=12)


@pytest.fixture
def tab(page: OpenPage) -> Tab:
    return Tab(page.local_url)


def photograph(shade: int) -> Image.Image:
    return Image.linear_gradient("L").resize((64, 48)).point(lambda value: (value + shade) % 256).convert("RGB")


def show(tab: Tab, shade: int = 0) -> None:
    with io.BytesIO() as file:
        photograph(shade).save(file, "PNG")
        assert tab.told("look", tab.upload(file.getvalue())) == words.READY


def said(shown: list[Any]) -> list[tuple[str, str]]:
    """The messages in what a handler returned, (role, text as the browser gets it)."""
    lists = [each.get("value") for each in shown if isinstance(each, dict)]
    messages = next(each for each in lists if isinstance(each, list))
    return [(message["role"], message["content"][0]["text"]) for message in messages]


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def test_a_question_in_two_turns_gets_the_models_answers(tab: Tab, chat: Chat) -> None:
    show(tab)
    conversation = chat.start(photograph(0))
    expected = []
    for question in CLINICAL_PROMPTS[:2]:
        answer = conversation.ask(question, SHORT)
        expected += [("user", question), ("assistant", escaped(answer))]
        assert said(tab.call("ask", question, *GREEDY)) == expected


def test_two_visitors_do_not_hear_each_other(page: OpenPage, chat: Chat) -> None:
    answers: dict[int, list[tuple[str, str]]] = {}

    def visit(number: int) -> None:
        tab = Tab(page.local_url)
        show(tab, 90 * number)
        answers[number] = said(tab.call("ask", f"Question of {number}?", *GREEDY))

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(2):
        expected = chat.start(photograph(90 * number)).ask(f"Question of {number}?", SHORT)
        assert answers[number] == [("user", f"Question of {number}?"), ("assistant", escaped(expected))]
    assert answers[0][1] != answers[1][1]


def test_starting_again_forgets_picture_and_talk(tab: Tab) -> None:
    show(tab)
    assert len(said(tab.call("ask", "What?", *GREEDY))) == 2
    body = {"data": [], "fn_index": tab.functions["restart"], "session_hash": tab.page}
    answer = tab.browser.post("/gradio_api/run/predict", json=body).raise_for_status().json()["data"]
    assert said(answer) == [] and words.WAITING_FOR_PHOTOGRAPH in str(answer)
    assert tab.told("ask", "And now?", *GREEDY) == words.GONE


def test_sampling_reaches_the_model(tab: Tab) -> None:
    answers = []
    for sampling in (GREEDY, (1.0, 1.0, 12, 1.0, 1, 3), (1.0, 1.0, 12, 1.0, 1, 3), (1.0, 1.0, 12, 1.0, 1, 4)):
        show(tab)
        answers.append(said(tab.call("ask", "What?", *sampling)))
    assert answers[1][-2:] == answers[2][-2:]
    assert len({str(answer[-1]) for answer in answers}) == 3


@pytest.mark.parametrize(
    ("place", "value", "label"),
    [
        (0, float("nan"), "Temperature"),
        (1, 0, "Top-p"),
        (2, 2.5, "Longest answer"),
        (3, "much", "Repetition penalty"),
        (4, 9, "Beams"),
        (5, -5, "Seed"),
        (5, 1e23, "Seed"),
        (5, 10**400, "Seed"),
    ],
)
def test_a_setting_that_cannot_be_is_told_by_its_name(place: int, value: object, label: str) -> None:
    numbers: list[object] = [*GREEDY]
    numbers[place] = value
    with pytest.raises(SettingsError, match=f"“{label}”.* must be a (whole )?number from"):
        sampling_of(numbers)


def test_settings_that_cannot_be_end_in_the_line_of_state(tab: Tab) -> None:
    show(tab)
    for function, question in (("ask", ["What?"]), ("report", [])):
        assert tab.told(function, *question, *GREEDY[:5], -5).startswith("⚠ “Seed”")
    assert len(said(tab.call("ask", "What?", *GREEDY[:5], None))) == 2  # an empty box is the default


def test_html_in_a_question_is_shown_not_obeyed(tab: Tab) -> None:
    show(tab)
    assert said(tab.call("ask", "<img src=x>?", *GREEDY))[0] == ("user", "&lt;img src=x&gt;?")
    flagged = str(tab.call("ask", "My mole <b>bleeds</b>", *GREEDY))
    assert words.FLAGS_TITLE in flagged and "<b>bleeds" not in flagged


def test_another_browser_gets_nothing_of_a_page(page: OpenPage, tab: Tab) -> None:
    show(tab)
    tab.call("ask", "What?", *GREEDY)
    stranger = Tab(page.local_url)
    stranger.page = tab.page
    with pytest.raises(RuntimeError, match="the line broke"):
        stranger.call("ask", "And?", *GREEDY)
    body = {"data": [], "fn_index": tab.functions["restart"], "session_hash": tab.page}
    assert stranger.browser.post("/gradio_api/run/predict", json=body).status_code >= 400
    assert len(said(tab.call("ask", "Still here?", *GREEDY))) == 4


def test_conversations_leave_memory_when_they_are_over(page: OpenPage, tab: Tab) -> None:
    show(tab)
    tab.call("ask", "What is this word: zyzzogeton?", *GREEDY)
    held = weakref.ref(page.sessions._held[tab.page].conversation)
    assert tab.page in page.blocks.state_holder.session_data
    page.sessions.forget_visitor(page.sessions._owners[tab.page])
    gc.collect()
    assert held() is None
    assert tab.page not in page.blocks.state_holder.session_data


def test_disclaimer_model_and_suggestions_are_on_the_page(page: OpenPage) -> None:
    values = [str(component["props"].get("value")) for component in page.blocks.config["components"]]
    assert sum(NOT_A_DIAGNOSIS in value for value in values) == 2  # before the start, and beside the answers
    assert any("SkinGPT-4" in value and "banner" in value for value in values)
    assert [value for value in values if value in words.SUGGESTIONS] == list(words.SUGGESTIONS)
    assert [words.START_PROMPT, *words.SUGGESTIONS.values()] == list(CLINICAL_PROMPTS)


def test_a_taken_port_is_told(chat: Chat, settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DeviceError, match=rf"Port {port} of 127.0.0.1 is taken; choose another with --port"):
            demo_page.open_page(chat, settings, Access(port=port))


def visit_of(chat: Chat, line: Line | None = None, take: Callable[[], Image.Image] = lambda: photograph(0)) -> Visit:
    visit = Visit(chat, line or Line(4, words.BUSY))
    list(visit.look(take, lambda _: "/kept/x", words.READY, "alt"))
    return visit


def test_the_answer_grows_and_a_stopped_one_ends_and_the_talk_goes_on(
    tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skingpt4.demo.page.visit.SHOW_SECONDS", 0)
    model, processor = tiny_model
    teach(model, processor, ids_of(processor, "▁a", "▁the", "▁a"))  # would go on for ever
    visit = visit_of(Chat(model, processor))
    growing = []
    for _ in visit.ask("What?", Sampling(max_new_tokens=1000)):
        growing.append(visit.conversation_shown[-1]["content"])
        if growing[-1] == "a the a the":
            visit.stop()
    assert growing[0] == words.THINKING
    assert all(later.startswith(earlier) for earlier, later in pairwise(growing[1:]))
    assert len(growing[-1].split()) <= 5  # within one token
    assert visit.status == words.STOPPED and not visit.busy
    assert visit.conversation is not None and visit.conversation.turns[0].reply == growing[-1]
    list(visit.ask("And?", Sampling(max_new_tokens=2)))
    assert visit.messages[-1]["content"] == "a the"


def test_a_question_that_cannot_be_answered_is_taken_back_to_where_it_was_typed(tiny_model: Any) -> None:
    visit = visit_of(Chat(*tiny_model))
    question = "? ! " * 900  # few characters, many tokens
    list(visit.ask(question, Sampling()))
    assert visit.messages == [] and not visit.busy
    assert visit.draft == question.strip() and visit.status.startswith("⚠ The question is too long")


def test_a_question_of_many_pages_is_told_before_others_wait_for_it(tiny_model: Any) -> None:
    visit = visit_of(Chat(*tiny_model))
    question = "<s" * 200_000 + ">" * 200_000
    list(visit.ask(question, Sampling()))
    assert visit.status == words.TOO_LONG and visit.draft == question and visit.messages == []
    list(visit.ask("What \ud800 is it?", Sampling(max_new_tokens=2)))
    assert visit.messages[0]["content"] == "What  is it?" and len(visit.messages) == 2


def test_no_answer_and_forgotten_turns_are_told(tiny_model: Any) -> None:
    model, processor = tiny_model
    teach(model, processor, ids_of(processor, "###"))
    visit = visit_of(Chat(model, processor))
    assert visit.conversation is not None
    alone = sum(map(len, visit.conversation.segments([Turn("What?", images=1)])))
    model.decoder.config.max_position_embeddings = alone + 8  # room for one turn
    told = []
    for _ in range(2):
        list(visit.ask("What?", Sampling(max_new_tokens=8)))
        told.append(visit.status)
    assert visit.messages[1] == {"role": "assistant", "content": "(no answer)"}
    assert told == [
        words.ANSWERED,
        "(The conversation grew long: the oldest question was forgotten. The picture stays.)",
    ]


def test_a_refused_picture_is_told_and_faults_are_told_in_plain_words(
    tiny_model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> Image.Image:
        raise ImageError("the picture is damaged.")

    def fail() -> Image.Image:
        raise ValueError("secret of a patient")

    visit = visit_of(Chat(*tiny_model), take=refuse)
    assert visit.photo_status == "⚠ The picture is damaged." and visit.conversation is None
    visit = visit_of(Chat(*tiny_model), take=fail)
    assert visit.photo_status == f"⚠ {words.FAULT}" and not visit.busy
    assert "ValueError" in caplog.text and "secret" not in caplog.text


def test_the_line_lets_one_after_the_other_and_tells_when_it_is_full(tiny_model: Any) -> None:
    line = Line(1, words.BUSY)
    visits = [visit_of(Chat(*tiny_model), line) for _ in range(2)]
    with line.place() as working:
        assert working.ahead() == 0
        waits = visits[0].ask("What?", SHORT)
        told = [visits[0].status for _, _ in zip(range(2), waits, strict=False)]
        assert told == [words.THINKING, words.waiting(1)]
        list(visits[1].ask("And I?", SHORT))  # one works, one waits: no room for a third
        assert visits[1].status == f"⚠ {words.BUSY}"
        assert visits[1].messages == [] and visits[1].draft == "And I?"
    list(waits)
    assert visits[0].status == words.ANSWERED
    with line.place() as free, pytest.raises(BusyError), line.place(), line.place():
        assert free.ahead() == 0


def test_who_leaves_the_line_makes_room(tiny_model: Any) -> None:
    line = Line(1, words.BUSY)
    visit = visit_of(Chat(*tiny_model), line)
    with line.place():
        waits = visit.ask("What?", SHORT)
        next(waits), next(waits)
        waits.close()  # the tab was closed
        assert visit.messages == [] and not visit.busy
        with line.place() as next_one:
            assert next_one.ahead() == 1


def test_a_better_photograph_is_asked_for_and_the_question_answered_all_the_same() -> None:
    settings = embedded_settings()
    chat, check = Chat(*build_model(settings)), load_photo_check(settings)
    assert check is not None
    visit = Visit(chat, Line(4, words.BUSY), check=check)
    wall = Image.new("RGB", (300, 200), (40, 90, 200))
    list(visit.look(lambda: wall, lambda _: "/kept/x", words.READY, "alt"))
    assert visit.photo_status == words.READY
    assert visit.advice == better_picture(check.look(chat.encode(wall), wall)) != ()
    shown = panels.photo_advice(visit.advice)
    assert words.BETTER_PICTURE in shown and all(line in shown for line in visit.advice)
    list(visit.ask("What is it?", Sampling(max_new_tokens=4)))
    assert visit.messages[-1]["role"] == "assistant" and visit.messages[-1]["content"]
    for example in examples():
        list(visit.look(lambda example=example: example.picture, lambda _: "/kept/x", words.DRAWN, "alt"))
        assert visit.advice == (), example.name
    assert panels.photo_advice(()) == ""
