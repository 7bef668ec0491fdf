"""`skingpt4 quickstart`: the main job on the embedded default, from drawn photographs to four models compared on one
page.

The two fine-tuning steps run through the same settings files and the same training as at true size.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skingpt4.chat.conversation import Chat
from skingpt4.config import EMBEDDED_FOLDER, load_settings
from skingpt4.data.records import Record
from skingpt4.data.sources.notes import NoteColumns, read_notes
from skingpt4.errors import DataError
from skingpt4.evaluation.ablation.arms import BOTH, Arms
from skingpt4.evaluation.answers import LONGEST_ANSWER
from skingpt4.evaluation.figures.metrics import micro_macro_f1
from skingpt4.evaluation.parsing import named_concepts
from skingpt4.prompts import Turn
from skingpt4.settings import Settings
from skingpt4.tiny.dataset import SETS, SetSize, write_dataset
from skingpt4.tiny.diseases import DISEASES_BY_NAME
from skingpt4.tiny.page import Case, curves_picture, results_table, write_page
from skingpt4.tiny.wording import parse_disease
from skingpt4.training.reports.log import with_progress
from skingpt4.vocabulary import CLINICAL_PROMPTS, CONCEPT_PROMPT, DIAGNOSIS_PROMPTS
from skingpt4.weights.build import build_model
from skingpt4.weights.checkpoint import load_checkpoint

CONFIGS = EMBEDDED_FOLDER.parent / "configs"
SHOWN = 8  # held-out photographs on the page, each of another disease
FOLLOWED = 400  # photographs whose cause is asked
ENOUGH_NAMED = 20  # answers that name a disease, to say something about their causes
MARK = "quickstart.json"  # says that a folder is ours to replace


@dataclass(frozen=True)
class TestSet:
    """Held-out photographs. features: float32[n, Q, W]; records: the lines of `records.jsonl`."""

    images: list[Path]
    records: list[dict[str, Any]]
    features: Tensor


def quickstart(out: Path, force: bool = False, sets: Mapping[str, SetSize] = SETS) -> int:
    """Draw, train, compare, show; leaves everything in `out`. Raises `DataError` when `out` holds something else.

    sets: how many photographs of each kind.
    """
    started = time.perf_counter()
    _prepare(out, force)
    _say(1, "Drawing photographs: synthetic skin, made by this package; no real patient is in them.")
    draw_sets(out, sets)
    _say(2, "Training: step 1 (clinical concepts), then step 2 (diagnoses), then step 2 alone for comparison.")
    arms = Arms.of(drawn_steps(out), out)
    arms.train()
    _say(3, "Asking all four models about photographs that none of them has seen.")
    chat = Chat(*build_model(load_settings(CONFIGS / "model.yaml")[0]))
    test = _read_test_set(chat, out / "data" / "test")
    figures, cases = {}, _cases(test)
    for name, checkpoint in arms.checkpoints.items():
        with torch.no_grad():
            load_checkpoint(chat.model, checkpoint)
        figures[name] = _measure(chat, test, name)
        _show(chat, test, cases, name)
    _say(4, "Drawing curves and the page of pictures.")
    seconds = time.perf_counter() - started
    (out / MARK).write_text(json.dumps({"seconds": round(seconds, 1), "models": figures}, indent=2), encoding="utf-8")
    runs = {
        "step 1": out / "two_step" / "step1",
        "step 2": out / "two_step" / "step2",
        "step 2 alone": out / "step2_only",
    }
    curves_picture(runs, out / "curves.png")
    table = results_table(figures, len(test.images))
    (out / "results.md").write_text(table, encoding="utf-8")
    write_page(out / "page.html", cases, figures, len(test.images), out / "curves.png")
    print(f"\n{table}\nDone in {seconds:.0f} s. Pictures and answers: {out / 'page.html'}")
    print(f"Talk to the model you just trained:\n  skingpt4 demo --cfg-path {out / 'two_step' / 'step2'}")
    return 0


def _say(number: int, text: str) -> None:
    print(f"\n[{number}/4] {text}", flush=True)


def _prepare(out: Path, force: bool) -> None:
    if out.exists() and any(out.iterdir()):
        ours = (out / MARK).exists() or (out / "data" / "step1").exists()
        if not (force and ours):
            hint = "Add --force to replace it" if ours else "It was not made by quickstart"
            raise DataError(f"{out} is not empty. {hint}, or give another folder with --out.")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)


def draw_sets(out: Path, sets: Mapping[str, SetSize]) -> None:
    """Write `out/data/NAME` for each set; one that is there already, whole, stays."""
    for name, size in sets.items():
        if not (out / "data" / name / "records.jsonl").is_file():  # it is written last
            write_dataset(out / "data" / name, size)


def drawn_steps(out: Path, options: Sequence[str] = ()) -> list[Settings]:
    """The shipped settings of both steps, reading the sets of `draw_sets` and keeping features in `out`."""
    steps = load_settings(CONFIGS / "two_step.yaml", [f"data.feature_cache={out / 'features'}", *options])
    for step in steps:
        for source in (*step.data.train, *step.data.validation):
            source.path = str(out / Path(source.path).relative_to("quickstart"))
    return steps


def drawn_records(folder: Path) -> list[Record]:
    """A set of `draw_sets` as records that say all that is known of each photograph."""
    columns = NoteColumns(skin_type="skin_tone", concepts="concepts")
    return [
        replace(record, disease_class=DISEASES_BY_NAME[record.disease].disease_class)
        for record in read_notes(folder / "records.jsonl", folder, columns).records
    ]


def _read_test_set(chat: Chat, folder: Path) -> TestSet:
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()]
    images = [folder / str(record["image"]) for record in records]
    return TestSet(images, records, chat.encode_many(images))


def _measure(chat: Chat, test: TestSet, name: str) -> dict[str, float]:
    """Figures from generated text: concepts, disease, class, and whether the cause fits the disease that was named."""
    count = len(test.images)
    truth = [set(record["concepts"]) for record in test.records]
    answers: dict[str, list[str]] = {}
    named: list[str | None] = []
    for stage in with_progress(range(3), f"  {name}", 3):
        if stage == 0:
            answers["concepts"] = chat.answer_conversations(
                test.features, [[Turn(CONCEPT_PROMPT, 1)]] * count, LONGEST_ANSWER
            )
        elif stage == 1:
            answers["diagnosis"] = chat.answer_conversations(
                test.features, [[Turn(DIAGNOSIS_PROMPTS[1], 1)]] * count, LONGEST_ANSWER
            )
            named = [parse_disease(answer) for answer in answers["diagnosis"]]
        else:
            turns = [
                [Turn(DIAGNOSIS_PROMPTS[1], 1, answer), Turn(CLINICAL_PROMPTS[2])] for answer in answers["diagnosis"]
            ]
            rows = [row for row in range(min(count, FOLLOWED)) if named[row]]
            answers["cause"] = chat.answer_conversations(
                test.features[rows], [turns[row] for row in rows], LONGEST_ANSWER
            )
    micro, macro = micro_macro_f1(truth, [named_concepts(answer) for answer in answers["concepts"]])
    right = [name == record["disease"] for name, record in zip(named, test.records, strict=True)]
    same_class = [
        name is not None and DISEASES_BY_NAME[name].disease_class == record["disease_class"]
        for name, record in zip(named, test.records, strict=True)
    ]
    said = [name for name in named[:FOLLOWED] if name]
    fits = [DISEASES_BY_NAME[name].cause in answer for name, answer in zip(said, answers["cause"], strict=True)]
    figures = {"concepts micro-F1": micro, "concepts macro-F1": macro}
    figures |= {"disease": sum(right) / count, "class": sum(same_class) / count}
    return figures | ({"cause fits": sum(fits) / len(fits)} if len(fits) >= ENOUGH_NAMED else {})


def _cases(test: TestSet) -> list[Case]:
    """The first photograph of each of `SHOWN` diseases, in the order of the test set."""
    first: dict[str, int] = {}
    for row, record in enumerate(test.records):
        first.setdefault(str(record["disease"]), row)
    rows = list(first.values())[:SHOWN]
    return [
        Case(row, test.images[row], str(test.records[row]["disease"]), list(test.records[row]["concepts"]))
        for row in rows
    ]


def _show(chat: Chat, test: TestSet, cases: Sequence[Case], name: str) -> None:
    """The answers for the page: both standard questions, and (from the model of both steps) the four clinical ones."""
    features = test.features[[case.row for case in cases]]
    for question in (CONCEPT_PROMPT, DIAGNOSIS_PROMPTS[1]):
        answers = chat.answer_conversations(features, [[Turn(question, 1)]] * len(cases), LONGEST_ANSWER)
        for case, answer in zip(cases, answers, strict=True):
            case.answers.setdefault(name, []).append(answer)
    if name != BOTH:
        return
    turns: list[list[Turn]] = [[] for _ in cases]
    for question in CLINICAL_PROMPTS:
        turns = [[*asked, Turn(question, 0 if asked else 1)] for asked in turns]
        answers = chat.answer_conversations(features, turns, LONGEST_ANSWER)
        turns = [
            [*asked[:-1], Turn(question, asked[-1].images, answer)]
            for asked, answer in zip(turns, answers, strict=True)
        ]
    for case, asked in zip(cases, turns, strict=True):
        case.conversation = [(turn.question, turn.reply or "") for turn in asked]
