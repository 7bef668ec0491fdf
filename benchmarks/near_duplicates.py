"""Near duplicates among as many images as Fitzpatrick17k has, from their perceptual hashes and thumbnails.

Command: python benchmarks/near_duplicates.py [--images 16577]
The claim it backs: duplicates of 16,577 images are found in minutes on two cores, most of it decoding.

The stand-ins for photographs are dark spots on light ground over random texture, which a perceptual hash cannot tell
apart well: many candidates, few duplicates. The last 1 % are copies of the first, resized and saved again.
"""

from __future__ import annotations

import argparse
import io
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from skingpt4.data.quality.duplicates import find_duplicates
from skingpt4.data.quality.inspection import inspect_image
from skingpt4.data.quality.likeness import NEAR_BITS, as_numbers, near_pairs, perceptual_hash, thumbnail
from skingpt4.tiny.renderer import random_description, render

COPIED, SIDE_PX, PHOTOGRAPH_PX, DECODED = 0.01, 64, 600, 24


def main() -> None:
    """Print the seconds of each part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=16_577)
    count = parser.parse_args().images
    print(f"{platform.processor() or platform.machine()}, numpy {np.__version__}, {count:,} images")

    random = np.random.default_rng(0)
    values = random.integers(0, 2**64, count, dtype=np.uint64)
    timed("random hashes compared with each other", lambda: near_pairs(values))

    thumbs = _thumbnails(count, random)
    hashes = timed("perceptual hashes of thumbnails", lambda: [perceptual_hash(thumb) for thumb in thumbs])
    candidates = timed("candidates among them", lambda: near_pairs(as_numbers(hashes)))
    contents = [str(number) for number in range(count)]
    found = timed(
        "duplicates, with the comparison of candidates",
        lambda: find_duplicates(contents, hashes, lambda wanted: [thumbs[number] for number in wanted]),
    )
    copied = int(count * COPIED)
    planted = {(number, count - copied + number) for number in range(copied)}
    right = planted & set(map(tuple, found.near.tolist()))
    print(
        f"{len(candidates):,} candidates within {NEAR_BITS} of 64 bits, {len(found.near):,} near duplicates, ", end=""
    )
    print(f"of the {copied:,} planted copies {len(right):,}")
    _decode()


def timed(what: str, work: Callable[[], Any]) -> Any:
    """Do the work, print its time, return its result."""
    started = time.perf_counter(), time.process_time()
    result = work()
    print(f"{what}: {time.perf_counter() - started[0]:.1f} s ({time.process_time() - started[1]:.1f} s of CPU)")
    return result


def _thumbnails(count: int, random: np.random.Generator) -> list[np.ndarray]:
    """uint8[32, 32] each: different pictures, the last 1 % copies of the first."""
    copied = int(count * COPIED)
    thumbs = []
    copies = []
    for number in range(count - copied):
        picture = _stand_in(random)
        thumbs.append(thumbnail(picture))
        if number < copied:
            stream = io.BytesIO()
            picture.resize((48, 48)).save(stream, "JPEG", quality=60)
            copies.append(thumbnail(Image.open(stream)))
    return thumbs + copies


def _stand_in(random: np.random.Generator) -> Image.Image:
    """A dark spot in the middle of a light square, of random size and place, over noise with the spectrum of
    photographs (amplitude falls with frequency): all much alike to a perceptual hash.
    """
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE_PX), np.fft.fftfreq(SIDE_PX)))
    waves = np.fft.fft2(random.normal(size=(SIDE_PX, SIDE_PX))) / np.maximum(frequency, 1 / SIDE_PX)
    noise = np.fft.ifft2(waves).real
    y, x = np.mgrid[-1 : 1 : SIDE_PX * 1j, -1 : 1 : SIDE_PX * 1j]
    width, height, right, down = random.uniform(0.25, 0.5, 2).tolist() + random.normal(0, 0.1, 2).tolist()
    spot = np.exp(-(((x - right) / width) ** 2) - ((y - down) / height) ** 2)
    grey = 190 - 90 * spot + random.uniform(8, 16) * noise / noise.std()
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8))


def _decode() -> None:
    """Read, decode and measure one photograph: what each of the images costs before."""
    random = np.random.default_rng(1)
    image = Image.fromarray(render(random_description(random), random).image).resize((PHOTOGRAPH_PX, PHOTOGRAPH_PX))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photograph.jpg"
        image.save(path, quality=90)
        inspect_image(path.name, path)
        started = time.process_time()
        for _ in range(DECODED):
            inspect_image(path.name, path)
        each = (time.process_time() - started) / DECODED
    print(
        f"reading and measuring one JPEG of {PHOTOGRAPH_PX} x {PHOTOGRAPH_PX}: {each * 1e3:.1f} ms of CPU on one core"
    )


if __name__ == "__main__":
    main()
