"""Learning rate and optimizer of the original, and steps that are left out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from skingpt4.settings import RunSettings


def learning_rate(step: int, total_steps: int, run: RunSettings) -> float:
    """Linear warm-up over the first `warmup_steps` of all steps, then a cosine over the whole run.

    LAVIS's `linear_warmup_cosine_lr` (`common/optims.py`): the cosine's clock starts at step 0, not after the warm-up.
    Unlike there, a warm-up longer than an epoch does not start again with each epoch.
    """
    if step < run.warmup_steps:
        return run.warmup_lr + (run.init_lr - run.warmup_lr) * step / run.warmup_steps
    return run.min_lr + (run.init_lr - run.min_lr) * 0.5 * (1 + math.cos(math.pi * step / total_steps))


def build_optimizer(parameters: Iterable[tuple[str, nn.Parameter]], weight_decay: float) -> torch.optim.AdamW:
    """AdamW, betas (0.9, 0.999); weight decay on matrices only, not on biases and norms (`runner_base.py`).

    The fused one: it alone can leave a step out without the processor waiting for a GPU (`leave_out_unless_finite`).
    """
    trained = [parameter for _, parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=0.0, betas=(0.9, 0.999), fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The same rate for every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def leave_out_unless_finite(optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter]) -> Tensor:
    """Make the next `step` change neither weights nor moments if a gradient is not finite; returns whether, bool[] on
    the device.

    The same in every process, since they share gradients. By the mark that torch's loss scalers leave on fused
    optimizers; with a loss scaler, which leaves its own, this is not needed.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    left_out = ~torch.isfinite(torch.nn.utils.get_total_norm(gradients))
    fused: Any = getattr(optimizer, "optimizer", optimizer)  # within accelerate's wrapper
    fused.grad_scale, fused.found_inf = None, left_out.float()
    return left_out
