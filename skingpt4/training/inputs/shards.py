"""A folder of safetensors files that several processes and runs add to at once, its rows found by 32-byte digests.

A file is there whole or not at all and is never changed, so nothing has to be locked: each process writes files of its
own, and a digest that two of them added is read from either.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from skingpt4.errors import TrainingError

DIGEST = "S32"  # NumPy's type of a SHA-256: sorted and searched as fast as numbers
KEYS = "sha256"
SUFFIX, PARTIAL = ".safetensors", ".partial"
ROWS_PER_FILE, SECONDS_PER_FILE = 1024, 60.0  # a kill costs the work of so long at most
LEFT_BEHIND_SECONDS = 3600  # a partial file so old belongs to a process that was killed


class Shards:
    """The rows of a folder, of all files in it. names: the tensors that every file holds beside `sha256` uint8[n, 32].

    Values stay in the files, memory-mapped; only the digests are in memory (80 bytes per row). Can be sent to worker
    processes. A file that is torn is left aside with a warning.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._files: list[Path] = []
        self._starts = np.zeros(1, np.int64)  # the first row of each file, and the number of rows
        self._keys = np.zeros(0, DIGEST)
        self._open: dict[tuple[int, str], Any] = {}
        self.refresh()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}  # an open file cannot be sent to another process

    def refresh(self) -> None:
        """Take in the files that have been added since; rows keep their numbers."""
        known, keys, sizes = set(self._files), [self._keys], []
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            if path in known or path.name.startswith("."):
                continue
            try:
                with safe_open(path, "pt") as file:
                    found = file.get_tensor(KEYS).numpy()
            except (SafetensorError, OSError) as error:
                logging.getLogger(__name__).warning(
                    "%s is damaged and left aside (%s); what it held is made again.", path, error
                )
                continue
            self._files.append(path)
            keys.append(as_digests(found))
            sizes.append(len(found))
        if sizes:
            self._keys = np.concatenate(keys)
            self._starts = np.concatenate([self._starts, self._starts[-1] + np.cumsum(sizes)])
        self._order = np.argsort(self._keys, kind="stable")
        self._sorted = self._keys[self._order]

    def find(self, digests: np.ndarray) -> np.ndarray:
        """int64[n]: the row of each of these digests S32[n], -1 where there is none."""
        rows = np.full(len(digests), -1, np.int64)
        if len(self._sorted):
            places = np.minimum(np.searchsorted(self._sorted, digests), len(self._sorted) - 1)
            there = self._sorted[places] == digests
            rows[there] = self._order[places[there]]
        return rows

    def read(self, name: str, row: int, *index: int) -> Tensor:
        """`name`'s value at a row (and at `index` within it), read from the file: its size counts, not the file's."""
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        if (number, name) not in self._open:
            self._open[number, name] = safe_open(self._files[number], "pt").get_slice(name)
        within = (int(row - self._starts[number]), *index)
        return self._open[number, name][within]

    def column(self, name: str) -> Tensor:
        """`name`'s values at all rows."""
        parts = []
        for path in self._files:
            with safe_open(path, "pt") as file:
                parts.append(file.get_tensor(name))
        return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.uint8)

    def add(self, digests: np.ndarray, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
        """Write a file of rows with these digests S32[n] (none where n is 0); `refresh` shows it.

        about: texts for its header. Raises `TrainingError` where it cannot be written, a full disk for example.
        """
        if not len(digests):
            return
        name = uuid.uuid4().hex
        partial = self.folder / f".{name}{PARTIAL}"
        keys = torch.from_numpy(np.frombuffer(digests.astype(DIGEST).tobytes(), np.uint8).reshape(-1, 32).copy())
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_left_behind()
            save_file({KEYS: keys, **tensors}, partial, dict(about))
            with partial.open("rb") as file:
                os.fsync(file.fileno())  # else a power cut may leave the name without the content
            partial.replace(self.folder / f"{name}{SUFFIX}")
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                f"Nothing more can be written to {self.folder}: {error}. What is there already is kept: make room, or "
                "set data.feature_cache to a folder on another disk, and start again."
            ) from error
        finally:
            partial.unlink(missing_ok=True)

    def _remove_left_behind(self) -> None:
        for path in self.folder.glob(f".*{PARTIAL}"):
            try:
                if time.time() - path.stat().st_mtime > LEFT_BEHIND_SECONDS:
                    path.unlink()
            except OSError:  # another process was quicker
                continue


class ShardWriter:
    """Gathers rows until they are worth a file: `with ShardWriter(shards, about) as writer`. What has been gathered is
    written when the block ends, by an error too. about: texts for the header of each file.
    """

    rows_per_file = ROWS_PER_FILE

    def __init__(self, shards: Shards, about: Mapping[str, str]):
        self._shards, self._about = shards, about
        self._digests: list[np.ndarray] = []
        self._tensors: list[Mapping[str, Tensor]] = []
        self._written = time.monotonic()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write()

    def add(self, digests: np.ndarray, tensors: Mapping[str, Tensor]) -> None:
        """Rows with these digests S32[n]. Raises `TrainingError` as `Shards.add`."""
        self._digests.append(digests)
        self._tensors.append(tensors)
        late = time.monotonic() - self._written > SECONDS_PER_FILE
        if late or sum(map(len, self._digests)) >= self.rows_per_file:
            self._write()

    def _write(self) -> None:
        if self._digests:
            names = self._tensors[0]
            tensors = {name: torch.cat([part[name] for part in self._tensors]) for name in names}
            self._shards.add(np.concatenate(self._digests), tensors, self._about)
        self._digests, self._tensors, self._written = [], [], time.monotonic()


def as_digests(values: np.ndarray) -> np.ndarray:
    """uint8[n, 32] -> S32[n], the same bytes."""
    return np.frombuffer(np.ascontiguousarray(values).tobytes(), DIGEST)
