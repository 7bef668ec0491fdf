"""What `test_two_processes` launches: some training runs, one after the other, that note what each process did.

`rank_runs.py CONFIG NOTES RUNS`: RUNS is a JSON object of options by name; NOTES the folder for `NAME.RANK.json`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from skingpt4.config import load_settings
from skingpt4.training.objective import Objective
from skingpt4.training.runner import train
from skingpt4.training.samples import Batch

RANK = int(os.environ["RANK"])


class Notes:
    """The photographs of every forward pass, the decoder's size in this process, the files written in the run's
    folder.
    """

    def __init__(self) -> None:
        self.folder = ""
        self.training: list[list[str]] = []
        self.validation: list[list[str]] = []
        self.parameters = 0
        self.written: set[str] = set()

    def see_pass(self, objective: Objective, arguments: tuple[Batch]) -> None:
        """A hook that runs before every forward pass."""
        (self.training if torch.is_grad_enabled() else self.validation).append(arguments[0].images)
        here = (p.to_local() if hasattr(p, "to_local") else p for p in objective.model.decoder.parameters())
        self.parameters = sum(part.numel() for part in here)

    def see_call(self, event: str, arguments: Sequence[Any]) -> None:
        """A hook that runs before every call to the system that Python makes."""
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if writes or event in ("os.rename", "os.mkdir"):
            path = str(arguments[0])
            if self.folder and path.startswith(self.folder):
                self.written.add(path.removeprefix(self.folder))

    def values(self) -> dict[str, Any]:
        """As they are kept."""
        names = ("training", "validation", "parameters")
        return {name: getattr(self, name) for name in names} | {"written": sorted(self.written)}


def main(config: str, notes_folder: str, runs: str) -> None:
    """Train each run."""
    notes = Notes()
    sys.addaudithook(lambda event, arguments: notes.see_call(event, arguments))
    made = Objective.__init__

    def init(self: Objective, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        self.register_forward_pre_hook(lambda module, batch: notes.see_pass(module, batch))

    Objective.__init__ = init  # type: ignore[method-assign]
    for name, options in json.loads(runs).items():
        notes.__init__()  # type: ignore[misc]
        steps = load_settings(config, options)
        notes.folder = steps[-1].run.output_dir
        train(steps)
        notes.folder = ""
        (Path(notes_folder) / f"{name}.{RANK}.json").write_text(json.dumps(notes.values()), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
