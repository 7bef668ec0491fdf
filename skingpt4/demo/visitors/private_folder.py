"""A folder for one running server, which nobody else may look into and which does not outlive it."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

from skingpt4.durable import locked

NAMES = "skingpt4-page-"


class PrivateFolder:
    """An empty folder, in memory where the machine has such a place, which others may not enter (mode 0700).

    `close()` removes it with all that is in it. Those of servers that were killed are removed when one is made.
    """

    def __init__(self) -> None:
        place = memory_backed_place()
        _remove_stale(place)
        self._lock: int | None = None
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=NAMES, dir=place))
            self._lock = locked(self.path)
            if self.path.exists():  # else a server that started at this moment took it for a stale one
                break

    def close(self) -> None:
        """Remove the folder; done twice is no fault."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def memory_backed_place() -> Path:
    """Where Linux keeps files in memory; elsewhere the folder for temporary files."""
    shared_memory = Path("/dev/shm")
    return shared_memory if os.access(shared_memory, os.W_OK | os.X_OK) else Path(tempfile.gettempdir()).resolve()


def _remove_stale(place: Path) -> None:
    for folder in place.glob(f"{NAMES}*"):
        try:
            status = folder.lstat()
            if os.name != "posix" or status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode):
                continue
            lock = locked(folder)
        except OSError:  # its server runs, or another one is removing it
            continue
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)
