"""What a user sees in the terminal."""

from __future__ import annotations

import io
import signal
import sys
from pathlib import Path

import pytest
from PIL import Image
from recital import ids_of, teach

from skingpt4.chat.conversation import Chat
from skingpt4.chat.notices import notices
from skingpt4.commands import terminal
from skingpt4.engines.sampling import Sampling
from skingpt4.errors import ImageError, WeightsError
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.processor import Processor
from skingpt4.prompts import Turn
from skingpt4.settings import Settings
from skingpt4.vocabulary import EMBEDDED_NOTICE, NOT_A_DIAGNOSIS

SHORT = Sampling(max_new_tokens=8)


@pytest.fixture
def photo(tmp_path: Path) -> str:
    path = tmp_path / "arm.png"
    Image.new("RGB", (60, 40), (190, 120, 100)).save(path)
    return str(path)


def type_in(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


@pytest.fixture
def reciting(tiny_model: tuple[SkinGPT4, Processor]) -> Chat:
    model, processor = tiny_model
    teach(model, processor, ids_of(processor, "▁Pl", "aqu", "e", "##", "#"))
    return Chat(model, processor)


def test_questions_are_answered_one_after_the_other_and_nothing_else_is_printed(
    tiny_settings: Settings, photo: str, capsys: pytest.CaptureFixture[str], tiny_model: tuple[SkinGPT4, Processor]
) -> None:
    assert terminal.run(tiny_settings, photo, ["What?", "Why?"], SHORT) == 0
    output = capsys.readouterr()
    conversation = Chat(*tiny_model).start(photo)
    expected = [terminal.printable(conversation.ask(question, SHORT)) for question in ("What?", "Why?")]
    assert output.out == "".join(f"{answer}\n" for answer in expected)
    assert NOT_A_DIAGNOSIS in output.err


def test_signs_that_need_a_doctor_are_said_once(
    reciting: Chat, photo: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    type_in(monkeypatch, "Does it look bad?", "My mole is bleeding and growing.", "And now?", "/restart", "It bleeds")
    terminal.Talk(reciting, photo, SHORT).converse([])
    told = capsys.readouterr().err
    assert told.count("A mole or dark spot that changes") == 1
    assert told.count("A spot or sore that bleeds") == 2  # after /restart it is news again


def test_one_more_picture_joins_the_talk(
    reciting: Chat, photo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other arm.png"
    Image.new("RGB", (60, 40), (90, 120, 100)).save(other)
    type_in(monkeypatch, f"/add {photo}", "What?", f"/add '{other}'", "/add", "And this?")
    talk = terminal.Talk(reciting, None, SHORT)
    assert talk.converse([]) == 0
    assert talk._conversation is not None
    assert [turn.images for turn in talk._conversation.turns] == [1, 1]
    printed = capsys.readouterr().out
    assert f"A new conversation about {photo}." in printed
    assert f"{other} is shown with your next question." in printed
    assert "Give the picture's file: /add FILE" in printed


def test_a_talk_with_commands(
    reciting: Chat, photo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "note.png").write_text("no picture")
    type_in(
        monkeypatch, "What?", "", "/image", f"/image {tmp_path}/none.png", f"/image {tmp_path}/note.png", "/what",
        "/help", "And?", "/restart", f"/image '{photo}'", "/quit", "never read",
    )  # fmt: skip
    talk = terminal.Talk(reciting, photo, SHORT)
    assert talk.converse([NOT_A_DIAGNOSIS]) == 0
    output = capsys.readouterr().out.replace(terminal.PROMPT, "")
    assert output.splitlines() == [
        NOT_A_DIAGNOSIS,
        terminal.HELP,
        "SkinGPT-4: Plaque",
        "Give the picture's file: /image FILE",
        f"{tmp_path}/none.png does not exist.",
        f"{tmp_path}/note.png is no image that can be read (JPEG, PNG, WebP, TIFF, BMP, GIF, HEIC, AVIF or DICOM were "
        "expected). Save the picture as JPEG or PNG.",
        f"/what is no command. {terminal.HELP}",
        terminal.HELP,
        "SkinGPT-4: Plaque",
        f"A new conversation about {photo}.",
        f"A new conversation about {photo}.",
    ]
    assert sys.stdin.read() == "never read\n"


def test_restart_forgets_and_a_wrong_picture_does_not(
    reciting: Chat, photo: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    talk = terminal.Talk(reciting, photo, SHORT)
    type_in(monkeypatch, "What?", "/image nowhere.png", "And?")
    talk.converse([])
    assert talk._conversation is not None and len(talk._conversation.turns) == 2
    type_in(monkeypatch, "/restart")
    talk.converse([])
    assert talk._conversation.turns == []


@pytest.mark.usefixtures("terminal_signals")
def test_ctrl_c_stops_the_answer_and_not_the_program(
    reciting: Chat, photo: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = 0

    def press(*_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            signal.raise_signal(signal.SIGINT)

    reciting.model.decoder.register_forward_pre_hook(press)
    type_in(monkeypatch, "What?", "And?")
    talk = terminal.Talk(reciting, photo, SHORT)
    assert talk.converse([]) == 0
    lines = capsys.readouterr().out.replace(terminal.PROMPT, "").splitlines()
    assert lines[1:3] == ["SkinGPT-4: Plaqu (stopped)", "SkinGPT-4: Plaque"]
    assert talk._conversation is not None
    assert [turn.reply for turn in talk._conversation.turns] == ["Plaqu", "Plaque"]


def test_an_empty_answer_and_forgotten_turns_are_told(
    tiny_model: tuple[SkinGPT4, Processor],
    photo: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, processor = tiny_model
    teach(model, processor, ids_of(processor, "###"))
    chat = Chat(model, processor)
    alone = sum(map(len, chat.start(photo).segments([Turn("What?", images=1)])))
    model.decoder.config.max_position_embeddings = alone + SHORT.max_new_tokens  # room for one turn
    type_in(monkeypatch, "What?", "What?")
    terminal.Talk(chat, photo, SHORT).converse([])
    output = capsys.readouterr()
    assert output.out.count("SkinGPT-4: (no answer)") == 2
    assert output.err == "(The conversation grew long: the oldest question was forgotten. The picture stays.)\n"


def test_without_a_picture_it_asks_for_one(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    type_in(monkeypatch, "What?")
    assert terminal.run(tiny_settings, None) == 0
    assert "First give a picture: /image FILE" in capsys.readouterr().out
    with pytest.raises(ImageError, match="There is no picture to ask about; give one with --image FILE"):
        terminal.run(tiny_settings, None, "What?")


def test_what_is_missing_is_told_before_the_first_question(tiny_settings: Settings, photo: str) -> None:
    tiny_settings.model.vit_weights, tiny_settings.model.llama_model = "nowhere/vit.pth", "nowhere/llm"
    with pytest.raises(ImageError, match=r"nowhere\.png does not exist"):
        terminal.run(tiny_settings, "nowhere.png", "What?")
    with pytest.raises(WeightsError, match=r"(?s)2 weight files are missing.*nowhere/vit\.pth.*nowhere/llm"):
        terminal.run(tiny_settings, photo, "What?")


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert terminal.printable("a\x1b[2J\x07b\r\n\tc é €") == "a[2Jb\n\tc é €"


def test_the_small_model_says_what_it_was_trained_on(tiny_settings: Settings) -> None:
    assert notices(tiny_settings) == [NOT_A_DIAGNOSIS]
    tiny_settings.model.llama_model = "embedded/decoder"
    assert notices(tiny_settings) == [NOT_A_DIAGNOSIS, EMBEDDED_NOTICE]


def test_an_ascii_terminal_gets_replacements_instead_of_a_failure(
    reciting: Chat, photo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
    terminal._print_any_character()
    print("caf\u00e9", flush=True)
    assert written.getvalue().rstrip() == b"caf?"
