"""Where a run stands: enough to go on as if it had never stopped."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from skingpt4.errors import TrainingError
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.settings import Settings
from skingpt4.weights.checkpoint import BEST, LAST, load_checkpoint, save_checkpoint

STATE_FILE = "training_state.pt"


@dataclass
class Progress:
    """How far a run has come. step: optimizer steps done; best_loss: lowest validation loss so far."""

    step: int = 0
    best_loss: float = math.inf


def save_state(
    settings: Settings,
    model: SkinGPT4,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None,
    progress: Progress,
    validation_loss: float | None,
) -> None:
    """Write the checkpoint of an epoch: `epoch_NNN/` for good, `last/` to go on from, `best/` when the validation loss
    is the lowest.
    """
    root = Path(settings.run.output_dir)
    epoch = progress.step // max(1, settings.run.iters_per_epoch)
    last = root / LAST
    written = save_checkpoint(last, model, settings)
    state = {
        "step": progress.step,
        "best_loss": progress.best_loss,
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict() if scaler is not None else {},
    }
    partial = last / (STATE_FILE + ".partial")
    torch.save(state, partial)
    partial.replace(last / STATE_FILE)
    copies = [root / f"epoch_{epoch:03d}"]
    if validation_loss is not None and validation_loss <= progress.best_loss:
        copies.append(root / BEST)
    for folder in copies:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(written, folder / written.name)


def load_state(
    name: str, model: SkinGPT4, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler | None
) -> Progress:
    """Put a run's last checkpoint back into model, optimizer and scaler.

    name: the run's folder or its `last` folder. Raises `TrainingError` when there is nothing to go on from.
    """
    root = Path(name)
    folder = next((place for place in (root, root / LAST) if (place / STATE_FILE).is_file()), None)
    if folder is None:
        raise TrainingError(
            f"Nothing to resume in {root}: no {STATE_FILE} there or in {LAST}/. Start without --resume."
        )
    state = torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True)
    with torch.no_grad():
        load_checkpoint(model, str(folder))
    optimizer.load_state_dict(state["optimizer"])
    if scaler is not None and state["scaler"]:
        scaler.load_state_dict(state["scaler"])
    return Progress(step=state["step"], best_loss=state["best_loss"])
