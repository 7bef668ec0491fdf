"""From a model and many pictures to a table of what it says about them: `skingpt4 predict`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from skingpt4.chat.batch import BATCH
from skingpt4.chat.load import load_chat
from skingpt4.chat.photo_check import load_photo_check
from skingpt4.errors import DataError, DeviceError, SettingsError
from skingpt4.evaluation.answers import Processes, launched_processes, projection_sha256, same_plan
from skingpt4.prediction.asking import Asker, Plan, Prepared
from skingpt4.prediction.parts import (
    PLAN_FILE,
    PartWriter,
    Prediction,
    cannot_be_written,
    count_errors,
    done_numbers,
    held,
    join_parts,
    remove_parts,
)
from skingpt4.prediction.pictures import Pictures, find_pictures
from skingpt4.settings import Settings
from skingpt4.training.inputs.features import decoding_threads
from skingpt4.training.inputs.prefetch import in_order
from skingpt4.training.reports.log import with_progress

if TYPE_CHECKING:
    from accelerate import PartialState

FILES = (".jsonl", ".parquet")


@dataclass(frozen=True)
class Job:
    """What to ask about, and where to write it. source, images: as `find_pictures` takes them. out: a `.jsonl` or
    `.parquet` file, or a folder for Parquet files. batch_size: pictures answered side by side. force: begin anew where
    something is there. Raises `SettingsError` for a batch size out of range.
    """

    settings: Settings
    source: Path
    out: Path
    plan: Plan
    images: str = ""
    batch_size: int = 16
    force: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= BATCH:
            raise SettingsError(f"--batch-size is {self.batch_size}; it must be 1 to {BATCH}.")

    @property
    def parts(self) -> Path:
        """Where predictions are written while the asking goes on; a folder stays, a file takes its place in the end."""
        return self.out.with_name(f"{self.out.name}.parts") if self.out.suffix in FILES else self.out


@dataclass(frozen=True)
class Outcome:
    """asked: pictures that were to be asked about. failed: those of them that could not be read."""

    asked: int
    failed: int


def predict(job: Job) -> Outcome | None:
    """Ask about every picture and write the answers; what an earlier call wrote is not asked again. Returns None on all
    processes but the first.

    Raises `DataError` where there is no picture, where `out` holds something else or another call is writing to it, and
    where nothing can be written; `DeviceError` where the memory does not suffice; `SettingsError`, `WeightsError` and
    `QuestionError`. What was asked before is kept.
    """
    _check_out(job)
    pictures = find_pictures(job.source, job.images)
    processes = launched_processes(job.settings)
    is_main = processes is None or processes.is_main_process
    with held(job.parts) if is_main else nullcontext():  # told before minutes of loading
        _ask(job, pictures, processes)
        return _outcome(job, pictures) if is_main else None


def _ask(job: Job, pictures: Pictures, processes: PartialState | None) -> None:
    """Write to `job.parts` what is not there yet."""
    chat = load_chat(job.settings)
    asker = Asker(chat, job.plan, job.batch_size, load_photo_check(job.settings))
    if processes is None or processes.is_main_process:
        if job.force:
            remove_parts(job.parts)
        _claim(job, pictures, projection_sha256(chat))
    try:
        ask_all(asker, pictures, job.parts, decoding_threads(job.settings), processes)
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"The memory does not suffice for {job.batch_size} pictures at once. Call again with a smaller "
            "--batch-size; what is done is kept."
        ) from error
    if processes:
        processes.destroy_process_group()


def _outcome(job: Job, pictures: Pictures) -> Outcome:
    """Leave the answers where they were wanted, if all are there."""
    if left := len(pictures) - len(done_numbers(job.parts)):
        raise DataError(
            f"{left:,} of {len(pictures):,} pictures have no row in {job.parts}: its files were changed meanwhile, or "
            "some processes write to another disk. Call again with --out on a disk that all of them see; what is there "
            "is kept."
        )
    outcome = Outcome(len(pictures), count_errors(job.parts))
    if job.parts != job.out:
        join_parts(job.parts, job.out)
        remove_parts(job.parts)
    return outcome


def ask_all(asker: Asker, pictures: Pictures, folder: Path, threads: int, processes: Processes | None = None) -> None:
    """Write to `folder` what is not there yet, of this process's share. threads: decode pictures ahead of the model."""
    index, count = (processes.process_index, processes.num_processes) if processes else (0, 1)
    if processes:
        processes.wait_for_everyone()  # nobody writes into the folder of another run
    left = np.setdiff1d(np.arange(len(pictures)), done_numbers(folder))
    if processes:
        processes.wait_for_everyone()  # nobody writes before all have seen what is left
    groups = [left[first : first + asker.together].tolist() for first in range(0, len(left), asker.together)]
    mine = groups[index::count]
    images = (pictures.image(number) for group in mine for number in group)
    prepared = in_order(asker.prepare, images, threads, ahead=max(2 * threads, asker.together))
    with PartWriter(folder) as parts:
        for place in _shown(range(len(mine)), f"Asking about {len(left):,} pictures, in batches", index == 0):
            parts.add(_predictions(asker, mine[place], pictures.names, prepared))
    if processes:
        processes.wait_for_everyone()


def _predictions(
    asker: Asker, numbers: Sequence[int], names: Sequence[str], prepared: Iterator[Prepared | str]
) -> list[Prediction]:
    """One for each picture; prepared: gives them in this order."""
    given = [(number, next(prepared)) for number in numbers]
    good = [(number, picture) for number, picture in given if isinstance(picture, Prepared)]
    said = asker.ask([picture for _, picture in good]) if good else []
    found = [Prediction(number, names[number], **values) for (number, _), values in zip(good, said, strict=True)]
    found += [Prediction(number, names[number], error=why) for number, why in given if isinstance(why, str)]
    return sorted(found, key=lambda each: each.number)


def _shown(batches: range, what: str, is_main: bool) -> Iterable[int]:
    return with_progress(batches, what, len(batches)) if is_main and batches else batches


def _check_out(job: Job) -> None:
    """Before minutes of loading."""
    if job.out.suffix and job.out.suffix not in FILES and not job.out.is_dir():
        raise DataError(f"--out {job.out}: a file that ends with {' or '.join(FILES)}, or a folder, was expected.")
    if job.out.exists() and job.source.exists() and job.out.samefile(job.source):
        raise DataError(f"--out {job.out} is what is asked about; name another place for the answers.")
    is_file = job.parts != job.out
    if job.out.is_dir() if is_file else job.out.is_file():
        raise DataError(f"--out {job.out} is a {'folder' if is_file else 'file'} already; name another place.")
    if is_file and job.out.exists() and not (job.parts / PLAN_FILE).exists() and not job.force:
        raise DataError(f"{job.out} is there already; give --force to replace it, or another --out.")


def _claim(job: Job, pictures: Pictures, projection: str) -> None:
    """Note beside the parts what they depend on (but for the frozen weights, which are too large to be read for that),
    or see that it is the same.
    """
    if len(done_numbers(job.parts)) and not (job.parts / PLAN_FILE).exists():
        raise DataError(
            f"{job.parts} holds answers, but not what was asked ({PLAN_FILE} is gone). Give --force to begin anew, or "
            "another --out."
        )
    names = hashlib.sha256(json.dumps(list(pictures.names)).encode()).hexdigest()
    model = {name: value for name, value in vars(job.settings.model).items() if name != "ckpt"}
    identity = {"pictures": names, "plan": asdict(job.plan), "model": {**model, "projection": projection}}
    try:
        same_plan(job.parts / PLAN_FILE, json.loads(json.dumps(identity)), "prediction")
    except OSError as error:
        raise cannot_be_written(job.parts, error) from error
