"""Making a report: the paper's four prompts about one photograph, and what their answers bring with them."""

from __future__ import annotations

import io
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

from skingpt4.chat.conversation import Chat, Conversation
from skingpt4.chat.notices import NO_ANSWER, better_picture, forgotten, notices
from skingpt4.chat.photo_check import load_photo_check
from skingpt4.engines.sampling import Sampling
from skingpt4.images import open_image
from skingpt4.report.content import UNSEEN, Exchange, Picture, Report, Section, readable
from skingpt4.report.glossary import Explanation, concepts_in, glossary
from skingpt4.report.heatmap import heatmap
from skingpt4.report.identity import identity_of
from skingpt4.report.red_flags import Rule, find_red_flags
from skingpt4.settings import Settings
from skingpt4.vocabulary import CLINICAL_PROMPTS

if TYPE_CHECKING:
    from PIL.Image import Image

SectionName = Literal["description", "features", "cause", "treatment"]
# In the order of `CLINICAL_PROMPTS`.
SECTIONS: tuple[tuple[SectionName, str], ...] = (
    ("description", "Description"),
    ("features", "Further features"),
    ("cause", "Possible cause"),
    ("treatment", "Possible treatment"),
)
LONGEST_SIDE_PX = 1600
_QUALITY = 92


@dataclass(frozen=True)
class Progress:
    """Where the making stands. section: 1 to `sections`, with its title and its answer so far. report: at the end."""

    section: int
    sections: int
    title: str
    answer: str = ""
    report: Report | None = None

    def __str__(self) -> str:
        return f"Section {self.section} of {self.sections}: {self.title}"


def make_report(
    chat: Chat,
    picture: str | Path | bytes | Image,
    settings: Settings,
    sampling: Sampling | None = None,
    conversation: Conversation | None = None,
    flags: Sequence[Rule] | None = None,
) -> Report:
    """The whole report; arguments and errors as of `report_steps`."""
    report = None
    for progress in report_steps(chat, picture, settings, sampling, conversation, flags):
        report = progress.report
    assert report is not None
    return report


def report_steps(
    chat: Chat,
    picture: str | Path | bytes | Image,
    settings: Settings,
    sampling: Sampling | None = None,
    conversation: Conversation | None = None,
    flags: Sequence[Rule] | None = None,
) -> Generator[Progress, None, None]:
    """Make a report and tell after every piece of an answer how far it is; the last step brings the report.

    Closing the iterator stops within one token, and nothing is kept. The four prompts are asked in a conversation of
    their own, so the user's stays as it is.
    picture: the photograph, as `open_image` takes it. settings: those that the chat's model was built from.
    conversation: the user's about the same photograph (its first one), whose turns are listed and whose features are
    used again. flags: the signs to look for, from `load_red_flags`; None = the package's own.
    Raises `ImageError` for what is no picture, `QuestionError` where a prompt does not fit into the decoder, and
    `WeightsError` for a photo check that does not belong to the model.
    """
    sampling = sampling or Sampling()
    picture, check = open_image(picture), load_photo_check(settings)
    said = _exchanges(conversation) if conversation else []
    seen = conversation.features if conversation else []
    own = chat.start_from_features(seen[0]) if seen else chat.start(picture)
    sections: list[Section] = []
    remarks: list[str] = []
    for (name, title), question in zip(SECTIONS, CLINICAL_PROMPTS, strict=True):
        here = Progress(len(sections) + 1, len(SECTIONS), title)
        yield here
        answer = ""
        with closing(own.stream(question, sampling)) as pieces:
            for piece in pieces:
                answer += piece
                yield Progress(here.section, here.sections, title, answer)
        sections.append(Section(name, title, question, answer.strip() or NO_ANSWER))
        if own.timing and own.timing.new_tokens >= sampling.max_new_tokens:
            remarks.append(f"The answer “{title}” was cut off after {sampling.max_new_tokens} tokens.")
    dropped = (own.dropped_turns, conversation.dropped_turns if conversation else 0)
    remarks += [forgotten(count) for count in dropped if count]
    answers = [*(section.answer for section in sections), *(exchange.answer for exchange in said)]
    overlay = heatmap(chat, picture)
    report = Report(
        id=str(uuid4()),
        made_at=datetime.now().astimezone().replace(microsecond=0),
        notices=(UNSEEN, *notices(settings)),
        red_flags=tuple(find_red_flags([exchange.question for exchange in said], answers, flags)),
        picture=_picture(picture),
        heatmap=_picture(overlay) if overlay else None,
        sections=tuple(sections),
        conversation=tuple(said),
        concepts=mentioned_concepts(answers),
        remarks=tuple(remarks),
        model=identity_of(chat, settings),
        sampling=sampling,
        photo_advice=better_picture(check.look(own.features[0], picture)) if check else (),
    )
    yield Progress(len(SECTIONS), len(SECTIONS), "done", report=report)


def mentioned_concepts(answers: Sequence[str]) -> tuple[Explanation, ...]:
    """The SKINCON concepts that any of these texts mentions, in SKINCON's order, explained."""
    return tuple(glossary()[name] for name in concepts_in("\n".join(answers)))


def _exchanges(conversation: Conversation) -> list[Exchange]:
    return [
        Exchange(readable(turn.question), readable(turn.reply or "") or NO_ANSWER, turn.images)
        for turn in list(conversation.history)
    ]


def _picture(image: Image) -> Picture:
    """Scaled down where it is large, and written anew as JPEG: nothing of the file that it came from is in it."""
    from PIL import ImageOps

    longest = (LONGEST_SIDE_PX, LONGEST_SIDE_PX)
    shown = ImageOps.contain(image, longest) if max(image.size) > LONGEST_SIDE_PX else image.copy()
    shown.info.clear()  # Pillow would write a comment or a profile that it finds here
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)  # full colour resolution: skin is judged by colour
    return Picture(buffer.getvalue(), shown.width, shown.height)
