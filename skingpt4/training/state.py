"""Where a run stands, on disk: enough to go on as if it had never stopped, and nothing half written.

    RUN/checkpoints/step_00000042/   skingpt4.safetensors, training_state.pt, checksums.json; the newest few
    RUN/last/skingpt4.safetensors    the weights of the newest checkpoint
    RUN/best/skingpt4.safetensors    the weights of the lowest validation loss

The order of the samples is a function of the seed and the step (`samples`), so it needs no state.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from skingpt4.durable import PARTIAL, SET_ASIDE, remove, replacing, write_whole
from skingpt4.errors import TrainingError
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.settings import Settings
from skingpt4.weights.checkpoint import BEST, FILE_NAME, LAST, checkpoint_bytes, load_checkpoint

CHECKPOINTS = "checkpoints"
STATE_FILE = "training_state.pt"
CHECKSUMS_FILE = "checksums.json"
_STEP_FOLDER = re.compile(rf"step_(\d+)({re.escape(SET_ASIDE)})?")
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


@dataclass
class Progress:
    """How far a run has come.

    step: optimizer steps done. validated_step: the last one whose weights were validated. best_loss, best_step: the
    lowest validation loss so far, and when. skipped_steps: left out because their loss was not finite; skipped_in_a_row
    of them without a good one since. samples_per_step: over all processes; 0 = not known yet.
    """

    step: int = 0
    validated_step: int = 0
    best_loss: float = math.inf
    best_step: int = 0
    epochs_without_gain: int = 0
    skipped_steps: int = 0
    skipped_in_a_row: int = 0
    samples_per_step: int = 0


def save_state(
    settings: Settings,
    model: SkinGPT4,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None,
    progress: Progress,
) -> None:
    """Write the checkpoint of this step, then delete those that are no longer wanted.

    A checkpoint of a later step is deleted too: this run has gone back behind it. Raises `OSError` when the disk is
    full; the checkpoints before are then untouched.
    """
    root = Path(settings.run.output_dir)
    state = io.BytesIO()  # through memory: torch's own writer turns a full disk into an error without a reason
    torch.save(
        {
            "progress": asdict(progress),
            "optimizer": optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
        },
        state,
    )
    weights = checkpoint_bytes(model, settings)
    files = {FILE_NAME: weights, STATE_FILE: state.getvalue()}
    if progress.best_step == progress.step:
        # Before the state that counts on it: a run killed between the two validates again and writes it again.
        write_whole(root / BEST / FILE_NAME, weights)
    with replacing(root / CHECKPOINTS / f"step_{progress.step:08d}") as folder:
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        checksums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        (folder / CHECKSUMS_FILE).write_text(json.dumps(checksums, indent=2), encoding="utf-8")
    write_whole(root / LAST / FILE_NAME, weights)
    _delete_unwanted(root / CHECKPOINTS, progress.step, settings.run.keep_checkpoints)


def load_state(
    name: str, model: SkinGPT4, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler | None
) -> Progress:
    """Put a run's newest whole checkpoint back into model, optimizer and scaler; damaged ones are named in a warning.

    name: the run's folder, or one of its checkpoints. Raises `TrainingError` when there is nothing to go on from.
    """
    folder = _newest_whole(Path(name).expanduser())
    state = torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True)
    with torch.no_grad():
        load_checkpoint(model, str(folder))
    optimizer.load_state_dict(state["optimizer"])
    if scaler is not None and state["scaler"]:
        scaler.load_state_dict(state["scaler"])
    return Progress(**state["progress"])


def has_checkpoints(run: Path) -> bool:
    """Whether this folder holds a run that can be resumed, or what is left of one."""
    return bool(_checkpoints(run / CHECKPOINTS))


@contextmanager
def disk_errors_explained(run: Path) -> Iterator[None]:
    """Turn a full or failing disk in this block into a `TrainingError` that says from where the run can go on."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        left = _checkpoints(run / CHECKPOINTS)
        again = f"Go on from {left[0]}, which is whole, with --resume" if left else "Nothing was saved yet: start again"
        raise TrainingError(f"The disk of {run} is full or failing: {error}. {again}, once there is room.") from error


def _newest_whole(place: Path) -> Path:
    """The folder to go on from. Raises `TrainingError`."""
    candidates = [place] if _STEP_FOLDER.fullmatch(place.name) else _checkpoints(place / CHECKPOINTS)
    if not candidates or not candidates[0].is_dir():
        raise TrainingError(f"Nothing to resume in {place}: no {CHECKPOINTS}/step_… there. Start without --resume.")
    damages: list[str] = []
    for folder in candidates:
        damage = _damage(folder)
        if not damage:
            if damages:
                logging.getLogger(__name__).warning("%s. Going on from %s.", "; ".join(damages), folder.name)
            return folder
        damages.append(f"{folder} is damaged: {damage}")
    raise TrainingError(
        f"No checkpoint to go on from is whole: {'; '.join(damages)}. "
        f"The weights in {LAST}/ and {BEST}/ may still serve as model.ckpt of a new run, in another run.output_dir."
    )


def _damage(folder: Path) -> str:
    """What is wrong with a checkpoint's files; empty = nothing."""
    try:
        checksums = json.loads((folder / CHECKSUMS_FILE).read_text(encoding="utf-8"))
        for name in (FILE_NAME, STATE_FILE):
            content = (folder / name).read_bytes()
            if hashlib.sha256(content).hexdigest() != checksums[name]:
                return f"the {len(content):,} bytes of {name} are not those that were written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"it cannot be read ({error})"
    return ""


def _checkpoints(folder: Path) -> list[Path]:
    """Folders of checkpoints, the newest first; of one step, the one set aside after its successor."""
    found = [(match, path) for path in _entries(folder) if (match := _STEP_FOLDER.fullmatch(path.name))]
    found.sort(key=lambda item: (int(item[0][1]), not item[0][2]), reverse=True)
    return [path for _, path in found]


def _delete_unwanted(folder: Path, step: int, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints (0 = all stay), those after `step`, and what killed runs left."""
    kept = 0
    for path in _checkpoints(folder):
        unwanted = path.name.endswith(SET_ASIDE) or int(path.name.removeprefix("step_")) > step
        if unwanted or (keep and kept == keep):
            remove(path)
        else:
            kept += 1
    for path in _entries(folder):
        if PARTIAL in path.name:
            remove(path)


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
