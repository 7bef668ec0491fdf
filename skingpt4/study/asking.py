"""Asking a model the paper's four prompts about every case, with the time that each answer took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from skingpt4.chat.conversation import Chat
from skingpt4.chat.notices import NO_ANSWER
from skingpt4.data.records import ImageRef
from skingpt4.engines.sampling import Sampling
from skingpt4.images import open_image
from skingpt4.report.make import SECTIONS
from skingpt4.study.texts import Answer
from skingpt4.training.reports.run_folder import json_line, read_lines
from skingpt4.vocabulary import CLINICAL_PROMPTS

PICTURE = "picture"  # names the time that the photograph took
_WARM_UP = Sampling(max_new_tokens=4)


def read_answers(path: Path) -> dict[tuple[str, str], Answer]:
    """What has been answered so far, by case and arm. A line that a killed process left torn is passed over."""
    answers = (Answer.of(line) for line in read_lines(path))
    return {(answer.case, answer.arm): answer for answer in answers}


def append_answer(path: Path, answer: Answer) -> None:
    """Write one answer down at once, so that a killed process loses no other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = path.is_file() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if torn else "") + json_line(asdict(answer)))


def ask_model(
    load: Callable[[], Chat], arm: str, images: Mapping[str, ImageRef], sampling: Sampling, path: Path
) -> Iterator[str]:
    """Ask about the cases that are not answered yet and note each answer in `path`; gives the case after each.

    images: by case. load: the model, called only where something is left to ask. Raises `ImageError` and
    `QuestionError` as a conversation does; what was answered before stays noted.
    """
    answered = read_answers(path)
    left = [case for case in images if (case, arm) not in answered]
    if not left:
        return
    chat = load()
    # The first answer of a process pays for what is set up once; no case should.
    chat.start(open_image(images[left[0]])).ask(CLINICAL_PROMPTS[0], _WARM_UP)
    for case in left:
        append_answer(path, answer_case(chat, case, arm, images[case], sampling))
        yield case


def answer_case(chat: Chat, case: str, arm: str, image: ImageRef, sampling: Sampling) -> Answer:
    """The four prompts in one conversation. Decoding the image file is not counted, reading the photograph is."""
    picture = open_image(image)
    started = time.perf_counter()
    conversation = chat.start(picture)
    seconds = {PICTURE: time.perf_counter() - started}
    parts: dict[str, str] = {}
    for (name, _), question in zip(SECTIONS, CLINICAL_PROMPTS, strict=True):
        started = time.perf_counter()
        parts[name] = conversation.ask(question, sampling).strip() or NO_ANSWER
        seconds[name] = time.perf_counter() - started
    return Answer(case, arm, parts, {name: round(value, 4) for name, value in seconds.items()})


def sections_of(answer: Answer, whole: bool) -> Sequence[tuple[str, str]]:
    """(title, text) as forms show them. whole: one text without titles, where another arm has no sections."""
    if whole or len(answer.parts) == 1:
        return [("", "\n\n".join(answer.parts.values()))]
    return [(title, answer.parts[name]) for name, title in SECTIONS]
