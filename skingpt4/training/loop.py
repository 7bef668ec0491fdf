"""The training loop: fetch, forward, backward, clip, step, schedule, log, validate, save. Both fine-tuning steps are
this loop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from skingpt4.errors import TrainingError
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.settings import Settings
from skingpt4.training.log import RunLog
from skingpt4.training.samples import Batch
from skingpt4.training.schedule import learning_rate, set_learning_rate
from skingpt4.training.state import Progress, save_state


class Objective(nn.Module):
    """What a step computes: the loss of a batch, from features or from pixels. (One `forward`, so that DDP can wrap
    it.)
    """

    def __init__(self, model: SkinGPT4, from_pixels: bool):
        super().__init__()
        self.model = model
        self.from_pixels = from_pixels

    def forward(self, batch: Batch) -> Tensor:
        device = self.model.device
        inputs = batch.inputs.to(device, non_blocking=True)
        features = self.model.encode_images(inputs) if self.from_pixels else inputs
        return self.model(features, batch.text.to(device))


@dataclass
class Window:
    """Steps whose loss has not been looked at yet: reading it at every step would make a GPU wait."""

    steps: list[int] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    images: list[list[str]] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    def mean_loss(self) -> float:
        """Mean loss of the window. Raises `TrainingError` naming the photographs of the first step whose loss is not
        finite.
        """
        values = torch.stack(self.losses).tolist()
        for step, value, images in zip(self.steps, values, self.images, strict=True):
            if not math.isfinite(value):
                raise TrainingError(
                    f"The loss at step {step + 1} is {value}. The photographs of this batch: {', '.join(images)}. "
                    "Look at them, lower "
                    "run.init_lr, or set run.max_grad_norm=1; the last checkpoint is from before this step."
                )
        return sum(values) / len(values)


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
    """Train from `progress.step` to the end of the run. `settings.run.iters_per_epoch` must be resolved (not 0)."""
    run = settings.run
    total_steps = run.max_epoch * run.iters_per_epoch
    window = Window()
    batches = iter(training)
    model.train()
    while progress.step < total_steps:
        rate = learning_rate(progress.step, total_steps, run)
        set_learning_rate(optimizer, rate)
        loss, images = _step(accelerator, objective, model, optimizer, batches, settings)
        window.steps.append(progress.step)
        window.losses.append(loss)
        window.images.append(images)
        progress.step += 1
        epoch_ends = progress.step % run.iters_per_epoch == 0
        if epoch_ends or progress.step % run.log_every_steps == 0:
            mean = window.mean_loss()
            seen = len(window.steps) * run.batch_size_train * run.accum_grad_iters * accelerator.num_processes
            log.step(
                progress.step,
                progress.step / run.iters_per_epoch,
                mean,
                rate,
                seen / (time.perf_counter() - window.started),
            )
            window = Window()
        if epoch_ends:
            _end_epoch(accelerator, objective, model, optimizer, settings, validation, progress, log)
            window = Window()
    return progress


def _step(
    accelerator: Accelerator,
    objective: nn.Module,
    model: SkinGPT4,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Batch],
    settings: Settings,
) -> tuple[Tensor, list[str]]:
    """One optimizer step over `accum_grad_iters` forward passes; returns the mean loss (detached) and the
    photographs.
    """
    losses, images = [], []
    source = iter(batches)
    for _ in range(settings.run.accum_grad_iters):
        batch = next(source)
        with accelerator.accumulate(objective):
            loss = objective(batch)
            accelerator.backward(loss)  # scaled by accumulation (and in fp16 by the loss scaler)
            if accelerator.sync_gradients and settings.run.max_grad_norm:
                accelerator.clip_grad_norm_(
                    [p for p in model.parameters() if p.requires_grad], settings.run.max_grad_norm
                )
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.detach())
        images += batch.images
    return torch.stack(losses).mean(), images


def _end_epoch(
    accelerator: Accelerator,
    objective: nn.Module,
    model: SkinGPT4,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    validation: DataLoader | None,
    progress: Progress,
    log: RunLog,
) -> None:
    loss = evaluate(accelerator, objective, model, validation) if validation is not None else None
    if loss is not None:
        log.validation(progress.step, progress.step // settings.run.iters_per_epoch, loss)
    if accelerator.is_main_process:
        best = progress.best_loss
        progress.best_loss = min(best, loss) if loss is not None else best
        save_state(settings, model, optimizer, accelerator.scaler, progress, loss)
    accelerator.wait_for_everyone()


@torch.no_grad()
def evaluate(accelerator: Accelerator, objective: nn.Module, model: SkinGPT4, validation: DataLoader) -> float:
    """Mean loss per answer token over the validation pairs, in `eval()`; the same on every process."""
    model.eval()
    total = torch.zeros(2, dtype=torch.float64)
    for batch in validation:
        tokens = int(batch.text.in_loss.sum())
        total += torch.tensor([float(objective(batch)) * tokens, tokens], dtype=torch.float64)
    model.train()
    summed = accelerator.reduce(total.float().to(accelerator.device), reduction="sum")
    return float(summed[0] / summed[1])
