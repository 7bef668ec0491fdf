"""Files and folders that are there whole or not at all, whenever the process is killed or the machine loses power; and
what one process has for itself.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"  # part of the name of what is being written
SET_ASIDE = ".old"  # ends the name of a folder that its successor is about to replace


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place beside `path` to write a file or a folder of files; when the block ends it takes the place of `path`.

    Its content is on the disk before it gets its name. When the block raises, `path` is as it was and nothing is left.
    A folder cannot take another's name in one move: for that moment the old one is called `NAME.old`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}{PARTIAL}{path.suffix}")
    remove(partial)  # what a killed process left
    try:
        yield partial
        for file in sorted(partial.iterdir()) if partial.is_dir() else ():
            _sync(file)
        _sync(partial)
        if path.is_dir() and partial.is_dir():
            aside = path.with_name(path.name + SET_ASIDE)
            remove(aside)
            path.rename(aside)
            partial.rename(path)
            _sync(path.parent)
            remove(aside)
        else:
            partial.replace(path)
            _sync(path.parent)
    finally:
        remove(partial)


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file, making its folders; returns `path`. Raises `OSError` (a full disk); `path` is then as it was."""
    with replacing(path) as partial:
        partial.write_bytes(content)
    return path


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def locked(path: Path) -> int | None:
    """A lock on a file or folder, which ends with the process however that ends, or with `os.close`; None where this
    is no Unix. Raises `BlockingIOError` where another has it, another `OSError` where the file system knows no locks.
    """
    if os.name != "posix":
        return None
    import fcntl

    opened = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        raise
    return opened


@contextmanager
def alone(path: Path, otherwise: Exception) -> Iterator[None]:
    """While the block runs, no other process's `alone` runs on this file or folder. Raises `otherwise` where one does.
    A file system that knows no locks holds nobody off.
    """
    try:
        lock = locked(path)
    except BlockingIOError as error:
        raise otherwise from error
    except OSError:
        lock = None
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders, and needs no such call
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
