"""The page, through its real server and Gradio's own client, on loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio import Blocks
from gradio_client import Client, handle_file
from PIL import Image
from recital import ids_of, teach

from skingpt4.chat.conversation import Chat
from skingpt4.demo import page as demo_page
from skingpt4.demo.visit import READY, WAITING, Visit
from skingpt4.engines.sampling import Sampling
from skingpt4.errors import DeviceError
from skingpt4.prompts import Turn
from skingpt4.settings import Settings
from skingpt4.vocabulary import CLINICAL_PROMPTS, NOT_A_DIAGNOSIS

GREEDY = (0.0, 1.0, 12, 0)  # temperature, top-p, longest answer, seed


@pytest.fixture(scope="module")
def settings(tiny_checkpoints: Path) -> Settings:
    from tiny_models import settings_for

    return settings_for(tiny_checkpoints)


@pytest.fixture(scope="module")
def chat(settings: Settings) -> Chat:
    from skingpt4.weights.build import build_model

    return Chat(*build_model(settings))


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def page(chat: Chat, settings: Settings, uploads: Path) -> Iterator[Blocks]:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {"GRADIO_SHARE": "True", "GRADIO_SERVER_NAME": "0.0.0.0"}.items():
            environment.setenv(name, value)  # what stands in a user's environment must not open the page to others
        for name in ("GRADIO_ANALYTICS_ENABLED", "HF_HUB_OFFLINE", "GRADIO_TEMP_DIR", "NO_PROXY", "no_proxy"):
            environment.setenv(name, "")  # put back afterwards
        opened = demo_page.open_page(chat, settings, None, str(uploads))
        yield opened
        opened.close()


@pytest.fixture
def visitor(page: Blocks) -> Client:
    return Client(page.local_url, verbose=False)


def picture(path: Path, shade: int, orientation: int = 1) -> str:
    image = Image.linear_gradient("L").resize((64, 48)).point(lambda value: (value + shade) % 256).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif, quality=95)
    return str(path)


def look(visitor: Client, path: str) -> str:
    """Add a picture; returns the status line."""
    return visitor.predict(handle_file(path), api_name="/look")[1]


def ask(visitor: Client, question: str, sampling: tuple[float, ...] = GREEDY) -> list[tuple[str, str]]:
    """Ask and wait; returns the messages shown, (role, text)."""
    visitor.predict(question, api_name="/ask")
    return texts(visitor.predict(*sampling, api_name="/answer")[0])


def texts(messages: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"][0]["text"]) for message in messages]


def test_it_listens_on_this_computer_only_and_is_never_shared(page: Blocks) -> None:
    assert page.local_url.startswith("http://127.0.0.1:")
    assert page.server.config.host == "127.0.0.1"
    assert page.share is False and page.share_url is None
    assert page.analytics_enabled is False
    assert demo_page.launch_settings(None)["share"] is False


def test_a_question_in_two_turns_gets_the_models_answers(visitor: Client, chat: Chat, tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg", 0)
    assert look(visitor, path) == READY
    conversation = chat.start(path)
    first, second = (conversation.ask(question, Sampling(max_new_tokens=12)) for question in CLINICAL_PROMPTS[:2])
    assert ask(visitor, CLINICAL_PROMPTS[0]) == [("user", CLINICAL_PROMPTS[0]), ("assistant", escaped(first))]
    assert ask(visitor, CLINICAL_PROMPTS[1])[2:] == [("user", CLINICAL_PROMPTS[1]), ("assistant", escaped(second))]


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def test_the_answer_streams(visitor: Client, tmp_path: Path) -> None:
    look(visitor, picture(tmp_path / "a.jpg", 0))
    visitor.predict("What?", api_name="/ask")
    job = visitor.submit(*GREEDY, api_name="/answer")
    job.result()
    growing = [texts(output[0])[-1][1] for output in job.outputs()]
    assert len(growing) > 5
    assert all(later.startswith(earlier) for earlier, later in pairwise(growing))
    assert len(growing[0]) < len(growing[-1])


def test_two_visitors_do_not_hear_each_other(page: Blocks, chat: Chat, tmp_path: Path) -> None:
    visitors = [Client(page.local_url, verbose=False) for _ in range(2)]
    paths = [picture(tmp_path / f"{number}.jpg", 120 * number) for number in range(2)]
    for visitor, path in zip(visitors, paths, strict=True):
        look(visitor, path)
    for number, visitor in enumerate(visitors):
        visitor.predict(f"Question of {number}?", api_name="/ask")
    jobs = [visitor.submit(*GREEDY, api_name="/answer") for visitor in visitors]
    answers = [texts(job.result()[0]) for job in jobs]
    for number, path in enumerate(paths):
        expected = chat.start(path).ask(f"Question of {number}?", Sampling(max_new_tokens=12))
        assert answers[number] == [("user", f"Question of {number}?"), ("assistant", escaped(expected))]
    assert answers[0][1] != answers[1][1]


def test_starting_again_forgets_picture_and_talk(visitor: Client, tmp_path: Path) -> None:
    look(visitor, picture(tmp_path / "a.jpg", 0))
    assert len(ask(visitor, "What?")) == 2
    messages, status, *_ = visitor.predict(api_name="/restart")
    assert messages == [] and status == WAITING
    assert ask(visitor, "And now?") == []


@pytest.mark.parametrize("content", [b"<html>no picture</html>", b"", b"\x89PNG\r\n\x1a\n torn"])
def test_a_file_that_is_no_picture_is_told_and_the_next_one_works(
    visitor: Client, tmp_path: Path, content: bytes
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(content)
    status = look(visitor, str(bad))
    assert status.startswith("⚠ The picture is ") and str(tmp_path) not in status and "/" not in status
    assert ask(visitor, "What?") == []
    assert look(visitor, picture(tmp_path / "good.jpg", 0)) == READY


def test_a_phones_orientation_is_honoured(visitor: Client, tmp_path: Path) -> None:
    lying, upright = picture(tmp_path / "lying.jpg", 0, orientation=6), tmp_path / "upright.png"
    with Image.open(lying) as image:
        image.transpose(Image.Transpose.ROTATE_270).save(upright)
    answers = []
    for path in (lying, str(upright), picture(tmp_path / "unmarked.jpg", 0)):
        look(visitor, path)
        answers.append(ask(visitor, "What?"))
    assert answers[0] == answers[1] != answers[2]


def test_temperature_and_seed_reach_the_model(visitor: Client, tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg", 0)
    answers = []
    for sampling in (GREEDY, (1.0, 1.0, 12, 3), (1.0, 1.0, 12, 3), (1.0, 1.0, 12, 4)):
        look(visitor, path)
        answers.append(ask(visitor, "What?", sampling))
    assert answers[1] == answers[2]
    assert len({str(answer) for answer in answers}) == 3


def test_html_in_a_question_is_shown_not_obeyed(visitor: Client, tmp_path: Path) -> None:
    look(visitor, picture(tmp_path / "a.jpg", 0))
    assert ask(visitor, "<img src=x>?")[0] == ("user", "&lt;img src=x&gt;?")


def test_the_browser_is_told_to_load_nothing_from_elsewhere(page: Blocks) -> None:
    answer = httpx.get(page.local_url, trust_env=False)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "fonts.googleapis.com" not in answer.text
    assert "fonts.googleapis.com" not in httpx.get(f"{page.local_url}theme.css", trust_env=False).text


def test_disclaimer_and_the_four_prompts_are_on_the_page(page: Blocks) -> None:
    components = [component["props"] for component in page.config["components"]]
    assert any(NOT_A_DIAGNOSIS in str(props.get("value")) for props in components)
    assert [props["value"] for props in components if props.get("value") in CLINICAL_PROMPTS] == list(CLINICAL_PROMPTS)


def test_pictures_go_to_the_given_folder(visitor: Client, uploads: Path, tmp_path: Path) -> None:
    look(visitor, picture(tmp_path / "a_name_to_find.jpg", 0))
    assert [path.name for path in uploads.rglob("a_name_to_find.jpg")] == ["a_name_to_find.jpg"]


def test_a_taken_port_is_told(chat: Chat, settings: Settings, page: Blocks, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DeviceError, match=rf"Port {port} of 127.0.0.1 is taken; choose another with --port"):
            demo_page.open_page(chat, settings, port, str(tmp_path))


def test_a_stopped_answer_ends_and_the_talk_goes_on(tiny_model: Any, tmp_path: Path) -> None:
    model, processor = tiny_model
    teach(model, processor, ids_of(processor, "▁a", "▁the", "▁a"))  # would go on for ever
    visit = Visit.of(Chat(model, processor), picture(tmp_path / "a.jpg", 0))
    assert visit.question("What?") and not visit.question("Too early?")
    for step, _ in enumerate(visit.answer(Sampling(max_new_tokens=1000))):
        if step == 3:
            visit.leave()
    assert visit.messages[1]["content"] == "a the a the"
    assert visit.status.endswith("(stopped)") and not visit.busy
    assert visit.conversation is not None and visit.conversation.turns[0].reply == "a the a the"
    assert visit.question("And?")


def test_a_question_that_cannot_be_asked_is_taken_back(tiny_model: Any, tmp_path: Path) -> None:
    visit = Visit.of(Chat(*tiny_model), picture(tmp_path / "a.jpg", 0))
    assert visit.question("why " * 3000)
    assert list(visit.answer(Sampling())) == []
    assert visit.messages == [] and not visit.busy
    assert visit.status.startswith("⚠ The question is too long")


def test_no_answer_and_forgotten_turns_are_told(tiny_model: Any, tmp_path: Path) -> None:
    model, processor = tiny_model
    teach(model, processor, ids_of(processor, "###"))
    visit = Visit.of(Chat(model, processor), picture(tmp_path / "a.jpg", 0))
    assert visit.conversation is not None
    alone = sum(map(len, visit.conversation.segments([Turn("What?", images=1)])))
    model.decoder.config.max_position_embeddings = alone + 8  # room for one turn
    told = []
    for _ in range(2):
        assert visit.question("What?")
        list(visit.answer(Sampling(max_new_tokens=8)))
        told.append(visit.status)
    assert visit.messages[1] == {"role": "assistant", "content": "(no answer)"}
    assert told == [READY, "(The conversation grew long: the oldest question was forgotten. The picture stays.)"]
