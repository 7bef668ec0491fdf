"""The files of visitors, in memory: what each gave or got, up to a limit, for nobody but them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from skingpt4.errors import SkinGPTError

VISITOR_BYTES = 64 << 20  # what one visitor may keep; the oldest goes first
VISITOR_FILES = 100
ALL_BYTES = 512 << 20
UNCLAIMED_SECONDS = 120  # for an upload that no tab asks for: the page asks as soon as it is told the name
SWEEP_SECONDS = 30.0  # so often what is to be forgotten is looked for

FULL = "So many visitors are here that nothing more can be kept. Try again later."


class SessionError(SkinGPTError):
    """A request comes from another browser than the page it speaks for, the page is closed, or memory is full."""


@dataclass(frozen=True)
class Kept:
    """One file in memory. visitor: the owner's browser. page: the owner's tab; None for what no tab has asked for.
    since: on the monotonic clock.
    """

    name: str
    media_type: str
    data: bytes
    visitor: str
    page: str | None
    since: float

    @property
    def is_stale(self) -> bool:
        """Whether no tab has asked for it in time."""
        return self.page is None and time.monotonic() - self.since > UNCLAIMED_SECONDS


class KeptFiles:
    """Files by token. Whoever uses it from several threads holds a lock."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}

    def add(self, visitor: str, page: str | None, name: str, media_type: str, data: bytes) -> str:
        """The new file's token. The visitor's oldest make room; raises `SessionError` where all memory is full."""
        own = [token for token, kept in self._kept.items() if kept.visitor == visitor]
        size = len(data) + sum(len(self._kept[token].data) for token in own)
        while own and (size > VISITOR_BYTES or len(own) >= VISITOR_FILES):
            size -= len(self._kept.pop(own.pop(0)).data)
        if len(data) + self.size > ALL_BYTES:
            raise SessionError(FULL)
        token = secrets.token_urlsafe(32)
        self._kept[token] = Kept(name, media_type, data, visitor, page, time.monotonic())
        return token

    def get(self, token: str, visitor: str) -> Kept | None:
        """A visitor's own file; None for another's, as for one that is not there."""
        kept = self._kept.get(token)
        return kept if kept is not None and kept.visitor == visitor else None

    def pop(self, token: str, visitor: str) -> Kept | None:
        """The same, which is then no longer kept."""
        return self._kept.pop(token) if self.get(token, visitor) is not None else None

    def drop(self, chosen: Callable[[Kept], bool]) -> bool:
        """Whether there were any to be dropped."""
        stay = {token: kept for token, kept in self._kept.items() if not chosen(kept)}
        dropped = len(stay) < len(self._kept)
        self._kept = stay
        return dropped

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(len(kept.data) for kept in self._kept.values())

    @property
    def visitors(self) -> set[str]:
        """Who keeps anything."""
        return {kept.visitor for kept in self._kept.values()}
