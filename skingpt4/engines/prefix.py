"""What of a prompt a decoder's memory holds already: as far as it begins like what was read before."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from skingpt4.engines.seam import Segment


class ReadSoFar:
    """The positions that a memory holds: token ids, and image tokens by identity."""

    def __init__(self) -> None:
        self._keys: list[object] = []  # per position: a token id, or (image tokens, row)
        self._images: list[Tensor] = []  # keeps those tensors alive, so that their identity stays theirs

    def __len__(self) -> int:
        return len(self._keys)

    def shared(self, segments: Sequence[Segment]) -> int:
        """How many positions need not be read again; never all of them, for the last one gives the next token."""
        keys = _keys(segments)
        count = 0
        while count < min(len(keys) - 1, len(self._keys)) and keys[count] == self._keys[count]:
            count += 1
        return count

    def keep(self, count: int) -> None:
        """Only the first `count` are held still."""
        self._keys = self._keys[:count]

    def set(self, segments: Sequence[Segment]) -> None:
        """The whole prompt is held now, and nothing else."""
        self._keys = _keys(segments)
        self._images = [segment for segment in segments if isinstance(segment, Tensor)]

    def append(self, token: int) -> None:
        """One token of the answer more."""
        self._keys.append(token)


def _keys(segments: Sequence[Segment]) -> list[object]:
    return [
        key
        for segment in segments
        for key in ([(id(segment), row) for row in range(len(segment))] if isinstance(segment, Tensor) else segment)
    ]
