"""`skingpt4 data card DIR`: one page that says what a data set holds, where it is from and what is wrong with it."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of `data card`."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="a folder made by `data build`, or a manifest file")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: card.html (or card.md) in DIR")
    parser.add_argument(
        "--format",
        choices=("html", "markdown"),
        help="default: by the suffix of --out, else html; Markdown is all text",
    )
    parser.add_argument(
        "--images", type=Path, metavar="ROOT", help="the folder of the photographs (default: as `data build` noted it)"
    )
    pictures = parser.add_mutually_exclusive_group()
    pictures.add_argument(
        "--thumbnails",
        type=_count,
        metavar="N",
        help="photographs per class, also those whose licence forbids passing them on (default: 5, without those)",
    )
    pictures.add_argument(
        "--no-thumbnails", action="store_const", const=0, dest="thumbnails", help="show no photograph at all"
    )
    parser.add_argument("--seed", type=int, default=0, help="which photographs are drawn (default: 0)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the card and say where it is."""
    from skingpt4.data.card import write_card

    out = write_card(
        arguments.folder, arguments.out, arguments.images, arguments.thumbnails, arguments.format, arguments.seed
    )
    print(f"Wrote {out} ({out.stat().st_size / 1e6:.1f} MB). It opens in any browser, offline.")
    return 0


def _count(text: str) -> int:
    count = int(text)
    if not 0 <= count <= 50:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 50")
    return count
