"""Every image decoded once, on all cores, and measured; what is done is kept, so that an interrupted check goes on."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import os
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from skingpt4.data.quality.likeness import THUMBNAIL_PX, perceptual_hash, thumbnail
from skingpt4.data.records import ImageRef, PackedImage
from skingpt4.errors import DataError, ImageError
from skingpt4.images import open_image

if TYPE_CHECKING:
    from PIL.Image import Image

MEASURE = 1  # counts up when what is measured changes: older measurements are then taken again
SHARPNESS_SIDE_PX = 112  # half of what the model sees: blur that is gone at this size does not matter to it
NOISE = 4.0  # what grey noise of 0.45 of 255 levels (JPEG's, a camera's) adds to the variance of the Laplacian
_ORIENTATION_TAG = 0x0112
_CHUNK = 8  # images per task of a worker
_FEWEST_PER_WORKER = 64  # below, starting a process takes longer than the work


@dataclass(frozen=True)
class Inspection:
    """What one image file is. With an `error` (it is missing or cannot be decoded) nothing of the picture is known.

    bytes, modified_ns: of the file (of the shard: its time), by which a change is noticed. format: of the content, e.g.
    JPEG. width, height: upright pixels. turned: EXIF says so. contrast: standard deviation of grey, 0-255. sharpness:
    see `sharpness_of`. thumb: base64 of `likeness.thumbnail`.
    """

    image: str
    bytes: int
    modified_ns: int
    sha256: str = ""
    phash: str = ""
    format: str = ""
    width: int = 0
    height: int = 0
    turned: bool = False
    contrast: float = 0.0
    sharpness: float = 0.0
    thumb: str = ""
    missing: bool = False
    error: str = ""

    def thumbnail(self) -> np.ndarray | None:
        """uint8[32, 32], grey."""
        if not self.thumb:
            return None
        side = THUMBNAIL_PX
        return np.frombuffer(base64.b64decode(self.thumb), np.uint8).reshape(side, side)


def inspect_images(images: Mapping[str, ImageRef], kept: Path, workers: int = 0) -> dict[str, Inspection]:
    """Inspect images by name; `kept` is the JSON-lines file of what is known already, and grows as the work goes on.

    workers: processes; 0 = one per core. An image is inspected again when its size or time has changed. Raises
    `DataError` where a process dies.
    """
    known = _read_kept(kept)
    found: dict[str, Inspection] = {}
    todo: list[tuple[str, ImageRef]] = []
    for name, image in images.items():
        before = known.get(name)
        if before is not None and not before.missing and _state(image) == (before.bytes, before.modified_ns):
            found[name] = before
        else:
            todo.append((name, image))
    if not todo:
        return found
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.open("a", encoding="utf-8") as file:
        if file.tell():
            file.write("\n")  # the last line may be torn; empty ones are passed over
        for inspection in _with_bar(_inspected(todo, workers), len(todo)):
            found[inspection.image] = inspection
            file.write(json.dumps({"measure": MEASURE, **asdict(inspection)}) + "\n")
            file.flush()
    return found


def inspect_image(name: str, image: ImageRef) -> Inspection:
    """One image, read and decoded once."""
    size, modified = _state(image)
    if size < 0:
        return Inspection(name, size, modified, missing=True, error="the file is missing")
    content = b""
    try:
        content = image.read_bytes()
        picture = open_image(content)
    except (ImageError, DataError, OSError) as error:
        digest = hashlib.sha256(content).hexdigest() if content else ""
        return Inspection(name, size, modified, sha256=digest, error=str(error) or type(error).__name__)
    form, turned = _header(content)
    grey = picture.convert("L")
    small, thumb = reduced(grey), thumbnail(grey)
    return Inspection(
        name,
        size,
        modified,
        sha256=hashlib.sha256(content).hexdigest(),
        phash=perceptual_hash(thumb),
        format=form,
        width=picture.width,
        height=picture.height,
        turned=turned,
        contrast=round(float(small.std()), 3),
        sharpness=round(sharpness_of(small), 4),
        thumb=base64.b64encode(thumb.tobytes()).decode(),
    )


def reduced(grey: Image) -> np.ndarray:
    """float[H, W], 0-255, of a picture of mode "L", its longer side at most `SHARPNESS_SIDE_PX`."""
    from PIL.Image import Resampling

    scale = min(1.0, SHARPNESS_SIDE_PX / max(grey.size))
    size = max(1, round(grey.width * scale)), max(1, round(grey.height * scale))
    return np.asarray(grey.resize(size, Resampling.BOX), np.float64)


def sharpness_of(grey: np.ndarray) -> float:
    """How much fine detail float[H, W] (0-255) has for its contrast: the variance of the Laplacian, less noise, over
    the mean squared gradient. The Laplacian's variance alone calls a sharp picture of pale skin blurred, and a blurred
    one with a black frame sharp. 0 where there is nothing but noise.
    """
    if min(grey.shape) < 3:
        return 0.0
    inner = grey[1:-1, 1:-1]
    up, down, left, right = grey[:-2, 1:-1], grey[2:, 1:-1], grey[1:-1, :-2], grey[1:-1, 2:]
    laplacian = up + down + left + right - 4 * inner
    gradient = (((down - up) / 2) ** 2 + ((right - left) / 2) ** 2).mean()
    return float(max(0.0, laplacian.var() - NOISE) / max(gradient, 1e-9))


def read_thumbnails(images: Sequence[ImageRef]) -> list[np.ndarray | None]:
    """uint8[32, 32] of each image; None for those that cannot be read. Threads: decoding frees the interpreter."""

    def read(image: ImageRef) -> np.ndarray | None:
        try:
            return thumbnail(open_image(image.read_bytes()))
        except (ImageError, DataError, OSError):
            return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(read, images))


def _header(content: bytes) -> tuple[str, bool]:
    """Format of the content, and whether EXIF turns it. Of a file that `open_image` has read."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the size, which `open_image` has judged
            with Image.open(io.BytesIO(content)) as image:
                form = "JPEG" if image.format == "MPO" else str(image.format)
                return form, image.getexif().get(_ORIENTATION_TAG, 1) not in (0, 1)
    except UnidentifiedImageError:  # formats that are no plugin of Pillow's own
        return ("DICOM" if content[128:132] == b"DICM" else "HEIF"), False


def _state(image: ImageRef) -> tuple[int, int]:
    """Bytes and time of change; -1 bytes for a file that is not there."""
    try:
        status = (image.shard if isinstance(image, PackedImage) else image).stat()
    except OSError:
        return -1, 0
    return image.size if isinstance(image, PackedImage) else status.st_size, status.st_mtime_ns


def _inspected(todo: Sequence[tuple[str, ImageRef]], workers: int) -> Iterator[Inspection]:
    """In the order in which they are done."""
    count = min(workers or os.cpu_count() or 1, -(-len(todo) // _FEWEST_PER_WORKER))
    if count == 1:
        yield from (inspect_image(name, image) for name, image in todo)
        return
    chunks = iter([todo[start : start + _CHUNK] for start in range(0, len(todo), _CHUNK)])
    # spawn: a process forked beside threads (torch's, a progress bar's) can hang
    with ProcessPoolExecutor(count, get_context("spawn"), _leave_interrupts_to_the_parent) as pool:
        running: set[Future[list[Inspection]]] = set()
        try:
            while True:
                next_ones = itertools.islice(chunks, 3 * count - len(running))
                running |= {pool.submit(_inspect_chunk, chunk) for chunk in next_ones}
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield from future.result()
        except BrokenProcessPool as error:
            raise DataError(
                "A process that reads images was killed, most likely for want of memory. What it had done is kept; run "
                "the command again with --workers 1."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _inspect_chunk(chunk: Sequence[tuple[str, ImageRef]]) -> list[Inspection]:
    return [inspect_image(name, image) for name, image in chunk]


def _with_bar(inspections: Iterable[Inspection], count: int) -> Iterable[Inspection]:
    """With a bar on a terminal, with one line elsewhere."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if not console.is_terminal:
        print(f"reading {count:,} images …", file=sys.stderr)
        return inspections
    return track(inspections, "reading images", count, console=console, transient=True)


def _read_kept(path: Path) -> dict[str, Inspection]:
    """What earlier checks found, by name; lines that are torn or of another version are passed over."""
    known: dict[str, Inspection] = {}
    names = {item.name for item in fields(Inspection)}
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    values = json.loads(line)
                except ValueError:
                    continue
                if isinstance(values, dict) and values.pop("measure", 0) == MEASURE and values.keys() == names:
                    known[values["image"]] = Inspection(**values)
    return known
