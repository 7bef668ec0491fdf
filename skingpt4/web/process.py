"""What a program sees to before it serves anybody."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

OPEN_FILES = 8192  # more than visitors need; where there is no limit at all, some libraries loop over all numbers


def prepare_process() -> None:
    """For a program that does nothing but serve: what it writes is for its user only, it fetches nothing, and it may
    hold many connections.
    """
    os.umask(0o077)
    fetch_nothing()
    allow_many_files()


def fetch_nothing() -> None:
    """The hub's libraries stay offline from here on, whether they were imported already or not."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    if constants := sys.modules.get("huggingface_hub.constants"):  # has read the environment
        constants.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]


def allow_many_files() -> None:
    """Connections are files; the limit that a process starts with is often 1024, and may be raised by itself."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS allows fewer than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
