"""The steps since the last look: reading a loss at every step would make the processor wait for a GPU."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from skingpt4.errors import TrainingError
from skingpt4.settings import RunSettings
from skingpt4.training.state import Progress

MOST_SKIPPED_IN_A_ROW = 100
LOWEST_LOSS_SCALE = 1e-4  # fairseq's limit (`--min-loss-scale`); a GradScaler begins at 65,536


@dataclass
class Window:
    """What the steps since the last look left on the device. losses: float[] each; left_out: bool[] each, whether a
    gradient was not finite; images: the names of this process's photographs.
    """

    losses: list[Tensor] = field(default_factory=list)
    left_out: list[Tensor] = field(default_factory=list)
    images: list[list[str]] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    def add(self, loss: Tensor, left_out: Tensor, images: list[str]) -> None:
        """One step's."""
        self.losses.append(loss)
        self.left_out.append(left_out)
        self.images.append(images)

    def mean_loss(self, accelerator: Accelerator, progress: Progress, run: RunSettings) -> float:
        """Mean loss of the window over all processes, which must call this together; nan where no step was finite.

        A step that is not finite is counted in `progress` and named in a warning, or, as `run.on_nonfinite_loss` says,
        raises a `TrainingError` that names its photographs.
        """
        marks = torch.stack([torch.stack(self.losses), torch.stack(self.left_out).to(self.losses[0])])
        losses, left_out = accelerator.reduce(marks, reduction="mean").tolist()
        finite = []
        for place, (loss, mark) in enumerate(zip(losses, left_out, strict=True)):
            if math.isfinite(loss) and not mark:
                finite.append(loss)
                progress.skipped_in_a_row = 0
            else:
                what = f"loss at step {progress.step - len(losses) + place + 1} is {loss}"
                what += " and its gradient not finite" if math.isfinite(loss) else ""
                self._left_out(accelerator, what, gather_object(self.images[place]), progress, run)
        return sum(finite) / len(finite) if finite else math.nan

    def _left_out(
        self, accelerator: Accelerator, what: str, images: list[str], progress: Progress, run: RunSettings
    ) -> None:
        photographs = ", ".join(images)
        advice = "lower run.init_lr, or set run.max_grad_norm=1"
        if run.on_nonfinite_loss == "stop":
            raise TrainingError(
                f"The {what}. The photographs of this batch: {photographs}. Look at them, {advice}; or leave such "
                "steps out with run.on_nonfinite_loss=skip. The last checkpoint is from before this step."
            )
        progress.skipped_steps += 1
        progress.skipped_in_a_row += 1
        if accelerator.is_main_process:
            logging.getLogger(__name__).warning("The %s; the step was left out. Photographs: %s.", what, photographs)
        if progress.skipped_in_a_row >= MOST_SKIPPED_IN_A_ROW:
            raise TrainingError(
                f"The {what}, as in the {progress.skipped_in_a_row - 1} steps before it: nothing is learned any more. "
                f"Go on from an earlier checkpoint and {advice}."
            )


def loss_scale(scaler: torch.amp.GradScaler | None) -> dict[str, float]:
    """The loss scale of a run in fp16, to be noted; nothing elsewhere. Raises `TrainingError` when it has collapsed."""
    if scaler is None:
        return {}
    scale = float(scaler.get_scale())
    if scale < LOWEST_LOSS_SCALE:
        raise TrainingError(
            f"The loss scale of fp16 has collapsed to {scale:.1e}: gradients overflowed step after step, and nothing "
            "was learned. Use model.precision=bf16 (or fp32 where the GPU has no bf16), lower run.init_lr, or set "
            "run.max_grad_norm=1, and go on from an earlier checkpoint."
        )
    return {"loss_scale": scale}
