"""`skingpt4 runs DIR…`: training runs side by side."""

from __future__ import annotations

import argparse
import json
import math
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from skingpt4.errors import DataError
from skingpt4.training.reports.run_folder import (
    KILLED,
    METRICS_FILE,
    RECORD_FILE,
    RUNNING,
    duration,
    read_lines,
    read_record,
)

UNKNOWN = "?"
DEEPEST = 4  # folders below DIR that are looked into
# Where a run is, not what it is.
_NOT_COMPARED = {"run.output_dir", "run.resume_ckpt_path", "data.feature_cache"}


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="DIR", help="the folder of a run, or one that holds such folders"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print how far each run is and how well it does, then the settings in which they differ. Raises `DataError` where
    there is no run.
    """
    from skingpt4.commands.tables import print_table

    runs = find_runs(arguments.folders)
    if not runs:
        places = ", ".join(str(folder) for folder in arguments.folders)
        raise DataError(f"No run in {places}: a folder with {RECORD_FILE} or {METRICS_FILE} was looked for.")
    names = _names([each.folder for each in runs])
    header = ("run", "state", "steps", "loss", "lowest validation loss", "time")
    print_table(header, [(name, *each.progress()) for name, each in zip(names, runs, strict=True)], texts=(0, 1))
    for name, each in zip(names, runs, strict=True):
        if each.record.get("error"):
            print(f"{name}: {str(each.record['error']).splitlines()[0]}")
    print_table(*_comparison(names, runs))
    return 0


@dataclass(frozen=True)
class Run:
    """What a run's folder says. record: of `run.json`, empty where there is none; settings: `section.key` -> value;
    lines: of `metrics.jsonl`.
    """

    folder: Path
    record: Mapping[str, Any]
    settings: dict[str, Any]
    lines: Sequence[Mapping[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Whatever is there of a run that goes on, has ended or is broken."""
        record = read_record(folder)
        settings = record.get("settings") or _read_yaml(folder / "settings.yaml")
        return cls(folder, record, _flat(settings), read_lines(folder / METRICS_FILE))

    def progress(self) -> tuple[str, ...]:
        """State, steps, newest loss, lowest validation loss and its step, time: as text, `?` for what is not known."""
        losses = self._of("loss")
        validated = [line for line in self.lines if _is_number(line.get("validation_loss"))]
        best = min(validated, key=lambda line: line["validation_loss"], default={})
        lowest = f"{best['validation_loss']:.4f} at {best['step']:,}" if best else UNKNOWN
        seconds = self._of("seconds")
        time = duration(max(seconds)) if seconds else UNKNOWN
        return self.state, self._steps(), f"{losses[-1]:.4f}" if losses else UNKNOWN, lowest, time

    def made_with(self) -> dict[str, str]:
        """What is always shown beside a run: speed, learning rate, batch of all processes, pairs to train and validate
        on.
        """
        speeds, rate = self._of("samples_per_second"), self.settings.get("run.init_lr")
        data, processes = self.record.get("data", {}), self.record.get("devices", {}).get("processes", 1)
        size, times = self.settings.get("run.batch_size_train"), self.settings.get("run.accum_grad_iters", 1)
        return {
            "samples/s": f"{median(speeds):.1f}" if speeds else UNKNOWN,
            "run.init_lr": UNKNOWN if rate is None else f"{rate:g}",
            "batch": f"{size * times * processes:,}" if size else UNKNOWN,
            "pairs": f"{data['training_pairs']:,} + {data['validation_pairs']:,}" if data else UNKNOWN,
        }

    def identity(self) -> dict[str, Any]:
        """What makes runs differ: every setting, the code, torch, and the content of the data. Empty where nothing is
        known.
        """
        if not self.record:
            return self.settings
        packages, git = self.record.get("packages", {}), self.record.get("git")
        code = f"{git['revision'][:8]}{', changed' * git['dirty']}" if git else packages.get("skingpt4", UNKNOWN)
        sources = self.record.get("data", {}).get("sources", [])
        prints = [value[:8] for each in sources for key, value in each.items() if key.startswith("sha256")]
        more = {"code": code, "torch": packages.get("torch", UNKNOWN), "SHA-256 of the data": " ".join(prints)}
        return self.settings | more

    @property
    def state(self) -> str:
        """As recorded; "killed" where the process of a run on this machine is gone without having said so."""
        state = str(self.record.get("state", UNKNOWN))
        process = self.record.get("process", {})
        if state == RUNNING and process.get("host") == socket.gethostname():
            from psutil import pid_exists

            return state if pid_exists(process.get("pid", -1)) else KILLED
        return state

    def _of(self, key: str) -> list[float]:
        return [line[key] for line in self.lines if _is_number(line.get(key))]

    def _steps(self) -> str:
        done = int(max(self._of("step"), default=0))
        epochs, of_epoch = self.settings.get("run.max_epoch"), self.settings.get("run.iters_per_epoch")
        return f"{done:,}/{epochs * of_epoch:,}" if epochs and of_epoch else f"{done:,}"


def find_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs in these folders or below, in order, each once. Raises `DataError` for a folder that is not there."""
    found: dict[Path, Path] = {}  # where it really is -> as it was named
    for folder in folders:
        if not folder.is_dir():
            raise DataError(
                f"{folder} is no folder; the output_dir of a run, or a folder of such folders, was expected."
            )
        for place in _runs_below(folder, DEEPEST):
            found.setdefault(place.resolve(), place)
    return [Run.read(place) for place in found.values()]


def differences(identities: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """What at least two runs differ in -> the value of each run; `UNKNOWN` where a run has none. Runs of which nothing
    is known do not count.
    """
    keys = dict.fromkeys(key for each in identities for key in each if key not in _NOT_COMPARED)
    found = {}
    for key in keys:
        known = [each.get(key, UNKNOWN) for each in identities if each]
        if any(value != known[0] for value in known):
            found[key] = [each.get(key, UNKNOWN) for each in identities]
    return found


def _comparison(names: Sequence[str], runs: Sequence[Run]) -> tuple[list[str], list[list[str]], range]:
    """Header, rows and columns of words: a row per property, or a row per run where there are more of them."""
    shown = [each.made_with() for each in runs]
    rows = [[key, *(each[key] for each in shown)] for key in shown[0]]
    differing = differences([each.identity() for each in runs])
    rows += [[key, *map(_short, values)] for key, values in differing.items() if key not in shown[0]]
    header = ["setting", *names]
    if len(names) > len(rows):
        header, *rows = [list(column) for column in zip(header, *rows, strict=True)]
        header[0] = "run"
    return header, rows, range(len(header))


def _runs_below(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / RECORD_FILE).is_file() or (folder / METRICS_FILE).is_file():
        yield folder  # what is below belongs to it
        return
    if depth:
        inner = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
        for name in inner:
            yield from _runs_below(folder / name, depth - 1)


def _names(folders: Sequence[Path]) -> list[str]:
    """Folders without what all of them begin with."""
    whole = [folder.resolve() for folder in folders]
    above = Path(os.path.commonpath([folder.parent for folder in whole]))
    return [folder.relative_to(above).as_posix() for folder in whole]


def _read_yaml(path: Path) -> dict[str, Any]:
    """The saved settings as plain values; they may be of another version, so they are not checked."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return values if isinstance(values, dict) else {}


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    sections = {name: values for name, values in settings.items() if isinstance(values, Mapping)}
    return {f"{name}.{key}": value for name, values in sections.items() for key, value in values.items()}


def _short(value: Any) -> str:
    """A value of the settings for a cell; of sources, kind, path, split and limit."""
    if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        keys = ("source", "path", "split", "limit")
        return "; ".join(" ".join(str(each[key]) for key in keys if each.get(key)) for each in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
