"""Plots that are a part of a page, in its colours, and files of their own; and pages in the look of the data card."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from skingpt4.data.card import page as card_page
from skingpt4.data.card.parts import Card, Table
from skingpt4.data.card.plots import for_the_page
from skingpt4.durable import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

PX_PER_INCH = 72  # an SVG of matplotlib has 72 units per inch: one unit is one pixel of the page
TEXT_PX = 13.0
INK, FAINT, ACCENT, OTHER, MUTED = "#17242c", "#d5dde1", "#14897f", "#c2570c", "#a9b7bf"
# In a page the same plot takes the page's colours, light or dark.
_VARIABLES = {
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    ACCENT: "var(--bar)",
    OTHER: "var(--split-2)",
    MUTED: "var(--muted-bar)",
}
_PNG_DOTS = 200  # per inch
_SCROLLED = '<div role="group" tabindex="0" aria-label="{title}" style="overflow-x:auto">{svg}</div>'
_WIDE = '<div style="min-width:680px">{svg}</div>'
# On a phone a table is pushed aside rather than its notes squeezed.
_NOTES = "td:nth-child(n+4):last-child { min-width: 11em; }"
_TEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "…": r"\dots{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "\u2060": "", **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}  # fmt: skip


@dataclass(frozen=True)
class Drawing:
    """A plot with its numbers. name: of its files, without suffix. wide: over the whole page; on a phone it can then be
    pushed aside, as a table can.
    """

    name: str
    title: str
    picture: Picture
    numbers: Table
    note: str = ""
    wide: bool = False

    table_title: ClassVar[str] = "The numbers"

    def table(self) -> Table:
        return self.numbers

    @property
    def svg(self) -> str:
        """An `<svg>` element in the page's font and colours."""
        svg = for_the_page(_svg_text(self.picture, self.title), self.title)
        for colour, variable in _VARIABLES.items():
            svg = svg.replace(colour, variable)
        return svg

    def save(self, folder: Path) -> list[Path]:
        """Write NAME.svg and NAME.png, dark on white, for papers and slides."""
        _show_dollars(self.picture)
        written = []
        self.picture.patch.set_visible(True)
        self.picture.patch.set_facecolor("white")
        for suffix, dots in ((".svg", PX_PER_INCH), (".png", _PNG_DOTS)):
            path = folder / f"{self.name}{suffix}"
            with replacing(path) as partial:
                self.picture.savefig(partial, dpi=dots, metadata={"Date": None} if suffix == ".svg" else None)
            written.append(path)
        self.picture.patch.set_visible(False)
        return written


def new_picture(width_px: float, height_px: float) -> tuple[Picture, Axes]:
    """An empty plot without a frame, in the colours that a page replaces."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(width_px / PX_PER_INCH, height_px / PX_PER_INCH), layout="constrained")
    picture.patch.set_visible(False)
    axes = picture.add_subplot()
    axes.patch.set_visible(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=INK, labelsize=TEXT_PX)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(color=INK, fontsize=TEXT_PX)
    axes.set_axisbelow(True)
    return picture, axes


def to_html(card: Card) -> str:
    """A page whose blocks may be drawings, as `data.card.page` makes it."""
    return card_page.to_html(card, _plot, _NOTES)


def _plot(block: Drawing) -> str:
    from markupsafe import escape

    svg = _WIDE.format(svg=block.svg) if block.wide else block.svg
    return _SCROLLED.format(title=escape(block.title), svg=svg)


def to_latex(table: Table, numbers_from: int = 1) -> str:
    """A table for a paper, with `\\usepackage{booktabs}`; the columns from `numbers_from` on end at the right."""
    columns = "".join("l" if index < numbers_from else "r" for index in range(len(table.header)))
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _tex_row(table.header), r"\midrule"]
    return "\n".join([*lines, *map(_tex_row, table.rows), r"\bottomrule", r"\end{tabular}", ""])


def _tex_row(cells: Sequence[str]) -> str:
    return " & ".join("".join(_TEX.get(letter, letter) for letter in cell) for cell in cells) + r" \\"


def _show_dollars(picture: Picture) -> None:
    """Names are no formulas, even with two dollar signs; matplotlib decides it when a text is made."""
    from matplotlib.text import Text

    for text in picture.findobj(Text):
        text.set_parse_math(False)


def _svg_text(picture: Picture, title: str) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    _show_dollars(picture)
    file = io.StringIO()
    # The salt makes the names of clip paths differ between the plots of a page, and equal between two runs.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "text.parse_math": False}):
        FigureCanvasSVG(picture).print_svg(file, metadata={"Date": None, "Creator": None})
    return file.getvalue()
