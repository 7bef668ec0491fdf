"""The conversation in a terminal: `skingpt4 chat --image FILE`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from skingpt4.chat.conversation import Chat, Conversation
from skingpt4.chat.load import load_chat
from skingpt4.chat.notices import NO_ANSWER, better_picture, forgotten, notices
from skingpt4.chat.photo_check import PhotoCheck, load_photo_check
from skingpt4.engines.sampling import Sampling
from skingpt4.errors import ImageError, SkinGPTError
from skingpt4.images import open_image
from skingpt4.report.red_flags import URGENCIES, find_red_flags
from skingpt4.settings import Settings

HELP = (
    "Commands: /image FILE (another picture, a new talk), /add FILE (one more picture in this talk), "
    "/restart (forget the talk), /help, /quit. Ctrl-C stops an answer."
)
PROMPT = "You: "


def run(
    settings: Settings,
    image: str | None,
    question: str | Sequence[str] | None = None,
    sampling: Sampling | None = None,
) -> int:
    """Talk about a picture until the user leaves; returns the exit code.

    question: one or several to ask one after the other; then only their answers are printed, the notices to stderr.
    Raises `SkinGPTError` for what the user can mend before the first question; later ones are told in the talk.
    """
    questions = [question] if isinstance(question, str) else list(question or ())
    _print_any_character()
    if image is None and questions:
        raise ImageError("There is no picture to ask about; give one with --image FILE.")
    if image is not None:
        open_image(image)  # a wrong file is told before minutes of loading
    check = load_photo_check(settings)
    talk = Talk(load_chat(settings), image, sampling or Sampling(), check)
    if questions:
        return talk.answer_all(questions, notices(settings))
    return talk.converse(notices(settings))


class Talk:
    """One user in front of a terminal. image: the picture's file; None until the user gives one. check: says where a
    better picture is needed; None = says nothing.
    """

    def __init__(self, chat: Chat, image: str | None, sampling: Sampling, check: PhotoCheck | None = None):
        self._chat = chat
        self._sampling = sampling
        self._check = check
        self._image = image
        self._warned: set[str] = set()
        self._advice: tuple[str, ...] = ()  # about the picture, until it is told
        self._conversation: Conversation | None = self._begin(image) if image is not None else None

    def answer_all(self, questions: Sequence[str], said_first: Iterable[str]) -> int:
        """Print the answers, one paragraph each."""
        for line in said_first:
            print(line, file=sys.stderr)
        self._advise()
        for question in questions:
            self._answer(question)
        return 0

    def converse(self, said_first: Iterable[str]) -> int:
        """Read questions and commands until /quit or the end of input."""
        print("\n".join([*said_first, HELP]))
        if self._image is None:
            print("First give a picture: /image FILE")
        self._advise()
        while True:
            try:
                line = input(PROMPT).strip()
            except EOFError:
                print()
                return 0
            except KeyboardInterrupt:
                print("\n(/quit leaves.)")
                continue
            if line == "/quit":
                return 0
            try:
                self._do(line)
            except SkinGPTError as error:
                print(error)

    def _do(self, line: str) -> None:
        command, _, rest = line.partition(" ")
        if command == "/image":
            self._show(rest)
        elif command == "/add" and self._conversation is not None:
            self._add(self._conversation, _file(rest, command))
            print(f"{_file(rest, command)} is shown with your next question.")
            self._advise()
        elif command == "/add":
            self._show(rest, command)
        elif command == "/restart":
            self._show(self._image or "")
        elif command.startswith("/"):
            print(HELP if command == "/help" else f"{command} is no command. {HELP}")
        elif line:
            try:
                self._answer(line, "SkinGPT-4: ")
            except KeyboardInterrupt:
                print(" (stopped)")

    def _show(self, image: str, command: str = "/image") -> None:
        """A new conversation about this picture; the old one goes on where the file is no picture."""
        file = _file(image, command)
        self._conversation = self._begin(file)
        self._warned.clear()
        self._image = file
        print(f"A new conversation about {file}.")
        self._advise()

    def _begin(self, file: str) -> Conversation:
        conversation = Conversation(self._chat)
        self._add(conversation, file)
        return conversation

    def _add(self, conversation: Conversation, file: str) -> None:
        """Show a picture, and note what the check says of it."""
        picture = open_image(file)
        conversation.add_image(picture)
        self._advice = better_picture(self._check.look(conversation.features[-1], picture)) if self._check else ()

    def _advise(self) -> None:
        """Ask for a better picture, once."""
        for line in self._advice:
            print(f"! {line}", file=sys.stderr)
        self._advice = ()

    def _answer(self, question: str, speaker: str = "") -> None:
        """Print one answer as it is made. Closed by Ctrl-C, the conversation keeps what was said."""
        conversation = self._conversation
        if conversation is None:
            raise ImageError("Give a picture first: /image FILE")
        dropped = conversation.dropped_turns
        self._warn(conversation, question)
        print(speaker, end="", flush=True)
        said = False
        with closing(conversation.stream(question, self._sampling)) as stream:
            for piece in stream:
                print(printable(piece), end="", flush=True)
                said = True
        print("" if said else NO_ANSWER)
        self._warn(conversation)
        if conversation.dropped_turns > dropped:
            print(forgotten(conversation.dropped_turns - dropped), file=sys.stderr)

    def _warn(self, conversation: Conversation, question: str = "") -> None:
        """Say which signs that need a doctor are new; before the answer to a question, and after it."""
        asked = [turn.question for turn in conversation.history] + [question]
        answers = [turn.reply or "" for turn in conversation.history]
        for flag in find_red_flags(asked, answers):
            if flag.id not in self._warned:
                self._warned.add(flag.id)
                print(f"! {URGENCIES[flag.urgency]}: {flag.sign}. {flag.advice}", file=sys.stderr)


def _file(typed: str, command: str) -> str:
    """A file's name as it was typed or dropped into the terminal, perhaps in quotes."""
    if not (name := typed.strip().strip("'\"")):
        raise ImageError(f"Give the picture's file: {command} FILE")
    return str(Path(name).expanduser())


def printable(text: str) -> str:
    """Text without control characters, which a terminal would obey; line ends and tabs stay."""
    return "".join(character for character in text if character.isprintable() or character in "\n\t")


def _print_any_character() -> None:
    """Where the terminal's encoding lacks a character, print a replacement instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
