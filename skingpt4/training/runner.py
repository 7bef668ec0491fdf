"""From settings to a trained projection: read the data, encode it once, load the decoder, train, save."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from skingpt4.config import save_settings
from skingpt4.data.loading import LoadedData, load_records
from skingpt4.data.records import ImageRef, Record
from skingpt4.data.sequences import Records
from skingpt4.errors import DataError, ImageError, TrainingError
from skingpt4.images import open_image
from skingpt4.processor import Processor
from skingpt4.settings import Settings
from skingpt4.training.devices import build_accelerator, prepare
from skingpt4.training.features import Pixels, cached_features
from skingpt4.training.log import RunLog, with_progress
from skingpt4.training.loop import fit
from skingpt4.training.samples import InputOf, Positions, SampleStream, batches
from skingpt4.training.state import STATE_FILE, Progress, load_state
from skingpt4.weights.build import build_model, require_files
from skingpt4.weights.checkpoint import LAST

SETTINGS_FILE = "settings.yaml"


def train(steps: Sequence[Settings], resume: bool = False) -> Path:
    """Run one or more training steps, one after the other; returns the folder of the last run.

    resume: go on where each step's `output_dir` stands. Raises `SkinGPTError`s that say what to do; a folder that holds
    a run already is not overwritten.
    """
    for settings in steps:
        train_step(settings, resume)
    return Path(steps[-1].run.output_dir)


def train_step(settings: Settings, resume: bool) -> None:
    """Train one step as `settings` say. (See `train`.)"""
    run = settings.run
    folder = Path(run.output_dir)
    has_run = (folder / LAST / STATE_FILE).is_file()
    if has_run and not resume and not run.resume_ckpt_path:
        raise TrainingError(f"{folder} holds a run already. Go on with --resume, or give another run.output_dir.")
    if run.threads:
        torch.set_num_threads(run.threads)
    accelerator = build_accelerator(settings)
    set_seed(run.seed)
    require_files(settings.model)
    data = load_records(settings.data, settings.model.prompt_path, run.seed)
    if accelerator.is_main_process:
        for report in data.reports:
            accelerator.print(report.summary())
    data = _without_bad_images(data, settings)
    run.iters_per_epoch = run.iters_per_epoch or math.ceil(len(data.train) / _global_batch(settings, accelerator))
    with accelerator.main_process_first():  # one process computes the features, the others read them
        inputs = _inputs(settings, data.train, settings.data.random_crop)
        validation_inputs = _inputs(settings, data.validation, random_crop=False) if data.validation else None
    model, processor = build_model(settings, with_encoder=not settings.data.cache_features)
    objective, optimizer = prepare(accelerator, model, settings)
    goes_on = run.resume_ckpt_path or (run.output_dir if resume and has_run else "")
    progress = load_state(goes_on, model, optimizer, accelerator.scaler) if goes_on else Progress()
    if accelerator.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        save_settings(settings, folder / SETTINGS_FILE)
        (folder / "data.json").write_text(json.dumps(_data_summary(data), indent=2), encoding="utf-8")
    total_steps = run.max_epoch * run.iters_per_epoch
    stream = SampleStream(data.train, inputs, _views(settings), run.seed)
    training = batches(
        stream,
        _positions(settings, accelerator, progress.step, total_steps),
        processor,
        _workers(settings),
        _pin(model.device),
    )
    validation = _validation(settings, accelerator, data.validation, validation_inputs, processor)
    with RunLog(folder, folder.name, total_steps, progress.step, accelerator.is_main_process) as log:
        fit(accelerator, objective, model, optimizer, settings, training, validation, progress, log)


def _global_batch(settings: Settings, accelerator: Accelerator) -> int:
    return settings.run.batch_size_train * settings.run.accum_grad_iters * accelerator.num_processes


def _positions(settings: Settings, accelerator: Accelerator, first: int, last: int) -> Positions:
    run = settings.run
    rank, ranks = accelerator.process_index, accelerator.num_processes
    return Positions(first, last, run.accum_grad_iters, run.batch_size_train, rank, ranks)


def _views(settings: Settings) -> int:
    if not settings.data.random_crop:
        return 1
    return settings.data.cached_views if settings.data.cache_features else 1 << 30  # on the fly: a new crop each time


def _workers(settings: Settings) -> int:
    return 0 if settings.data.cache_features else settings.run.num_workers


def _pin(device: torch.device) -> bool:
    return device.type == "cuda"


def _inputs(settings: Settings, records: Records, random_crop: bool) -> InputOf:
    """What the objective sees of a record: features from the cache, or pixels decoded now."""
    if not settings.data.cache_features:
        return Pixels(settings.model.image_size, random_crop, settings.run.seed)
    place: dict[ImageRef, int] = {}
    of_record = np.array([place.setdefault(image, len(place)) for image in records.images()])
    folder = Path(settings.data.feature_cache or Path(settings.run.output_dir) / "features")
    features = cached_features(settings, list(place), random_crop, folder, with_progress)
    return lambda number, image, view: features(of_record[number], view)


def _validation(
    settings: Settings,
    accelerator: Accelerator,
    records: Sequence[Record],
    inputs: InputOf | None,
    processor: Processor,
) -> torch.utils.data.DataLoader | None:
    if inputs is None:
        return None
    stream = SampleStream(records, inputs, views=1, seed=settings.run.seed, shuffle=False)
    mine = list(range(accelerator.process_index, len(records), accelerator.num_processes))
    size = settings.run.batch_size_eval
    chunks = [mine[start : start + size] for start in range(0, len(mine), size)]
    return batches(stream, chunks, processor, _workers(settings), _pin(accelerator.device))


def _without_bad_images(data: LoadedData, settings: Settings) -> LoadedData:
    """Leave out records whose photograph cannot be read, where the settings say `skip`; count them aloud."""
    if settings.data.on_bad_image == "error":
        return data
    bad: dict[ImageRef, str] = {}
    kept = LoadedData(_readable(data.train, bad), _readable(data.validation, bad), data.reports)
    if bad:
        print(
            f"{len(bad)} unreadable photographs are skipped: "
            + "; ".join(list(bad.values())[:5])
            + (" …" if len(bad) > 5 else "")
        )
    if not kept.train:
        raise DataError("No readable photograph is left to train on.")
    return kept


def _readable(records: Records, bad: dict[ImageRef, str]) -> Records:
    """The records whose photograph can be read; the others' errors are noted in `bad`."""
    images, last, kept = records.images(), None, []
    for number in with_progress(range(len(records)), "looking for unreadable photographs", len(records)):
        image = next(images)
        if image != last and image not in bad:  # records of one photograph mostly follow one another
            try:
                open_image(image)
            except ImageError as error:
                bad[image] = str(error)
        last = image
        if image not in bad:
            kept.append(number)
    return records.select(np.array(kept, int))


def _data_summary(data: LoadedData) -> dict[str, object]:
    return {
        "training_pairs": len(data.train),
        "validation_pairs": len(data.validation),
        "sources": [report.summary() for report in data.reports],
    }
