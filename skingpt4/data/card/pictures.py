"""Small photographs for the card: a few of each class, disease or concept, drawn by a seed."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skingpt4.data.card.parts import Pictures
from skingpt4.data.licences import licence_of
from skingpt4.data.manifest import Manifest
from skingpt4.data.records import ImageRef
from skingpt4.errors import SkinGPTError
from skingpt4.images import open_image

MOST_GROUPS = 12
SIDE_PX = 192  # shown at half of it, sharp on fine screens
_QUALITY = 80
_GROUPINGS = ("disease_class", "disease", "concepts")  # the first with at least two values is used


@dataclass
class Gallery:
    """groups: at most `MOST_GROUPS`, the commonest first. left_out: sources whose licence forbids showing their
    images, with the number of images. unreadable: images drawn that could not be opened.
    """

    groups: list[Pictures] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    unreadable: int = 0


def gallery(manifest: Manifest, per_group: int, seed: int, whatever_licence: bool) -> Gallery:
    """Draw `per_group` photographs of each group. whatever_licence: also those that may not be passed on."""
    found = Gallery()
    allowed = _allowed(manifest, found, whatever_licence)
    rows = _rows_by_value(manifest, allowed)
    numbers = np.random.default_rng(seed)
    for name, group in sorted(rows.items(), key=lambda item: (-len(item[1]), item[0]))[:MOST_GROUPS]:
        drawn = numbers.permutation(len(group))[: 4 * per_group]  # a few more than wanted: some may be unreadable
        urls = list(_first(per_group, manifest, (group[index] for index in drawn), found))
        if urls:
            found.groups.append(Pictures(name, urls))
    return found


def _allowed(manifest: Manifest, found: Gallery, whatever_licence: bool) -> np.ndarray:
    """bool[rows]: may be shown. Notes in `found` what may not."""
    pairs = list(zip(manifest.column("source"), manifest.column("licence"), strict=True))
    permits = {pair: whatever_licence or licence_of(*pair).pictures for pair in set(pairs)}
    for pair in pairs:
        if not permits[pair]:
            found.left_out[pair[0]] = found.left_out.get(pair[0], 0) + 1
    return np.fromiter((permits[pair] for pair in pairs), bool, len(pairs))


def _rows_by_value(manifest: Manifest, allowed: np.ndarray) -> dict[str, list[int]]:
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for column in _GROUPINGS:
        rows.clear()
        for row, value in enumerate(manifest.column(column)):
            if allowed[row]:
                for name in _names(value):
                    rows[name].append(row)
        if len(rows) > 1:
            break
    return rows


def _names(value: Any) -> Iterable[str]:
    return value if isinstance(value, list) else [value] if value else []


def _first(wanted: int, manifest: Manifest, rows: Iterable[int], found: Gallery) -> Iterator[str]:
    """The first photographs that can be read; counts the others."""
    given = 0
    for row in rows:
        if given == wanted:
            return
        try:
            url = thumbnail(manifest[int(row)].image)
        except (SkinGPTError, OSError):
            found.unreadable += 1
            continue
        given += 1
        yield url


def thumbnail(image: ImageRef) -> str:
    """A small square JPEG as a `data:` URL. Raises `ImageError` or `DataError` for what cannot be read.

    It is made anew from the pixels, so nothing that the camera wrote into the file (place, time, name) is in it.
    """
    from PIL import ImageOps
    from PIL.Image import Resampling

    picture = open_image(image.read_bytes())
    buffer = io.BytesIO()
    ImageOps.fit(picture, (SIDE_PX, SIDE_PX), Resampling.LANCZOS).save(buffer, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
