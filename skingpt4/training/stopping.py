"""Being asked to stop: the signals by which clusters take a machine back, and an exit code on which they queue a run
again.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import torch

from skingpt4.errors import TrainingError

EXIT_PREEMPTED = 75  # EX_TEMPFAIL of sysexits.h: "try again later"
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)  # of Kubernetes and Slurm; USR1 is what Slurm's `--signal` mostly asks for


class Preempted(TrainingError):
    """A signal ended the run; everything is saved. The process exits with `exit_code`."""

    exit_code = EXIT_PREEMPTED


class StopSignals:
    """A context in which SIGTERM and SIGUSR1 are noted instead of ending the process.

    processes: how many train together. A signal reaches them at different steps, or only one of them; they agree by a
    reduction between their hosts that is started at one step's end and read at the next one's, when it has long been
    done: neither a GPU nor, but for a laggard, a host waits for it.
    Only a program's main thread can take signals; in another one this context changes nothing.
    """

    def __init__(self, processes: int = 1):
        self.received = ""  # the name of the signal that this process got
        self._processes = processes
        self._before: dict[signal.Signals, Any] = {}
        self._group: Any = None
        self._pending: Any = None
        self._wanted = torch.zeros(1)

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        if self._processes > 1:
            self._group = torch.distributed.new_group(backend="gloo")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A launcher that sees one process gone sends the others a SIGTERM: it must not cut their last words short.
        is_closing = isinstance(error, Preempted) and self._processes > 1
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if is_closing else handler)
        if self._group is not None and error is None:
            if self._pending is not None:
                self._pending.wait()
            torch.distributed.destroy_process_group(self._group)

    def wanted_by_any(self) -> bool:
        """Whether to stop after this step: True at the same step in every process. To be called once in each step."""
        if self._group is None:
            return bool(self.received)
        if self._pending is not None:
            self._pending.wait()
        asked = bool(self._wanted.item())
        self._wanted = torch.full((1,), float(bool(self.received)))
        self._pending = torch.distributed.all_reduce(
            self._wanted, torch.distributed.ReduceOp.MAX, self._group, async_op=True
        )
        return asked

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number).name
