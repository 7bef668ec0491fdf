"""Where figures go besides `metrics.jsonl`: TensorBoard, and whatever else `accelerate` knows, by `run.trackers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, get_available_trackers

from skingpt4.errors import SettingsError

PROJECT = "skingpt4"  # what services group runs by


def require_trackers(names: Sequence[str]) -> None:
    """Raise `SettingsError` for a tracker that `accelerate` does not know or whose package is not installed."""
    there = {str(name) for name in get_available_trackers()}
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            known = ", ".join(sorted(LOGGER_TYPE_TO_CLASS))
            raise SettingsError(f"run.trackers names {name!r}; it must be some of {known}, or [] for none.")
        if name not in there:
            raise SettingsError(
                f"run.trackers names {name}, which is not installed: pip install {name.replace('_', '-')}, "
                "or leave it out, e.g. `--options run.trackers=[]`; metrics.jsonl is written in any case."
            )


def start_trackers(names: Sequence[str], folder: Path, first_step: int) -> list[GeneralTracker]:
    """Started trackers of the run in `folder`. They write below it where they write files; only those of services that
    were asked for reach the network.

    first_step: the run goes on there; what a tracker holds of later steps is dropped where it can do that.
    """
    require_trackers(names)
    options: dict[str, dict[str, Any]] = {
        "tensorboard": {"purge_step": first_step + 1 if first_step else None},
        "wandb": {"name": folder.resolve().name, "dir": str(folder)},
        "mlflow": {"run_name": folder.resolve().name},
    }
    trackers = []
    for name in dict.fromkeys(names):
        kind, chosen = LOGGER_TYPE_TO_CLASS[name], options.get(name, {})
        if name == "tensorboard":  # its run is a folder
            tracker = kind("tensorboard", str(folder), **chosen)
        elif kind.requires_logging_directory:
            tracker = kind(PROJECT, str(folder), **chosen)
        else:
            tracker = kind(PROJECT, **chosen)
        tracker.start()
        trackers.append(tracker)
    return trackers


def track(trackers: Sequence[GeneralTracker], step: int, figures: Mapping[str, float]) -> None:
    """Hand the figures of a step to every tracker."""
    for tracker in trackers:
        tracker.log(dict(figures), step=step)
