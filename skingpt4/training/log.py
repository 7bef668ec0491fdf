"""What a run shows while it goes on: a progress bar for people, `metrics.jsonl` for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

METRICS_FILE = "metrics.jsonl"


class RunLog:
    """A context: `with RunLog(folder, name, total_steps) as log`. enabled: False on all but the main process, which are
    silent.
    """

    def __init__(self, folder: Path, name: str, total_steps: int, first_step: int = 0, enabled: bool = True):
        self._path = folder / METRICS_FILE
        self._name, self._total, self._first, self._enabled = name, total_steps, first_step, enabled
        self._console = Console(stderr=True)
        self._progress = progress_bar(self._console)
        self._file: TextIO | None = None
        self._started = time.perf_counter()
        self._last_line = 0.0

    def __enter__(self) -> RunLog:
        if self._enabled:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a" if self._first else "w", encoding="utf-8")
            self._progress.start()
            self._task = self._progress.add_task(self._name, total=self._total, completed=self._first, note="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._enabled:
            self._progress.stop()
            assert self._file is not None
            self._file.close()

    def step(self, step: int, epoch: float, loss: float, rate: float, samples_per_second: float) -> None:
        """Loss is the mean since the last call; epoch counts from 0 as a fraction."""
        self._write(
            step=step, epoch=round(epoch, 4), loss=loss, lr=rate, samples_per_second=round(samples_per_second, 2)
        )
        self._show(step, f"loss {loss:.3f}  lr {rate:.1e}  {samples_per_second:.1f} samples/s")

    def validation(self, step: int, epoch: int, loss: float) -> None:
        """Mean loss per answer token of the validation pairs after an epoch."""
        self._write(step=step, epoch=epoch, validation_loss=loss)
        if self._enabled:
            self._progress.console.print(f"{self._name}: epoch {epoch}, validation loss {loss:.4f}")

    def _write(self, **values: Any) -> None:
        if self._file is not None:
            self._file.write(json.dumps({**values, "seconds": round(time.perf_counter() - self._started, 2)}) + "\n")
            self._file.flush()

    def _show(self, step: int, note: str) -> None:
        if not self._enabled:
            return
        self._progress.update(self._task, completed=step, note=note)
        now = time.perf_counter()
        # In a log file there is no bar: a plain line now and then.
        if not self._console.is_terminal and (now - self._last_line > 10 or step == self._total):
            self._console.print(f"{self._name}: step {step}/{self._total}  {note}", highlight=False)
            self._last_line = now


def progress_bar(console: Console | None = None) -> Progress:
    """The house's progress bar: what, how far, how long still."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console or Console(stderr=True),
        disable=not (console or Console(stderr=True)).is_terminal,
    )


def with_progress(items: Iterable[int], what: str, count: int) -> Iterable[int]:
    """Iterate with a bar on a terminal, with a line at the start and the end elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"{what} …", highlight=False)
    with progress_bar(console) as progress:
        task = progress.add_task(what, total=count, note="")
        for item in items:
            yield item
            progress.advance(task)
