"""`skingpt4 data summary DIR`: what a data set holds, in numbers."""

from __future__ import annotations

import argparse
from pathlib import Path

MOST_ROWS = 25  # all 23 of Dermnet


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("data", type=Path, metavar="DIR", help="the folder of `data build`, or a manifest in it")
    parser.add_argument(
        "--rows", type=int, default=MOST_ROWS, metavar="N", help=f"longest table; 0 = no limit (default: {MOST_ROWS})"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the counts; tables without frames where the output is no terminal."""
    from skingpt4.commands.tables import print_table
    from skingpt4.data.manifest import open_manifest
    from skingpt4.data.summary import concept_table, group_table, paper_verdict, summarize

    summary = summarize(open_manifest(arguments.data))
    print(f"{summary.records:,} records in {arguments.data}")
    for name, counts in summary.groups.items():
        print_table(*group_table(name, counts, arguments.rows))
    if summary.concepts:
        print_table(*concept_table(summary))
    if summary.paper_part:
        print(paper_verdict(summary))
    return 0
