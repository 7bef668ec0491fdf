"""Ask a model the same questions about many photographs, and score every candidate answer; can be killed and go on."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy.special import logsumexp
from torch import Tensor

from skingpt4.chat.conversation import Chat
from skingpt4.data.records import Record
from skingpt4.data.sequences import column_of, selected
from skingpt4.data.sources.names import key
from skingpt4.durable import remove, write_whole
from skingpt4.engines.sampling import Sampling
from skingpt4.errors import DataError, WeightsError
from skingpt4.evaluation.candidates import concept_log_odds, diagnosis_log_scores
from skingpt4.evaluation.parsing import named_disease
from skingpt4.evaluation.predictions import SCORES, Predictions
from skingpt4.prompts import Turn
from skingpt4.training.reports.log import with_progress
from skingpt4.vocabulary import CLASSES, CONCEPT_PROMPT, DIAGNOSIS_PROMPTS

if TYPE_CHECKING:
    from accelerate import PartialState

    from skingpt4.chat.photo_check import PhotoCheck
    from skingpt4.settings import Settings

LONGEST_ANSWER = 120  # tokens
PLAN_FILE = "plan.json"


class Processes(Protocol):
    """Which process this is, and how many there are: `accelerate.PartialState` knows."""

    process_index: int
    num_processes: int

    def wait_for_everyone(self) -> None:
        """Return when all processes have come here."""


def launched_processes(settings: Settings) -> PartialState | None:
    """The processes of `accelerate launch` or `torchrun`; None where this is the only one."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    from accelerate import PartialState

    from skingpt4.device import resolve_device
    from skingpt4.training.devices import LONGEST_WAIT

    is_cpu = resolve_device(settings.run.device).type == "cpu"
    return PartialState(cpu=is_cpu, timeout=LONGEST_WAIT)


@dataclass(frozen=True)
class Plan:
    """What is asked. diseases: the candidates of the closed set. class_of: the class of those diseases that have one.
    repeats: how often the diagnosis is asked again, of each of `repeat_cases` cases (drawn by `seed`), with answers
    sampled at `temperature`. batch: cases that are asked about, and kept, together: so many at most are lost when a
    process is killed; more are faster, and take more memory.
    """

    diseases: tuple[str, ...]
    class_of: Mapping[str, str] = field(default_factory=dict)
    classes: bool = True  # score the 15 classes
    concepts: bool = True  # ask for the concepts, and score all 48
    repeats: int = 10
    repeat_cases: int = 100
    temperature: float = 1.0
    seed: int = 0
    batch: int = 16


def predict(
    chat: Chat,
    records: Sequence[Record],
    folder: Path,
    plan: Plan,
    prior: Tensor | None = None,
    features: Tensor | None = None,
    photo_check: PhotoCheck | None = None,
    processes: Processes | None = None,
    what: str = "Asking",
    model: Mapping[str, Any] | None = None,
) -> Predictions:
    """Everything about every record; what an earlier call left in `folder` is not done again.

    Each process asks about its share of the batches of `plan.batch` cases, and all of them return the whole. prior:
    features float[Q, 768] without a picture's content (see `mean_features`), where `plan.concepts`. features:
    float[n, Q, 768] of the records' photographs where they are at hand (None = encode them). photo_check: looks at each
    photograph too. what: names the progress bar. model: settings of the frozen parts, which are too large to be read
    for telling one model from another; the trained weights are looked at. Raises `ImageError` for a photograph that
    cannot be read and `DataError` where the folder holds the answers of another model, or about other cases.
    """
    if not records:
        return Predictions.of_records(records, plan.diseases)
    if plan.concepts and prior is None:
        raise ValueError("Scores of concepts need `prior`; `mean_features` makes one.")
    index, count = (processes.process_index, processes.num_processes) if processes else (0, 1)
    if index == 0:
        identity = _identity(chat, records, plan, prior, photo_check) | {"model": dict(model or {})}
        same_plan(folder / PLAN_FILE, identity)
    if processes:
        processes.wait_for_everyone()  # nobody writes into the folder of another evaluation
    again, batches = _asked_again(len(records), plan), range(-(-len(records) // plan.batch))
    mine = [batch for batch in batches[index::count] if not _part(folder, batch).is_file()]
    # What is taken off the odds of every case is the same for all of them.
    blank = (
        concept_log_odds(chat, prior.unsqueeze(0), None)[0] if prior is not None and plan.concepts and mine else None
    )
    for batch in _shown(mine, what, index == 0):
        rows = np.arange(batch * plan.batch, min((batch + 1) * plan.batch, len(records)))
        known = None if features is None else features[rows]
        cases = list(selected(records, rows))
        answered = _predict_batch(chat, cases, plan, blank, known, photo_check, again[rows], int(rows[0]))
        answered.write(_part(folder, batch))
    if processes:
        processes.wait_for_everyone()
    found = Predictions.read(*(_part(folder, batch) for batch in batches))
    return replace(found, image=Predictions.of_records(records, ()).image)  # unique over all, not within a batch


def _predict_batch(
    chat: Chat,
    records: Sequence[Record],
    plan: Plan,
    blank: np.ndarray | None,
    features: Tensor | None,
    photo_check: PhotoCheck | None,
    again: np.ndarray,
    first_row: int,
) -> Predictions:
    """blank: float64[48], the concepts' odds without a picture, where `plan.concepts`. again: bool[n], which cases are
    asked again. first_row: the number of the first of them among all.
    """
    started = time.perf_counter()
    found = Predictions.of_records(records, plan.diseases)
    if features is None:
        features = chat.encode_many([record.image for record in records])
    diagnoses = _answers(chat, features, DIAGNOSIS_PROMPTS[1])
    scores = _diagnosis_scores(chat, features, plan)
    if plan.concepts:
        assert blank is not None  # `predict` has looked
        scores["concept_answer"] = _answers(chat, features, CONCEPT_PROMPT)
        scores["concept_log_odds"] = concept_log_odds(chat, features, None, scores["concept_answer"]) - blank
    _require_numbers(found.image, scores)
    if plan.repeats:
        scores["repeats"] = [
            _sampled(chat, features[row], plan, first_row + row) if again[row] else None for row in range(len(records))
        ]
    if photo_check is not None:
        scores["photo_score"] = _photo_scores(photo_check, features, records)
    seconds = np.full(len(records), (time.perf_counter() - started) / len(records))
    return replace(found, diagnosis_answer=diagnoses, seconds=seconds, **scores)


def _require_numbers(images: Sequence[str], scores: Mapping[str, Any]) -> None:
    """Figures over what is no number are none; better told at once than when all cases are done."""
    for name in (each for each in SCORES if each in scores and scores[each].shape[1]):
        wrong = np.isnan(scores[name]).any(axis=1) | ~np.isfinite(scores[name]).any(axis=1)
        if wrong.any():
            raise WeightsError(
                f"The model's {name} of {images[int(wrong.argmax())]} are no numbers. Large values do not fit into "
                "fp16: give --options model.precision=bf16 or fp32. If that changes nothing, the weights are damaged."
            )


def _diagnosis_scores(chat: Chat, features: Tensor, plan: Plan) -> dict[str, Any]:
    """`disease_log_scores` and `class_log_scores`, as far as they are wanted; every name is scored once. A class is
    named by its own names and by the data's diseases of it.
    """
    known = {key(disease) for disease in plan.diseases}
    classes = [name for name in CLASSES if key(name) not in known] if plan.classes else []
    labels = [*plan.diseases, *classes]
    if not labels:
        return {}
    scores = diagnosis_log_scores(chat, features, labels)
    found: dict[str, Any] = {"disease_log_scores": scores[:, : len(plan.diseases)]} if plan.diseases else {}
    if plan.classes:
        named = [
            [index for index, label in enumerate(labels) if key(label) == key(name) or plan.class_of.get(label) == name]
            for name in CLASSES
        ]
        found["class_log_scores"] = np.stack([logsumexp(scores[:, columns], axis=1) for columns in named], axis=1)
    return found


def mean_features(chat: Chat, records: Sequence[Record], most: int = 64) -> Tensor:
    """float32[Q, 768]: the mean over (at most so many of, evenly spaced) the records' photographs, as a picture without
    content of its own. Raises `ImageError`.
    """
    chosen = np.unique(np.linspace(0, len(records) - 1, min(most, len(records))).astype(int))
    return chat.encode_many([record.image for record in selected(records, chosen)]).float().mean(dim=0)


def _answers(chat: Chat, features: Tensor, question: str) -> list[str]:
    return chat.answer_conversations(features, [[Turn(question, images=1)]] * len(features), LONGEST_ANSWER)


def _sampled(chat: Chat, features: Tensor, plan: Plan, row: int) -> tuple[str, ...]:
    """The disease that each of `plan.repeats` sampled answers names, "" for none or several."""
    conversation, named = chat.start_from_features(features), []
    for repeat in range(plan.repeats):
        seed = (plan.seed * 1_000_003 + row) * 1009 + repeat  # of its own for each case, whatever the batches
        sampling = Sampling(LONGEST_ANSWER, plan.temperature, seed=seed)
        answer = conversation.ask(DIAGNOSIS_PROMPTS[1], sampling)
        conversation.history.clear()  # asked anew, not again; the decoder keeps what it read of the prompt
        named.append(named_disease(answer, plan.diseases) or "")
    return tuple(named)


def _photo_scores(photo_check: PhotoCheck, features: Tensor, records: Sequence[Record]) -> list[float | None]:
    from skingpt4.images import open_image

    pictures = (open_image(record.image) for record in records)
    return [photo_check.look(of_one, picture).score for of_one, picture in zip(features, pictures, strict=True)]


def _asked_again(count: int, plan: Plan) -> np.ndarray:
    """bool[count]: the cases whose diagnosis is sampled."""
    chosen = np.zeros(count, bool)
    if plan.repeats:
        chosen[np.random.default_rng(plan.seed).permutation(count)[: plan.repeat_cases]] = True
    return chosen


def _part(folder: Path, batch: int) -> Path:
    return folder / f"{batch:06d}.parquet"


def _shown(batches: Sequence[int], what: str, is_main: bool) -> Iterable[int]:
    return with_progress(batches, what, len(batches)) if is_main and batches else batches


def _identity(
    chat: Chat, records: Sequence[Record], plan: Plan, prior: Tensor | None, photo_check: PhotoCheck | None
) -> dict[str, Any]:
    """What answers depend on, but for the frozen parts: the trained weights, the cases and what is asked."""
    cases = hashlib.sha256(json.dumps(Predictions.of_records(records, ()).image).encode())
    for name in ("sha256", "disease", "disease_class"):
        cases.update(json.dumps(column_of(records, name)).encode())
    return {
        "projection": projection_sha256(chat),
        "cases": cases.hexdigest(),
        "plan": {**asdict(plan), "diseases": list(plan.diseases), "class_of": dict(plan.class_of)},
        "prior": prior is not None,
        "photo_check": photo_check.fingerprint if photo_check else "",
    }


def projection_sha256(chat: Chat) -> str:
    """64 hexadecimal digits that tell one fine-tuned model from another."""
    weights = hashlib.sha256()
    for name, tensor in sorted(chat.model.llama_proj.state_dict().items()):
        weights.update(name.encode() + tensor.detach().float().cpu().numpy().tobytes())
    return weights.hexdigest()


def same_plan(file: Path, identity: Mapping[str, Any], what: str = "evaluation") -> None:
    """Note in a file what the answers beside it are about, or raise `DataError` where it says something else. identity:
    as JSON gives it back.
    """
    try:
        noted = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        write_whole(file, json.dumps(identity, indent=2).encode())
        return
    except (OSError, ValueError):
        noted = {}
    differing = [name for name in identity if noted.get(name) != identity[name]]
    if differing:
        raise DataError(
            f"{file.parent} holds the answers of another {what} (other {', '.join(differing)}). Name another folder to "
            "write to, or give --force to begin anew."
        )


def forget(folder: Path) -> None:
    """Delete the answers that `predict` left in a folder, and nothing else."""
    if (folder / PLAN_FILE).is_file():
        remove(folder)
