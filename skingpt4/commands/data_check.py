"""`skingpt4 data check DIR [OTHER]`: what is wrong with the images of a data set, or what two sets share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skingpt4.data.manifest import Manifest
    from skingpt4.data.quality.check import Check
    from skingpt4.data.quality.leaks import Leak

FOUND_PROBLEMS = 1
_SHOWN = 3


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of `data check`."""
    parser.description = (
        "Decode every image once and report what is unreadable, too small, blank, blurred, misnamed, turned or there "
        "twice; fill the manifest's hashes in. With OTHER: report what of OTHER is in DIR too. An interrupted check "
        "goes on where it stood. Exit code 1 = something should be looked at."
    )
    parser.add_argument("dir", type=Path, metavar="DIR", help="a folder with manifest.parquet, or a manifest")
    parser.add_argument("other", type=Path, metavar="OTHER", nargs="?", help="another one: a validation or test set")
    parser.add_argument("--images", type=Path, metavar="ROOT", help="the folder that image names are relative to")
    parser.add_argument("--other-images", type=Path, metavar="ROOT", help="the same, for OTHER")
    parser.add_argument(
        "--out", type=Path, metavar="OUT", help="where check.json and the manifest with its hashes go (default: DIR)"
    )
    parser.add_argument(
        "--min-side", type=int, default=64, metavar="PX", help="smaller images are reported (default: 64)"
    )
    parser.add_argument(
        "--min-sharpness",
        type=float,
        default=0.8,
        metavar="NUMBER",
        help="images with less are called blurred (default: 0.8; 0 = none); check.json has the percentiles",
    )
    add_workers(parser)
    parser.set_defaults(run=run)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """`--workers`, as in `data split`."""
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes (default: one per core)")


def run(arguments: argparse.Namespace) -> int:
    """Check one set, or look for leaks between two."""
    from skingpt4.data.manifest import open_manifest

    manifest = open_manifest(arguments.dir, arguments.images)
    out = arguments.out or manifest.path.parent
    if arguments.other is not None:
        return _compare(manifest, open_manifest(arguments.other, arguments.other_images), out)
    return _check(manifest, out, arguments)


def _check(manifest: Manifest, out: Path, arguments: argparse.Namespace) -> int:
    from skingpt4.data.quality.check import check_manifest
    from skingpt4.data.quality.hashes import PROGRESS
    from skingpt4.data.rewrite import versions, write_columns, write_json

    check = check_manifest(
        manifest, out / PROGRESS, arguments.min_side, arguments.min_sharpness, max(0, arguments.workers)
    )
    hashes = {"sha256": check.sha256, "phash": check.phash}
    changed = any(manifest.column(name) != values for name, values in hashes.items())
    written = write_columns(manifest, hashes, out) if changed or out.resolve() != manifest.path.parent.resolve() else []
    note: dict[str, Any] = {
        "manifest": manifest.path.name,
        "records": check.records,
        "images": check.images,
        "problems": check.problems,
        "limits": {"min_side_px": arguments.min_side, "min_sharpness": arguments.min_sharpness},
        "counts": {kind: len(found) for kind, found in check.findings.items()},
        "findings": check.findings,
        "sharpness_percentiles": check.sharpness,
        "versions": versions(),
    }
    write_json(out / "check.json", note)
    _show(check)
    print(f"Wrote {', '.join(str(path) for path in [out / 'check.json', *written])}.")
    return FOUND_PROBLEMS if check.problems else 0


def _show(check: Check) -> None:
    from skingpt4.commands.tables import print_table
    from skingpt4.data.quality.check import KINDS

    found = {kind: entries for kind, entries in check.findings.items() if entries}
    if found:
        rows = [(kind, f"{len(entries):,}", KINDS[kind].meaning) for kind, entries in found.items()]
        print_table(("finding", "count", "what it is"), rows, texts=(0, 2))
        print("\nThe first ones (check.json has all):")
    for kind, entries in found.items():
        shown = "; ".join(_described(entry) for entry in entries[:_SHOWN])
        print(f"  {kind}: {shown}{' …' if len(entries) > _SHOWN else ''}")
    outcome = f"{check.problems:,} findings to look at" if check.problems else "nothing to mend"
    print(f"\n{check.images:,} images of {check.records:,} records: {outcome}.")


def _described(entry: dict[str, Any]) -> str:
    if "image" in entry:
        return f"{entry['image']} ({entry['detail']})"
    labels = [", ".join(values) for key, values in entry.items() if key != "images"]
    more = len(entry["images"]) - _SHOWN
    images = " = ".join(entry["images"][:_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"{images} ({labels[0]})" if labels else images


def _compare(manifest: Manifest, other: Manifest, out: Path) -> int:
    from dataclasses import asdict

    from skingpt4.data.quality.leaks import find_leaks
    from skingpt4.data.rewrite import versions, write_json

    for checked in (manifest, other):
        if not all(checked.column("phash")):
            print(
                f"{checked.path} lacks perceptual hashes of some images, so that only their equal files are found; "
                f"`skingpt4 data check {checked.path.parent}` fills them in."
            )
    leaks = find_leaks(manifest, other)
    write_json(
        out / "leaks.json",
        {
            "records": len(manifest),
            "other_records": len(other),
            "leaks": [asdict(leak) for leak in leaks],
            "versions": versions(),
        },
    )
    _show_leaks(leaks, manifest, other)
    print(f"Wrote {out / 'leaks.json'}.")
    return FOUND_PROBLEMS if leaks else 0


def _show_leaks(leaks: list[Leak], manifest: Manifest, other: Manifest) -> None:
    from collections import Counter

    print(f"{len(leaks):,} of {len(other):,} records of {other.path} are in {manifest.path} ({len(manifest):,}) too.")
    for kind, count in Counter(leak.kind for leak in leaks).most_common():
        print(f"  {kind}: {count:,}")
        for leak in [leak for leak in leaks if leak.kind == kind][:_SHOWN]:
            print(f"    {leak.validation} = {leak.train}{' (' + leak.detail[:40] + ')' if leak.detail else ''}")
