"""On which devices a run computes, and how its processes share the work: all of it `accelerate`'s."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.utils import AutocastKwargs

from skingpt4.device import resolve_device, resolve_dtype
from skingpt4.settings import Settings
from skingpt4.training.loop import Objective
from skingpt4.training.schedule import build_optimizer


def build_accelerator(settings: Settings) -> Accelerator:
    """The processes, devices and loss scaler of this run, as the launcher set them up. Raises `DeviceError`."""
    device = resolve_device(settings.run.device)
    fp16 = resolve_dtype(settings.model.precision, device) == torch.float16
    return Accelerator(
        cpu=device.type == "cpu",
        device_placement=False,  # the model is loaded where it belongs
        gradient_accumulation_steps=settings.run.accum_grad_iters,
        # fp16 for its loss scaler only: the modules choose their own precision (the projection stays float32)
        mixed_precision="fp16" if fp16 else "no",
        kwargs_handlers=[AutocastKwargs(enabled=False)],
    )


def prepare(
    accelerator: Accelerator, model: torch.nn.Module, settings: Settings
) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """The objective as every process runs it, and the optimizer of what is trained."""
    optimizer = build_optimizer(model.named_parameters(), settings.run.weight_decay)
    objective = Objective(model, from_pixels=not settings.data.cache_features)  # type: ignore[arg-type]
    return accelerator.prepare(objective, optimizer)
