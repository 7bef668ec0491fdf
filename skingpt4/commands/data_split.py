"""`skingpt4 data split DIR`: splits without leaks, and with every concept, class and skin type in its proportion."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skingpt4.commands.data_check import add_workers
from skingpt4.errors import DataError

if TYPE_CHECKING:
    from skingpt4.data.manifest import Manifest
    from skingpt4.data.quality.splits import Split

DEFAULT_FRACTIONS = ("train=0.8", "validation=0.1", "test=0.1")
_SHOWN = 8  # labels of each kind; split.json has all
SPLITS = ("train", "validation", "test")  # of `data.stratify`, which is not imported to show the help


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of `data split`."""
    parser.description = (
        "Deal the records out so that copies (equal or nearly so), ids, patients and lesions never part, and concepts, "
        "classes, skin types and sources keep their proportions. The same seed and images give the same splits."
    )
    parser.add_argument("dir", type=Path, metavar="DIR", help="a folder with manifest.parquet, or a manifest")
    parser.add_argument("--images", type=Path, metavar="ROOT", help="the folder that image names are relative to")
    parser.add_argument(
        "--fractions",
        nargs="+",
        default=list(DEFAULT_FRACTIONS),
        metavar="SPLIT=SHARE",
        help=f"default: {' '.join(DEFAULT_FRACTIONS)}",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--keep-existing",
        nargs="*",
        choices=SPLITS,
        metavar="SPLIT",
        help="these splits of the manifest (no name: all) stay; only copies that lie in two of them move, to the "
        "held-out one",
    )
    parser.add_argument(
        "--out", type=Path, metavar="OUT", help="the folder for the manifest and split.json (default: DIR)"
    )
    parser.add_argument("--force", action="store_true", help="replace the splits that are there")
    add_workers(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Split, write the manifest with its splits and hashes, and `split.json`."""
    from skingpt4.data.manifest import open_manifest
    from skingpt4.data.quality.hashes import PROGRESS
    from skingpt4.data.quality.splits import split_manifest
    from skingpt4.data.rewrite import write_columns, write_json

    manifest = open_manifest(arguments.dir, arguments.images)
    out = arguments.out or manifest.path.parent
    fractions = parse_fractions(arguments.fractions)
    if not arguments.force:
        _refuse_to_replace(manifest, out)
    keep = SPLITS if arguments.keep_existing == [] else tuple(arguments.keep_existing or ())
    progress = manifest.path.parent / PROGRESS if (manifest.path.parent / PROGRESS).is_file() else out / PROGRESS
    split = split_manifest(manifest, fractions, arguments.seed, progress, keep, max(0, arguments.workers))
    columns = {"split": split.split, "sha256": split.sha256, "phash": split.phash}
    written = write_columns(manifest, columns, out)
    write_json(out / "split.json", _note(split, manifest, fractions, arguments.seed, keep))
    _show(split)
    print(f"Wrote {', '.join(str(path) for path in [*written, out / 'split.json'])}.")
    return 0


def parse_fractions(texts: list[str]) -> dict[str, float]:
    """`train=0.8` … -> fractions by split. Raises `DataError` for another form and a split that is given twice."""
    fractions: dict[str, float] = {}
    for text in texts:
        name, equals, share = text.partition("=")
        try:
            value = float(share)
        except ValueError:
            value = float("nan")
        if not equals or value != value or name in fractions:
            raise DataError(f"--fractions {text!r}: a split and its share, each split once, were expected: train=0.8")
        fractions[name] = value
    return fractions


def _refuse_to_replace(manifest: Manifest, out: Path) -> None:
    if out.resolve() == manifest.path.parent.resolve():
        if any(manifest.column("split")):
            raise DataError(f"{manifest.path} has splits already; give --force to replace them, or another --out.")
    elif (there := [path.name for path in out.glob("manifest.*")]) or out.is_file():
        raise DataError(f"{out} already holds {', '.join(there) or 'a file'}; give another --out, or --force.")


def _note(
    split: Split, manifest: Manifest, fractions: dict[str, float], seed: int, keep: tuple[str, ...]
) -> dict[str, Any]:
    from skingpt4.data.rewrite import versions

    return {
        "manifest": manifest.path.name,
        "records": len(manifest),
        "seed": seed,
        "fractions": {"asked": fractions, "reached": split.reached()},
        "groups": {
            "count": split.groups,
            "largest": split.largest_group,
            "exact_duplicates": split.exact_duplicates,
            "near_duplicates": split.near_duplicates,
        },
        "kept_existing": {"splits": list(keep), "records": split.kept, "moved": split.moved},
        "table": split.table,
        "versions": versions(),
    }


def _show(split: Split) -> None:
    from skingpt4.commands.tables import print_table

    reached = split.reached()
    names = [name for name in SPLITS if name in reached]
    rows = [
        ("records", f"{len(split.split):,}", *(f"{split.split.count(name):,}" for name in names)),
        ("share", "", *(f"{reached[name]:.2%}" for name in names)),
    ]
    for kind, labels in split.table.items():
        for label, counts in sorted(labels.items(), key=lambda item: -sum(item[1].values()))[:_SHOWN]:
            rows.append((f"{kind}: {label}", f"{sum(counts.values()):,}", *(f"{counts[name]:,}" for name in names)))
    print_table(("", "all", *names), rows)
    print(
        f"\n{split.groups:,} groups that stay together (the largest: {split.largest_group:,} records); "
        f"{split.exact_duplicates:,} exact and {split.near_duplicates:,} near duplicates among the images."
    )
    if split.kept or split.moved:
        print(f"{split.kept:,} records keep their split; {len(split.moved):,} images moved to where a copy of them is.")
