"""The training loop: fetch, forward, backward, clip, step, schedule, log, save, validate, show. Both fine-tuning steps
are this loop.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.settings import RunSettings, Settings
from skingpt4.training.devices import SharedChunks, loss_weights
from skingpt4.training.reports.log import RunLog
from skingpt4.training.samples import Batch
from skingpt4.training.schedule import learning_rate, leave_out_unless_finite, set_learning_rate
from skingpt4.training.state import Progress, save_state
from skingpt4.training.stopping import Preempted, StopSignals
from skingpt4.training.window import Window, loss_scale
from skingpt4.weights.checkpoint import BEST, load_checkpoint


def fit(
    accelerator: Accelerator,
    objective: nn.Module,
    model: SkinGPT4,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    training: DataLoader,
    validation: DataLoader | None,
    progress: Progress,
    log: RunLog,
) -> Progress:
    """Train from `progress.step` to the end of the run; the model then has its best weights, or without validation its
    last. `settings.run.iters_per_epoch` must be resolved (not 0).

    Raises `Preempted` after a signal, with everything saved, and `TrainingError` when it cannot go on.
    """
    run = settings.run
    total_steps = run.max_epoch * run.iters_per_epoch
    _fit_to_this_run(accelerator, run, progress)
    with StopSignals(accelerator.num_processes) as stop:
        if _is_due(progress.step, run.iters_per_epoch) and progress.validated_step < progress.step:
            _validate(accelerator, objective, model, optimizer, settings, validation, progress, log, stop)
        batches = iter(training)
        window = Window()
        model.train()
        while progress.step < total_steps and not _stops_early(progress, run):
            rate = learning_rate(progress.step, total_steps, run)
            set_learning_rate(optimizer, rate)
            # What is random within a step, if anything is, is a function of the step: there is no state to save.
            torch.manual_seed(run.seed + progress.step * accelerator.num_processes + accelerator.process_index)
            window.add(*_step(accelerator, objective, model, optimizer, batches, run))
            progress.step += 1
            leaves = stop.wanted_by_any()
            epoch_ends = _is_due(progress.step, run.iters_per_epoch)
            saves = epoch_ends or leaves or _is_due(progress.step, run.save_every_steps)
            shows = epoch_ends or _is_due(progress.step, run.show_every_steps)
            looks = saves or shows or _is_due(progress.step, run.log_every_steps)
            if looks:
                _log(accelerator, window, rate, progress, run, log)  # before a save: raises if a loss is not finite
            if saves:
                _save(accelerator, model, optimizer, settings, progress)
            if leaves:
                raise Preempted(_interrupted(stop, progress, run))
            if epoch_ends:
                _validate(accelerator, objective, model, optimizer, settings, validation, progress, log, stop)
            if shows:
                log.show(progress.step)
                model.train()
            if looks:
                window = Window()
    _end_with_the_best(model, run, progress, log)
    return progress


def _step(
    accelerator: Accelerator,
    objective: nn.Module,
    model: SkinGPT4,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[Batch],
    run: RunSettings,
) -> tuple[Tensor, Tensor, list[str]]:
    """One optimizer step over `accum_grad_iters` forward passes.

    Returns the mean loss float[] (detached), bool[] whether the step was left out as its gradient was not finite, and
    the names of the photographs. Nothing here waits for the device.
    """
    losses, images = [], []
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    left_out = torch.zeros((), dtype=torch.bool, device=model.device)
    passes = [next(batches) for _ in range(run.accum_grad_iters)]
    for batch, weight in zip(passes, loss_weights(accelerator, passes), strict=True):
        with accelerator.accumulate(objective):
            loss = objective(batch) * weight
            accelerator.backward(loss)  # scaled by accumulation (and in fp16 by the loss scaler)
            if accelerator.sync_gradients and run.max_grad_norm:
                accelerator.clip_grad_norm_(trained, run.max_grad_norm)
            if accelerator.sync_gradients and accelerator.scaler is None:
                left_out = leave_out_unless_finite(optimizer, trained)
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.detach())
        images += batch.images
    return torch.stack(losses).mean(), left_out, images


def _log(
    accelerator: Accelerator, window: Window, rate: float, progress: Progress, run: RunSettings, log: RunLog
) -> None:
    """Look at the losses since the last time, in all processes at once, and note them."""
    loss = window.mean_loss(accelerator, progress, run)
    more = loss_scale(accelerator.scaler)
    if progress.skipped_steps:
        more["skipped_steps"] = progress.skipped_steps
    seconds = time.perf_counter() - window.started
    samples = len(window.losses) * progress.samples_per_step
    log.step(progress.step, progress.step / run.iters_per_epoch, loss, rate, samples / seconds, **more)


def _save(
    accelerator: Accelerator,
    model: SkinGPT4,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    progress: Progress,
) -> None:
    if accelerator.is_main_process:
        save_state(settings, model, optimizer, accelerator.scaler, progress)
    accelerator.wait_for_everyone()


def _validate(
    accelerator: Accelerator,
    objective: nn.Module,
    model: SkinGPT4,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    validation: DataLoader | None,
    progress: Progress,
    log: RunLog,
    stop: StopSignals,
) -> None:
    """Validate what was saved just now, and save again that it was: a run that is stopped meanwhile loses nothing, and
    validates when it goes on.
    """
    if validation is None:
        return
    loss = evaluate(accelerator, objective, model, validation, stop)
    if loss is None:
        raise Preempted(_interrupted(stop, progress, settings.run))
    progress.validated_step = progress.step
    progress.epochs_without_gain += 1
    if loss < progress.best_loss:
        progress.best_loss, progress.best_step, progress.epochs_without_gain = loss, progress.step, 0
    log.validation(progress.step, progress.step // settings.run.iters_per_epoch, loss)
    _save(accelerator, model, optimizer, settings, progress)


@torch.no_grad()
def evaluate(
    accelerator: Accelerator,
    objective: nn.Module,
    model: SkinGPT4,
    validation: DataLoader,
    stop: StopSignals | None = None,
) -> float | None:
    """Mean loss per answer token over the validation pairs, in `eval()`; the same on every process. None as soon as
    a process is asked to stop.
    """
    model.eval()
    loss_and_tokens = torch.zeros(2, dtype=torch.float64, device=model.device)
    chunks = validation.batch_sampler
    assert isinstance(chunks, SharedChunks)
    for number, batch in enumerate(validation):
        if stop is not None and stop.wanted_by_any():  # as many passes on every process: they leave at the same one
            return None
        tokens = batch.text.answer_tokens if number < chunks.counted else 0
        loss_and_tokens[0] += objective(batch).double() * tokens
        loss_and_tokens[1] += tokens
    model.train()
    loss, count = accelerator.reduce(loss_and_tokens, reduction="sum").tolist()
    return loss / count


def _end_with_the_best(model: SkinGPT4, run: RunSettings, progress: Progress, log: RunLog) -> None:
    """Give the model its best weights back. `last/` keeps those of the last step."""
    if progress.skipped_steps:
        log.say(f"{progress.skipped_steps} of {progress.step} steps were left out: their loss was not finite")
    if 0 < progress.best_step < progress.step:
        with torch.no_grad():
            load_checkpoint(model, str(Path(run.output_dir) / BEST))
        log.say(
            f"ends at step {progress.step} with the weights of step {progress.best_step}, which have the lowest "
            f"validation loss, {progress.best_loss:.4f}; they are in {BEST}/"
        )


def _fit_to_this_run(accelerator: Accelerator, run: RunSettings, progress: Progress) -> None:
    """What a resumed state does not know: that it goes on in another folder, or with another number of samples."""
    if progress.best_step and not (Path(run.output_dir) / BEST).is_dir():
        progress.best_step, progress.best_loss = 0, math.inf
    samples = run.batch_size_train * run.accum_grad_iters * accelerator.num_processes
    if accelerator.is_main_process and progress.samples_per_step not in (0, samples):
        logging.getLogger(__name__).warning(
            "%d steps of %d samples were done, and now a step has %d: of this pass over the data, some samples will "
            "come twice or not at all.",
            progress.step, progress.samples_per_step, samples,
        )  # fmt: skip
    progress.samples_per_step = samples


def _interrupted(stop: StopSignals, progress: Progress, run: RunSettings) -> str:
    name = stop.received or "A signal to another process"
    return f"{name} stopped the run after step {progress.step}; it is saved in {run.output_dir}. Go on with --resume."


def _stops_early(progress: Progress, run: RunSettings) -> bool:
    return 0 < run.early_stopping_epochs <= progress.epochs_without_gain


def _is_due(step: int, every_steps: int) -> bool:
    """every_steps: 0 = never."""
    return step > 0 and every_steps > 0 and step % every_steps == 0
