"""The content of photographs as SHA-256 digests, each file read once.

A digest is remembered under the file's path, size and times, as version control does it: when a run starts again, a
million photographs on a network drive are looked at, not read.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from skingpt4.data.records import ImageRef, PackedImage, file_sha256
from skingpt4.data.sequences import Records
from skingpt4.errors import DataError
from skingpt4.training.inputs.prefetch import in_order
from skingpt4.training.inputs.shards import DIGEST, Shards, as_digests

Progress = Callable[[Iterable[int], str, int], Iterable[int]]  # items, what they are, how many
SETTLED_SECONDS = 2.0  # a file that has just changed may change again within one tick of its file system's clock
UNREAD = b""  # stands for the digest of a file that cannot be read
_CHUNK = 256  # files per task of a thread
_SAVED_AT_ONCE = 50_000  # digests per file; as many are computed again after a kill


@dataclass(frozen=True)
class Photographs:
    """The U different photographs (by place) of N records. first: int64[U], a record that shows each, ascending;
    of_record: int64[N], which of them each record shows.
    """

    first: np.ndarray
    of_record: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    @classmethod
    def of(cls, records: Records) -> Photographs:
        """Those of `records`: a photograph may have many. (By digests of their names: 32 bytes for each.)"""
        names = (hashlib.sha256(os.fsencode(str(image))).digest() for image in records.images())
        _, first, of_record = np.unique(
            np.fromiter(names, DIGEST, len(records)), return_index=True, return_inverse=True
        )
        order = np.argsort(first)
        return cls(first[order], np.argsort(order)[of_record])


class Fingerprints:
    """SHA-256 of files, remembered in `folder`. threads: that read and hash at the same time."""

    def __init__(self, folder: Path, threads: int = 1):
        self._known = Shards(folder)
        self._digests = as_digests(self._known.column("content").numpy())
        self._threads = threads

    def of(self, images: Iterable[ImageRef], count: int, progress: Progress) -> np.ndarray:
        """S32[n]: the SHA-256 of each of `count` images, `UNREAD` for one that cannot be read.

        Raises `TrainingError` where what was found cannot be remembered.
        """
        chunks = in_order(self._of_chunk, _chunks(images), self._threads, ahead=2 * self._threads)
        found, new = [np.zeros(0, DIGEST)], [np.zeros((0, 2), DIGEST)]
        steps = -(-count // _CHUNK)
        for _ in progress(range(steps), f"looking at {count:,} photographs", steps):
            digests, keys, settled = next(chunks)
            found.append(digests)
            new.append(np.stack([keys[settled], digests[settled]], axis=1))
            if sum(map(len, new)) >= _SAVED_AT_ONCE:
                self._remember(np.concatenate(new))
                new = [np.zeros((0, 2), DIGEST)]
        self._remember(np.concatenate(new))
        return np.concatenate(found)

    def _of_chunk(self, images: list[ImageRef]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Digests and keys S32[n]; bool[n]: which of them are new and may be remembered."""
        settled_before = time.time() - SETTLED_SECONDS
        states = [_state(image) for image in images]
        keys = np.array([key for key, _ in states], DIGEST)
        rows = self._known.find(keys)
        is_new = rows < 0
        digests = np.zeros(len(images), DIGEST)
        digests[~is_new] = self._digests[rows[~is_new]]
        for number in np.flatnonzero(is_new).tolist():
            digests[number] = _content(images[number])
        settled = np.array([changed < settled_before for _, changed in states], bool)
        return digests, keys, settled & is_new & (digests != UNREAD)

    def _remember(self, pairs: np.ndarray) -> None:
        """pairs: S32[n, 2], keys and digests."""
        content = np.frombuffer(pairs[:, 1].tobytes(), np.uint8).reshape(-1, 32)
        self._known.add(pairs[:, 0], {"content": torch.from_numpy(content.copy())}, {"holds": "digests of files"})


def _chunks(images: Iterable[ImageRef]) -> Iterator[list[ImageRef]]:
    source = iter(images)
    while chunk := list(itertools.islice(source, _CHUNK)):
        yield chunk


def _state(image: ImageRef) -> tuple[bytes, float]:
    """A digest of where a file is and how it looks from outside, and when it changed last (seconds since 1970)."""
    file = image.shard if isinstance(image, PackedImage) else image
    try:
        status = file.stat()
    except OSError:
        return UNREAD, float("inf")
    part = f"{image.offset}+{image.size}" if isinstance(image, PackedImage) else "whole"
    state = f"{os.path.abspath(file)}|{part}|{status.st_size}|{status.st_mtime_ns}|{status.st_ctime_ns}"
    return hashlib.sha256(os.fsencode(state)).digest(), max(status.st_mtime, status.st_ctime)


def _content(image: ImageRef) -> bytes:
    try:
        if isinstance(image, PackedImage):
            return hashlib.sha256(image.read_bytes()).digest()
        return bytes.fromhex(file_sha256(image))
    except (OSError, DataError):
        return UNREAD
