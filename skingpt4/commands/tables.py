"""Tables in the terminal, and as plain columns where the output is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

_FILE_WIDTH = 1000  # columns; lines are not wrapped where nobody looks at them


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[int] = (0,)) -> None:
    """Print to stdout. texts: the columns that hold words; the others hold numbers and end at the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False)
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index in texts else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # names are text, never markup
    if not terminal:  # the frame has its own empty line
        print()
    Console(width=None if terminal else _FILE_WIDTH, highlight=False).print(table)
