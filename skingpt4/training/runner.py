"""From settings to a trained projection: read the data, encode it once, load the decoder, train, save."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from skingpt4.config import save_settings
from skingpt4.data.loading import load_records
from skingpt4.data.records import Record
from skingpt4.errors import TrainingError
from skingpt4.processor import Processor
from skingpt4.settings import Settings
from skingpt4.training.devices import SharedChunks, build_accelerator, prepare
from skingpt4.training.inputs.features import caches_features
from skingpt4.training.inputs.photographs import Inputs, prepare_inputs
from skingpt4.training.loop import fit
from skingpt4.training.objective import Objective
from skingpt4.training.reports.answers_page import answers_page
from skingpt4.training.reports.log import RunLog
from skingpt4.training.reports.run_record import RunRecord
from skingpt4.training.reports.trackers import require_trackers
from skingpt4.training.samples import InputOf, Positions, SampleStream, batches
from skingpt4.training.state import Progress, disk_errors_explained, has_checkpoints, load_state
from skingpt4.weights.build import build_model, require_files

SETTINGS_FILE = "settings.yaml"


def train(steps: Sequence[Settings], resume: bool = False) -> Path:
    """Run one or more training steps, one after the other; returns the folder of the last run.

    resume: go on where each step's `output_dir` stands. Raises `SkinGPTError`s that say what to do; a folder that holds
    a run already is not overwritten.
    """
    for settings in steps:
        with disk_errors_explained(Path(settings.run.output_dir)):
            train_step(settings, resume)
    return Path(steps[-1].run.output_dir)


def train_step(settings: Settings, resume: bool) -> None:
    """Train one step as `settings` say. (See `train`.)"""
    run = settings.run
    folder = Path(run.output_dir)
    has_run = has_checkpoints(folder)
    if has_run and not resume and not run.resume_ckpt_path:
        raise TrainingError(f"{folder} holds a run already. Go on with --resume, or give another run.output_dir.")
    goes_on_from = run.resume_ckpt_path or (run.output_dir if resume and has_run else "")
    if run.threads:
        torch.set_num_threads(run.threads)
    require_trackers(run.trackers)
    accelerator = build_accelerator(settings)
    set_seed(run.seed)
    require_files(settings.model)
    data = load_records(settings.data, settings.model.prompt_path, run.seed)
    for report in data.reports:
        accelerator.print(report.summary())
    with RunRecord(settings, data, accelerator, resumed=bool(goes_on_from)) as record:
        inputs = prepare_inputs(data, settings, accelerator)
        run.iters_per_epoch = run.iters_per_epoch or math.ceil(
            len(inputs.data.train) / _global_batch(settings, accelerator)
        )
        record.learns_from(inputs.data)
        _train_on(inputs, settings, accelerator, goes_on_from)


def _train_on(inputs: Inputs, settings: Settings, accelerator: Accelerator, goes_on_from: str) -> None:
    """Load the decoder and train. goes_on_from: a run's folder or one of its checkpoints; empty = from the start."""
    run, is_main = settings.run, accelerator.is_main_process
    folder = Path(run.output_dir)
    from_pixels = not caches_features(settings.data)
    model, processor = build_model(settings, with_encoder=from_pixels, sharded=run.shard_decoder)
    objective, optimizer = prepare(accelerator, Objective(model, from_pixels), settings)
    progress = load_state(goes_on_from, model, optimizer, accelerator.scaler) if goes_on_from else Progress()
    if is_main:
        save_settings(settings, folder / SETTINGS_FILE)
    total_steps = run.max_epoch * run.iters_per_epoch
    stream = SampleStream(inputs.data.train, inputs.train, inputs.views, run.seed)
    positions = _positions(settings, accelerator, progress.step, total_steps)
    training = batches(stream, positions, processor, _workers(settings), _pin(model.device))
    validation = _validation(settings, accelerator, inputs.data.validation, inputs.validation, processor)
    answers = answers_page(settings, is_main, inputs.data.validation, inputs.validation, model, processor)
    with RunLog(folder, folder.name, total_steps, progress.step, is_main, run.trackers, answers) as log:
        fit(accelerator, objective, model, optimizer, settings, training, validation, progress, log)


def _global_batch(settings: Settings, accelerator: Accelerator) -> int:
    return settings.run.batch_size_train * settings.run.accum_grad_iters * accelerator.num_processes


def _positions(settings: Settings, accelerator: Accelerator, first: int, last: int) -> Positions:
    run = settings.run
    rank, ranks = accelerator.process_index, accelerator.num_processes
    return Positions(first, last, run.accum_grad_iters, run.batch_size_train, rank, ranks)


def _workers(settings: Settings) -> int:
    return 0 if caches_features(settings.data) else settings.run.num_workers


def _pin(device: torch.device) -> bool:
    return device.type == "cuda"


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
    size = settings.run.batch_size_eval
    chunks = SharedChunks(len(records), size, accelerator.process_index, accelerator.num_processes)
    return batches(stream, chunks, processor, _workers(settings), _pin(accelerator.device))
