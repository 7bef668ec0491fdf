"""`run.json`: what a run was made with, and what became of it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
import shlex
import socket
import subprocess
import sys
from datetime import datetime
from importlib.metadata import distributions
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import skingpt4
from skingpt4.config import resolve_path
from skingpt4.data.manifest import open_manifest
from skingpt4.data.records import SourceReport, file_sha256
from skingpt4.data.rewrite import write_json
from skingpt4.data.sequences import images_of
from skingpt4.data.sources.minigpt4 import CAPTIONS_FILE
from skingpt4.errors import TrainingError
from skingpt4.settings import Settings, SourceSettings
from skingpt4.training.reports.run_folder import FAILED, FINISHED, KILLED, RECORD_FILE, RUNNING, STOPPED, read_record
from skingpt4.training.stopping import Preempted

if TYPE_CHECKING:
    from accelerate import Accelerator

    from skingpt4.data.loading import LoadedData

_OF_A_SESSION = ("state", "error", "started", "ended", "process", "command", "devices", "git")
_GIT_SECONDS = 20


class RunRecord:
    """A context around a run: `run.json` says "running" while it lasts, then finished, stopped (by a signal or Ctrl-C)
    or failed, and why.

    resumed: keep what the record says of the processes that this one goes on from; one that never wrote its end was
    killed. Processes other than the main one write nothing. Raises `TrainingError` where the folder cannot be written.
    """

    def __init__(self, settings: Settings, data: LoadedData, accelerator: Accelerator, resumed: bool):
        self._path = Path(settings.run.output_dir) / RECORD_FILE
        self._settings, self._data, self._accelerator, self._resumed = settings, data, accelerator, resumed
        self._content: dict[str, Any] = {}

    def __enter__(self) -> RunRecord:
        if self._accelerator.is_main_process:
            before = _sessions(read_record(self._path.parent)) if self._resumed else []
            self._content = _begin(self._settings, self._data, self._accelerator) | {"earlier": before}
            self._write()
        return self

    def learns_from(self, data: LoadedData) -> None:
        """Note what is settled once the photographs have been read: how many pairs, and the settings that follow."""
        if self._accelerator.is_main_process:
            self._content["settings"] = dataclasses.asdict(self._settings)
            self._content["data"] |= _counts(data)
            self._write()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._accelerator.is_main_process:
            return
        self._content["state"] = _state_of(error)
        self._content["error"] = f"{type(error).__name__}: {error}" if error is not None else ""
        self._content["ended"] = _now()
        try:
            self._write()
        except (TrainingError, OSError):  # a full disk: what ended the run says so, and is not to be hidden
            if error is None:
                raise

    def _write(self) -> None:
        try:
            write_json(self._path, self._content)
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            raise TrainingError(f"{self._path} cannot be written: {error}.") from error


def _state_of(error: BaseException | None) -> str:
    if error is None:
        return FINISHED
    # What asks a run to end is no failure: Ctrl-C, and the signals of a scheduler (an error with its own exit code).
    return STOPPED if isinstance(error, (KeyboardInterrupt, Preempted)) else FAILED


def _begin(settings: Settings, data: LoadedData, accelerator: Accelerator) -> dict[str, Any]:
    return {
        "state": RUNNING,
        "error": "",
        "started": _now(),
        "ended": "",
        "command": shlex.join(sys.orig_argv),
        "folder": str(Path.cwd()),
        "process": {"host": socket.gethostname(), "pid": os.getpid()},
        "seeds": {"run.seed": settings.run.seed},
        "devices": devices(accelerator),
        "git": git_revision(Path(skingpt4.__file__).parent),
        "data": describe_data(settings, data),
        "settings": dataclasses.asdict(settings),
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": dict(sorted((each.name, each.version) for each in distributions() if each.name)),
    }


def _sessions(record: dict[str, Any]) -> list[dict[str, Any]]:
    """What an earlier record says of its own process and of those before it."""
    if not record:
        return []
    last = {key: record.get(key) for key in _OF_A_SESSION}
    if last["state"] == RUNNING:
        last["state"] = KILLED
    return [*record.get("earlier", []), last]


def devices(accelerator: Accelerator) -> dict[str, Any]:
    """What the run computes on: kind, number of processes, names and memory (bytes) of the devices of this machine."""
    import torch

    device = accelerator.device
    described: dict[str, Any] = {
        "type": device.type,
        "processes": accelerator.num_processes,
        "distributed": accelerator.distributed_type.value,
        "loss_scaling": accelerator.mixed_precision == "fp16",
    }
    if device.type == "cuda":
        found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        gpus = [{"name": each.name, "memory_bytes": each.total_memory} for each in found]
        return described | {"gpus": gpus, "cuda": torch.version.cuda}
    return described | {"cpu": _cpu_name(), "threads": torch.get_num_threads()}


def git_revision(folder: Path) -> dict[str, Any] | None:
    """The commit of the checkout that `folder` is part of, and whether tracked files differ from it; None for an
    installed package (also for one that is installed inside a checkout of something else) and without git.
    """
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    revision, changes = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"revision": revision, "dirty": bool(changes)} if revision is not None and changes is not None else None


def _git(folder: Path, *words: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def describe_data(settings: Settings, data: LoadedData) -> dict[str, Any]:
    """How many pairs there are, and for each source what it gave and the fingerprint of what names its pairs."""
    sources = [*settings.data.train, *settings.data.validation]
    return {
        **_counts(data),
        "sources": [
            {"summary": report.summary()} | fingerprint(source, report)
            for source, report in zip(sources, data.reports, strict=True)
        ],
    }


def _counts(data: LoadedData) -> dict[str, int]:
    return {"training_pairs": len(data.train), "validation_pairs": len(data.validation)}


def fingerprint(source: SourceSettings, report: SourceReport) -> dict[str, Any]:
    """Path and SHA-256 of the table, the manifest or the captions of a source; of a folder of photographs, which has no
    such file, the SHA-256 of its images' names and sizes.
    """
    path = Path(resolve_path(source.path))
    if source.source == "manifest":
        path = open_manifest(path).path
    elif source.source == "minigpt4":
        path /= CAPTIONS_FILE
    if path.is_file():
        return {"path": str(path), "sha256": file_sha256(path)}
    digest = hashlib.sha256()
    for image in images_of(report.records):
        if isinstance(image, Path):
            digest.update(f"{image.relative_to(report.folder).as_posix()}\0{image.stat().st_size}\0".encode())
    return {"path": str(path), "sha256_of_names_and_sizes": digest.hexdigest()}


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
