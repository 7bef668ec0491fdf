"""A page of validation photographs with the answer that is expected and the one the model gives now."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from skingpt4.chat.conversation import Chat
from skingpt4.chat.notices import NO_ANSWER, notices
from skingpt4.data.card.pictures import thumbnail
from skingpt4.data.records import Record
from skingpt4.durable import replacing
from skingpt4.errors import SkinGPTError
from skingpt4.evaluation.figures.metrics import micro_macro_f1
from skingpt4.evaluation.parsing import named_concepts, named_disease
from skingpt4.prompts import Turn
from skingpt4.training.reports.run_folder import ANSWERS_FILE, ANSWERS_PAGE, CURVES_FILE, json_line, read_lines
from skingpt4.vocabulary import CONCEPTS

if TYPE_CHECKING:
    from torch import Tensor

    from skingpt4.model.skingpt4 import SkinGPT4
    from skingpt4.processor import Processor
    from skingpt4.settings import Settings
    from skingpt4.training.samples import InputOf

_TEMPLATE = Path(__file__).with_name("answers.html")
MORE_TOKENS = 20  # that an answer may be longer than the longest expected one: bounds the time of a page
MOST_EARLIER = 12  # earlier answers on the page, spread over the run; all of them are in answers.jsonl


@dataclass
class Shown:
    """A photograph on the page. picture: a `data:` URL, empty where the file cannot be read. concepts, disease: those
    that the expected answer names, which is what an answer is checked for.
    """

    image: str
    question: str
    expected: str
    picture: str
    concepts: list[str]
    disease: str
    answer: str = ""
    earlier: list[tuple[int, str]] = field(default_factory=list)

    @classmethod
    def of(cls, record: Record) -> Shown:
        """The first question and answer of a record."""
        expected = record.answers[0]
        is_list = bool(record.concepts) and set(record.concepts) <= named_concepts(expected)
        disease = record.disease if record.disease and named_disease(expected, [record.disease]) else ""
        concepts = list(record.concepts) if is_list else []
        return cls(str(record.image), record.questions[0], expected, _picture(record), concepts, disease)

    @property
    def marks(self) -> list[tuple[str, str]]:
        """What to say about the answer: (class, text). Classes: right, missed, extra."""
        found = named_concepts(self.answer)
        marks = [("right" if name in found else "missed", name) for name in self.concepts]
        if self.concepts:
            marks += [("extra", name) for name in CONCEPTS if name in found and name not in self.concepts]
        if self.disease:
            marks.append(("right" if self.names_disease else "missed", self.disease))
        return marks

    @property
    def names_disease(self) -> bool:
        """Whether the answer names the disease."""
        return named_disease(self.answer, [self.disease]) is not None


def answers_page(
    settings: Settings,
    is_main_process: bool,
    validation: Sequence[Record],
    input_of: InputOf | None,
    model: SkinGPT4,
    processor: Processor,
) -> AnswersPage | None:
    """The page of this run (see `AnswersPage`); None on processes that have no part in it, without validation data, and
    with `run.shown_images` 0.
    """
    takes_part = is_main_process or settings.run.shard_decoder
    if input_of is None or not validation or not settings.run.shown_images or not takes_part:
        return None
    return AnswersPage(settings, validation, input_of, model, processor)


class AnswersPage:
    """`answers.html` in a run's folder, with every answer so far in `answers.jsonl`.

    validation: `run.shown_images` of these records, evenly spread, are shown. input_of: what the objective sees of a
    record, features float[Q, W], or pixels float[3, S, S] where the model has its encoder.
    """

    def __init__(
        self,
        settings: Settings,
        validation: Sequence[Record],
        input_of: InputOf,
        model: SkinGPT4,
        processor: Processor,
    ):
        self._settings, self._model, self._chat = settings, model, Chat(model, processor)
        self._folder = Path(settings.run.output_dir)
        # A decoder that is spread over processes speaks only when all of them take part.
        self.on_every_process = settings.run.shard_decoder
        count = min(settings.run.shown_images, len(validation))
        numbers = np.linspace(0, len(validation), count, endpoint=False).astype(int).tolist()
        records = [validation[number] for number in numbers]
        self._inputs = torch.stack([input_of(n, r.image, 0) for n, r in zip(numbers, records, strict=True)])
        self._shown = [Shown.of(record) for record in records]
        longest = max(len(processor.tokenizer.encode(shown.expected)) for shown in self._shown)
        self._max_new_tokens = min(processor.max_answer_tokens, longest + MORE_TOKENS)

    def update(self, step: int, write: bool = True) -> dict[str, float]:
        """Ask again, greedily, and write page and lines; returns the share of what is right.

        The figures: `concept_f1` (micro) of the answers that list concepts, `disease_named` of those that name a
        disease, each where there are any, and with them `shown`, the number of photographs. write: False where another
        process does. Raises `OSError` where the folder cannot be written.
        """
        started = time.perf_counter()
        conversations = [[Turn(shown.question, images=1)] for shown in self._shown]
        was_training = self._model.training
        self._model.eval()
        try:
            answers = self._chat.answer_conversations(self._features(), conversations, self._max_new_tokens)
        finally:
            self._model.train(was_training)
        for shown, answer in zip(self._shown, answers, strict=True):
            shown.answer = answer
        figures = self._figures()
        if write:
            self._write(step, figures, time.perf_counter() - started)
        return figures

    @torch.inference_mode()
    def _features(self) -> Tensor:
        """float[n, Q, W]; pixels are encoded each time, as the encoder may be in training."""
        if self._inputs.ndim == 3:
            return self._inputs
        return self._model.encode_images(self._inputs.to(self._model.device))

    def _figures(self) -> dict[str, float]:
        lists = [shown for shown in self._shown if shown.concepts]
        named = [shown for shown in self._shown if shown.disease]
        figures: dict[str, float] = {}
        if lists:
            truth, found = [set(shown.concepts) for shown in lists], [named_concepts(shown.answer) for shown in lists]
            figures["concept_f1"] = round(micro_macro_f1(truth, found)[0], 4)
        if named:
            figures["disease_named"] = round(sum(shown.names_disease for shown in named) / len(named), 4)
        return {**figures, "shown": len(self._shown)} if figures else {}

    def _write(self, step: int, figures: dict[str, float], seconds: float) -> None:
        from jinja2 import Environment, StrictUndefined

        lines = self._folder / ANSWERS_FILE
        before = [line for line in read_lines(lines) if line.get("step", 0) < step]
        for shown in self._shown:
            mine = [
                line for line in before if (line.get("image"), line.get("question")) == (shown.image, shown.question)
            ]
            kept = sorted(set(np.linspace(0, len(mine) - 1, MOST_EARLIER).astype(int).tolist())) if mine else []
            shown.earlier = [(mine[index]["step"], mine[index]["answer"]) for index in kept]
        with lines.open("a", encoding="utf-8") as file:
            file.writelines(json_line(_line(step, shown)) for shown in self._shown)
        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        text = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
            name=self._folder.resolve().name,
            step=f"{step:,}",
            time=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
            seconds=f"{seconds:.1f}",
            figures=figures,
            all_shown=self._shown,
            curves=CURVES_FILE,
            no_answer=NO_ANSWER,
            notices=notices(self._settings),
        )
        with replacing(self._folder / ANSWERS_PAGE) as partial:
            partial.write_text(text, encoding="utf-8")


def _line(step: int, shown: Shown) -> dict[str, Any]:
    return {
        "step": step,
        "image": shown.image,
        "question": shown.question,
        "expected": shown.expected,
        "answer": shown.answer,
    }


def _picture(record: Record) -> str:
    try:
        return thumbnail(record.image)
    except (SkinGPTError, OSError):  # its features may come from a cache; the page then has its name only
        return ""
