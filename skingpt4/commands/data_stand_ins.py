"""`skingpt4 data stand-ins`: drawn photographs for SKINCON's annotations."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("--annotations", type=Path, required=True, help="a SKINCON CSV file")
    parser.add_argument("--out", type=Path, required=True, help="the folder for the drawn photographs")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Draw them."""
    from skingpt4.tiny.dataset import draw_skincon_stand_ins

    print(draw_skincon_stand_ins(arguments.annotations, arguments.out, arguments.seed))
    return 0
