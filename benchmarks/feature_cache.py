"""The feature cache: what filling it costs, what a sample read from it costs, how it is with a million photographs.

Command: python benchmarks/feature_cache.py [--photographs N] [--threads N] [--million N]     About five minutes.
Filled at the `mini` sizes of `training_speed.py` (ViT 384 x 12 at 224 px, Q-Former 384 x 6 with 32 queries), four crops
of each JPEG of 800 x 600. Random weights: speed does not depend on them. Reading is by features' true size, 32 x 768.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from memory_meter import machine, resident
from PIL import Image

from skingpt4.data.records import ImageRef, Record, diagnosis_record
from skingpt4.data.sequences import Records
from skingpt4.settings import Settings
from skingpt4.training.inputs import features, fingerprints
from skingpt4.training.inputs.features import FeatureCache
from skingpt4.training.inputs.fingerprints import Fingerprints, Photographs
from skingpt4.training.inputs.prefetch import in_order
from skingpt4.training.inputs.shards import ROWS_PER_FILE, Shards, as_digests
from skingpt4.training.inputs.views import Viewer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from tiny_models import Sizes, settings_for, write_checkpoints

MINI = Sizes(
    image_px=224, vit_width=384, vit_depth=12, vit_heads=6, mlp_ratio=4.0, queries=32, qformer_width=384,
    qformer_layers=6, qformer_heads=6, qformer_intermediate=1536,
)  # fmt: skip
VIEWS, QUERIES, WIDTH = 4, 32, 768
READS = 20_000


def photographs(folder: Path, count: int) -> list[Record]:
    """JPEGs of smooth colours with noise, about 110 kB each."""
    draw = np.random.default_rng(0)
    ramp = np.linspace(0, 8, 800)[None, :, None] + np.linspace(0, 5, 600)[:, None, None] + np.arange(3)
    records = []
    for number in range(count):
        levels = 128 + 90 * np.sin(ramp + number) + draw.normal(0, 6, (600, 800, 3))
        path = folder / f"{number}.jpg"
        Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
        records.append(diagnosis_record(path, "eczema", "", "drawn"))
    return records


def seconds_of(work: Callable[[], object]) -> float:
    """Wall seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def filling(settings: Settings, records: Records, folder: Path, threads: Iterable[int]) -> None:
    """Print photographs a second by precision, threads and batch, each into a folder of its own; CPU seconds stand
    beside the clock's, as the machine may be shared.
    """
    print(f"\n| filling, {VIEWS} views | decoding threads | views at once | photographs/s | CPU s per photograph |")
    print("|---|---:|---:|---:|---:|")
    settings.data.cached_views = VIEWS
    for number, (precision, count, batch) in enumerate(itertools.product(("fp32", "bf16"), threads, (VIEWS, 32))):
        settings.model.precision, settings.data.feature_cache = precision, str(folder / str(number))
        features.decoding_threads, features.BATCH_VIEWS = lambda _, count=count: count, {"cpu": batch, "cuda": batch}
        cache = FeatureCache(settings, Accelerator(cpu=not torch.cuda.is_available()))
        cache._encoder  # noqa: B018 - loaded before the clock starts
        cpu = time.process_time()
        rate = len(records) / seconds_of(lambda: cache.features(records, Photographs.of(records), True))  # noqa: B023
        cpu = (time.process_time() - cpu) / len(records)
        print(f"| {precision} | {count} | {batch} | {rate:.2f} | {cpu:.2f} |", flush=True)


def decoding(records: Records, threads: Iterable[int]) -> None:
    """Print how fast photographs are decoded alone: with more threads than this a faster encoder has to wait."""
    viewer = Viewer(224, random_crop=True, seed=0)
    for count in threads:
        seen = in_order(lambda image: viewer.see(image, range(VIEWS)), records.images(), count, ahead=4 * count)
        cpu = time.process_time()
        rate = len(records) / seconds_of(lambda: list(seen))  # noqa: B023
        cpu = (time.process_time() - cpu) / len(records)
        print(f"Decoding alone, {count} threads: {rate:.1f} photographs/s, {cpu * 1e3:.0f} ms of CPU each")


def reading(folder: Path) -> None:
    """Print samples a second and bytes per photograph at true size; the files are in the page cache."""
    values = torch.randn(512, VIEWS, QUERIES, WIDTH)
    for dtype in (torch.float16, torch.float32):
        shards = Shards(folder / str(dtype))
        for part in range(4):
            digests = np.frombuffer(np.random.default_rng(part).bytes(32 * len(values)), "S32")
            shards.add(digests, {"features": values.to(dtype)}, {})
        shards.refresh()
        size = sum(path.stat().st_size for path in shards.folder.iterdir()) / len(shards)
        draw = np.random.default_rng(9)
        places = zip(
            draw.integers(0, len(shards), READS).tolist(), draw.integers(0, VIEWS, READS).tolist(), strict=True
        )
        rate = READS / seconds_of(lambda: [shards.read("features", row, view) for row, view in places])  # noqa: B023
        kind = str(dtype).removeprefix("torch.")
        print(f"{kind}: {size:,.0f} bytes per photograph of {VIEWS} views; {rate:,.0f} random samples/s read")


def scale(folder: Path, count: int) -> None:
    """Print what opening and searching a cache of so many photographs costs (features of one number each)."""
    digests = as_digests(np.frombuffer(np.random.default_rng(1).bytes(32 * count), np.uint8).reshape(-1, 32))
    writer = Shards(folder)
    for start in range(0, count, ROWS_PER_FILE):
        part = digests[start : start + ROWS_PER_FILE]
        writer.add(part, {"features": torch.zeros(len(part), 1, 1, 1)}, {})
    before = resident()[0]
    shards: list[Shards] = []
    opened = seconds_of(lambda: shards.append(Shards(folder)))
    grown = resident()[0] - before
    rows: list[np.ndarray] = []
    found = seconds_of(lambda: rows.append(shards[0].find(digests)))
    assert (rows[0] >= 0).all()
    first = seconds_of(lambda: [shards[0].read("features", row, 0) for row in range(0, count, ROWS_PER_FILE)])
    draw = np.random.default_rng(2).integers(0, count, READS).tolist()
    read = seconds_of(lambda: [shards[0].read("features", row, 0) for row in draw]) / READS
    files = len(list(folder.iterdir()))
    print(
        f"{count:,} photographs in {files:,} shards: opened in {opened:.2f} s ({grown / 1e6:.0f} MB), all found in "
        f"{found:.2f} s; the first read of a shard {first / files * 1e3:.1f} ms, then {read * 1e6:.0f} µs each"
    )


def hashing(folder: Path, count: int) -> None:
    """Print what it costs to know the content of files, the first time and later."""
    fingerprints.SETTLED_SECONDS = -1.0  # they have just been written
    content, images = np.random.default_rng(3).bytes(100_000), []
    for number in range(count):
        path: ImageRef = folder / f"{number}.jpg"
        path.write_bytes(hashlib.sha256(str(number).encode()).digest() + content)
        images.append(path)
    known = folder / "known"
    rates = [
        count / seconds_of(lambda: Fingerprints(known, 2).of(images, count, lambda items, *_: items)) for _ in range(2)
    ]
    print(f"Files of 100 kB, 2 threads: {rates[0]:,.0f}/s read and hashed, {rates[1]:,.0f}/s known from before")


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photographs", type=int, default=32)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--million", type=int, default=1_000_000, help="photographs of the large cache")
    arguments = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("images", "files"):
            (folder / part).mkdir()
        write_checkpoints(folder / "weights", MINI)
        settings = settings_for(folder / "weights", MINI)
        settings.run.device = "auto"
        records = Records([photographs(folder / "images", arguments.photographs)])
        filling(settings, records, folder / "cache", arguments.threads)
        print()
        decoding(records, arguments.threads)
        reading(folder / "reading")
        hashing(folder / "files", 5_000)
        scale(folder / "scale", arguments.million)


if __name__ == "__main__":
    main()
