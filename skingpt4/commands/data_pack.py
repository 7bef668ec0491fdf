"""`skingpt4 data pack DIR --out DIR2`: a manifest and its images as tar shards."""

from __future__ import annotations

import argparse
from pathlib import Path

from skingpt4.errors import DataError


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of `data pack`."""
    parser.add_argument("manifest", type=Path, metavar="DIR", help="what `data build` wrote, or a manifest file")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR2", help="a new folder: shards/ and a manifest")
    parser.add_argument(
        "--images", type=Path, metavar="ROOT", help="the folder that image names are relative to; default: as built"
    )
    parser.add_argument("--shard-mb", type=int, default=512, metavar="N", help="size of a shard at most (default: 512)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Pack, and say how many shards there are. Raises `DataError` as `pack` does."""
    from skingpt4.data.manifest import open_manifest
    from skingpt4.data.pack import SHARDS, pack
    from skingpt4.data.records import existing_folder

    if arguments.shard_mb < 1:
        raise DataError(f"--shard-mb is {arguments.shard_mb}; 1 or more was expected.")
    root = existing_folder(str(arguments.images), "the images' root") if arguments.images else None
    manifest = open_manifest(arguments.manifest, root)
    written = pack(manifest, arguments.out, arguments.shard_mb << 20)
    count = len(list((arguments.out / SHARDS).iterdir()))
    print(f"Packed {len(manifest):,} records into {count:,} shard{'s' * (count > 1)} in {arguments.out}.")
    print(f"Train on it: {{source: manifest, path: {written.parent}}}")
    return 0
