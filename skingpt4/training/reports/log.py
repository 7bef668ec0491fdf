"""What a run shows while it goes on: a progress bar, `metrics.jsonl`, trackers, curves and answers to look at."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

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

from skingpt4.errors import TrainingError
from skingpt4.training.reports.curves import draw_curves
from skingpt4.training.reports.run_folder import ANSWERS_FILE, METRICS_FILE, duration, json_line, keep_until
from skingpt4.training.reports.trackers import start_trackers, track

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

    from skingpt4.training.reports.answers_page import AnswersPage

PLAIN_LINE_SECONDS = 10.0  # where there is no terminal, a line at most so often
CURVES_SECONDS = 10.0  # drawing takes half a second: at most so often, and once more at the end


class RunLog:
    """A context: `with RunLog(folder, name, total_steps) as log`.

    first_step: where the run goes on; what an earlier process noted of later steps is dropped, so that each step is
    there once. enabled: False on all but the main process, which are silent. trackers: names of `accelerate`'s.
    answers: the page of photographs, None for none. Raises `SettingsError` for an unknown or missing tracker.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        total_steps: int,
        first_step: int = 0,
        enabled: bool = True,
        trackers: Sequence[str] = (),
        answers: AnswersPage | None = None,
    ):
        self._folder, self._name, self._total, self._first = folder, name, total_steps, first_step
        self._enabled, self._tracker_names, self._answers = enabled, trackers, answers
        self._console = Console(stderr=True)
        self._progress = progress_bar(self._console)
        self._file: TextIO | None = None
        self._trackers: list[GeneralTracker] = []
        self._started = time.perf_counter()
        self._seconds_before = 0.0  # of the processes that this one goes on from
        self._last_line = 0.0
        self._drawn = self._started

    def __enter__(self) -> RunLog:
        if self._enabled:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._trackers = start_trackers(self._tracker_names, self._folder, self._first)
            keep_until(self._folder / ANSWERS_FILE, self._first)
            kept = keep_until(self._folder / METRICS_FILE, self._first)
            self._seconds_before = max((line.get("seconds", 0.0) for line in kept), default=0.0)
            self._file = (self._folder / METRICS_FILE).open("a", encoding="utf-8")
            self._progress.start()
            self._task = self._progress.add_task(self._name, total=self._total, completed=self._first, note="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._enabled:
            self._progress.stop()
            self._draw()
            for tracker in self._trackers:
                tracker.finish()
            assert self._file is not None
            self._file.close()

    def step(self, step: int, epoch: float, loss: float, rate: float, samples_per_second: float, **more: float) -> None:
        """Note the mean loss since the last call. epoch: counts from 0, a fraction. more: other figures, by name.

        Raises `TrainingError` where `metrics.jsonl` cannot be written (a full disk).
        """
        figures = {"loss": loss, "lr": rate, "samples_per_second": round(samples_per_second, 2), **more}
        self._note(step, epoch=round(epoch, 4), **figures)
        self._advance(step, f"loss {loss:.3f}  lr {rate:.1e}  {samples_per_second:.1f} samples/s")

    def validation(self, step: int, epoch: int, loss: float) -> None:
        """Note the mean loss per answer token of the validation pairs after an epoch. Raises as `step`."""
        self._note(step, epoch=epoch, validation_loss=loss)
        self.say(f"epoch {epoch}, validation loss {loss:.4f}")

    def show(self, step: int) -> None:
        """Bring the page of answers and the picture of the curves up to date.

        To be called by every process: where the decoder is spread over processes, all of them take part in an answer.
        Where memory or disk do not suffice for a page, that is said and the run goes on. Raises as `step`.
        """
        import torch

        if self._answers is not None and (self._enabled or self._answers.on_every_process):
            try:
                figures = self._answers.update(step, write=self._enabled)
            except (OSError, torch.OutOfMemoryError) as error:
                self.say(f"step {step:,}: no page of answers: {error}")
                figures = {}
            if figures:
                self._note(step, **figures)
        if self._enabled and time.perf_counter() - self._drawn > CURVES_SECONDS:
            self._draw()

    def say(self, text: str) -> None:
        """A line for people, above the bar."""
        if self._enabled:
            self._progress.console.print(f"{self._name}: {text}", markup=False, highlight=False, soft_wrap=True)

    def _draw(self) -> None:
        try:
            draw_curves(self._folder)
        except OSError as error:
            self.say(f"no picture of the curves: {error}")
        self._drawn = time.perf_counter()

    def _note(self, step: int, **figures: float) -> None:
        if self._file is None:
            return
        seconds = round(self._seconds_before + time.perf_counter() - self._started, 2)
        try:
            self._file.write(json_line({"step": step, **figures, "seconds": seconds}))
            self._file.flush()
            track(self._trackers, step, figures)
        except OSError as error:
            raise TrainingError(
                f"{self._folder / METRICS_FILE} cannot be written: {error}. Make room, then go on with --resume."
            ) from error

    def _advance(self, step: int, note: str) -> None:
        if not self._enabled:
            return
        self._progress.update(self._task, completed=step, note=note)
        now = time.perf_counter()
        # In a log file there is no bar: a plain line now and then.
        if not self._console.is_terminal and (now - self._last_line > PLAIN_LINE_SECONDS or step == self._total):
            left = (now - self._started) / max(1, step - self._first) * (self._total - step)
            rest = f"  {duration(left)} left" if step < self._total else f"  in {duration(now - self._started)}"
            self.say(f"step {step:,}/{self._total:,}  {note}{rest}")
            self._last_line = now


def progress_bar(console: Console | None = None) -> Progress:
    """The house's progress bar: what, how far, how long still."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console or Console(stderr=True),
        disable=not (console or Console(stderr=True)).is_terminal,
    )


def with_progress(items: Iterable[int], what: str, count: int) -> Iterable[int]:
    """Iterate with a bar on a terminal, with a line at the start and the end elsewhere."""
    console = Console(stderr=True)
    started = time.perf_counter()
    if not console.is_terminal:
        console.print(f"{what} …", markup=False, highlight=False)
    with progress_bar(console) as progress:
        task = progress.add_task(what, total=count, note="")
        for item in items:
            yield item
            progress.advance(task)
    if not console.is_terminal:
        took = duration(time.perf_counter() - started)
        console.print(f"{what}: done in {took}", markup=False, highlight=False)
