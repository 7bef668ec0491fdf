"""The plots of the card as SVG whose font and colours are the page's, so that they follow its light or dark look."""

from __future__ import annotations

import html
import io
import re
import warnings
from typing import TYPE_CHECKING
from unicodedata import east_asian_width

import numpy as np

from skingpt4.data.card.parts import Bars, Dots, HeatMap, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PX_PER_INCH = 72  # an SVG of matplotlib has 72 units per inch: one unit is one pixel of the page
_TEXT_PX = 13.0
_WIDTH_PX = 500  # of a plot; two stand side by side on a wide screen
_LONGEST_LABEL = 34  # letters; the table beside a plot has the whole name
_LEAST_LABEL_PX = 90.0
_CUT_FROM = 2.5  # a bar of "others" or "unknown" so many times the longest named one is cut: else that one is a stub
_MOST_CELLS_WITH_NUMBERS = 16
_KEY = (1.0, 0.5, 0.25, 0.1, 0.01)  # shares shown beside the heat map
# Colours that stand for the page's variables: matplotlib writes them into the SVG, `_svg` replaces them.
_VARIABLES = {
    "#010203": "var(--ink)",
    "#020304": "var(--faint)",
    "#030405": "var(--bar)",
    "#040506": "var(--muted-bar)",
    "#050607": "var(--split-1)",
    "#060708": "var(--split-2)",
    "#070809": "var(--split-3)",
    "#08090a": "var(--split-4)",
}
_INK, _FAINT, _BAR, _MUTED, *_SPLITS = _VARIABLES
_MARKERS = ("o", "D", "s", "^")
_STAGGER = 0.2  # of a row, between the markers of two splits


def plot_svg(block: Bars | Dots | HeatMap) -> str:
    """The plot of a block as an `<svg>` element: text stays text, in the page's font and colours."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    # The salt makes the names of clip paths differ between the plots of a page, and equal between two runs.
    options = {"svg.fonttype": "none", "svg.hashsalt": block.title, "text.parse_math": False, "font.size": _TEXT_PX}
    file = io.StringIO()
    with matplotlib.rc_context(options), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the page's font draws the text, not this one
        if isinstance(block, Bars):
            figure = _histogram(block) if block.upright else _horizontal_bars(block)
        else:
            figure = _dots(block) if isinstance(block, Dots) else _heat_map(block)
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})
    return for_the_page(file.getvalue(), block.title)


def _horizontal_bars(bars: Bars) -> Figure:
    whole = bars.whole or bars
    longest = max((count for name, count in whole.rows if name not in whole.muted), default=0)
    greatest = max((count for _, count in whole.rows), default=0)
    if greatest < _CUT_FROM * longest or not longest:
        longest = greatest or 1
    height_px = 12 + 25 * len(bars.rows)
    figure, axes = _figure(_WIDTH_PX, height_px, constrained=False)
    left = max(_LEAST_LABEL_PX, *(_width_px(_short(name)) for name, _ in whole.rows)) / _WIDTH_PX
    axes.set_position((left, 0, 1 - left, 1))
    names, counts = [name for name, _ in bars.rows], [count for _, count in bars.rows]
    places = np.arange(len(names))
    axes.barh(places, np.minimum(counts, longest), height=0.7, color=_colours(bars))
    for place, count in enumerate(counts):
        text = f"{count:,} ({percent(count, bars.of)})" + (", cut short" if count > longest else "")
        axes.text(min(count, longest) + longest * 0.015, place, text, va="center", color=_INK)
    axes.set_yticks(places, [_short(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    cut = greatest > longest
    axes.set_xlim(0, longest * (2.2 if cut else 1.42))  # room for the figures beside the longest bar
    axes.set_xticks([])
    return figure


def _histogram(bars: Bars) -> Figure:
    figure, axes = _figure(_WIDTH_PX, 230)
    counts = [count for _, count in bars.rows]
    axes.bar(np.arange(len(counts)), counts, width=0.92, color=_colours(bars))
    axes.set_xticks(np.arange(len(counts)), [name for name, _ in bars.rows])
    for place, count in enumerate(counts):
        axes.text(place, count, f"{count:,}", ha="center", va="bottom", color=_INK)
    axes.set_ylim(0, max(counts, default=1) * 1.12)
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(True)
    return figure


def _dots(dots: Dots) -> Figure:
    """One row per value, one marker per split at its share."""
    figure, axes = _figure(_WIDTH_PX, 78 + 25 * len(dots.labels))
    places = np.arange(len(dots.labels))
    shares = 100 * np.array(list(dots.shares.values()))  # float[splits, rows]
    axes.hlines(places, shares.min(axis=0), shares.max(axis=0), color=_FAINT, linewidth=2, zorder=1)
    for index, name in enumerate(dots.shares):
        kind = index % len(_MARKERS)
        beside = places + _STAGGER * (index - (len(shares) - 1) / 2)  # equal shares would hide one another
        axes.plot(shares[index], beside, _MARKERS[kind], color=_SPLITS[kind], label=name, markersize=7, alpha=0.85)
    axes.set_yticks(places, [_short(name) for name in dots.labels])
    axes.set_ylim(len(places) - 0.5, -0.5)
    axes.set_xlim(-max(1.0, shares.max() * 0.03), shares.max() * 1.05 + 1)
    axes.set_xlabel("% of the split's images")
    axes.grid(axis="x", color=_FAINT, linewidth=0.7)
    figure.legend(loc="outside upper left", ncols=len(dots.shares), frameon=False, labelcolor=_INK, handletextpad=0.1)
    return figure


def _heat_map(heat_map: HeatMap) -> Figure:
    """Row by row: of the images that show the row's concept, the share that show the column's too."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Patch, Rectangle

    size = len(heat_map.labels)
    totals = heat_map.counts.diagonal()
    shares = np.divide(heat_map.counts, totals[:, None], out=np.zeros((size, size)), where=totals[:, None] > 0)
    np.fill_diagonal(shares, 0)
    cell_px = min(34, 640 // size)
    figure, axes = _figure(cell_px * size + 320, cell_px * size + 175)
    text_px = min(_TEXT_PX, cell_px * 0.86)
    axes.set_aspect("equal")
    # One colour, more or less of it: the page's colour of bars over its background, in light and in dark.
    rows, columns = np.nonzero(shares)
    cells = [Rectangle((column, row), 1, 1) for row, column in zip(rows.tolist(), columns.tolist(), strict=True)]
    axes.add_collection(PatchCollection(cells, facecolors=_strengths(shares[rows, columns]), linewidths=0))
    own = [Rectangle((place, place), 1, 1) for place in range(size)]
    axes.add_collection(PatchCollection(own, facecolors=_FAINT, linewidths=0))
    axes.hlines(np.arange(size + 1), 0, size, color=_FAINT, linewidth=0.4)
    axes.vlines(np.arange(size + 1), 0, size, color=_FAINT, linewidth=0.4)
    key = [Patch(facecolor=colour, edgecolor=_FAINT, linewidth=0.4) for colour in _strengths(np.array(_KEY))]
    words = [f"{share:.0%}" for share in _KEY]
    figure.legend(
        key, words, loc="outside right upper", frameon=False, labelcolor=_INK, handlelength=1.2, handleheight=1.2
    )
    labels = [f"{_short(name)} ({total:,})" for name, total in zip(heat_map.labels, totals, strict=True)]
    axes.set_yticks(np.arange(size) + 0.5, labels, fontsize=text_px)
    axes.set_xticks(np.arange(size) + 0.5, [_short(name) for name in heat_map.labels], rotation=90, fontsize=text_px)
    axes.xaxis.tick_top()
    axes.set_ylim(size, 0)
    axes.set_xlim(0, size)
    if size <= _MOST_CELLS_WITH_NUMBERS:
        for row, column in zip(rows, columns, strict=True):
            text = f"{100 * shares[row, column]:.0f}"
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=text_px * 0.85, color=_INK)
    return figure


def _strengths(shares: np.ndarray) -> list[tuple[float, float, float, float]]:
    """Colours of shares 0-1. Small shares are the many, and a root keeps them apart."""
    return [(*_rgb(_BAR), float(strength)) for strength in np.sqrt(shares)]


def _figure(width_px: float, height_px: float, constrained: bool = True) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(width_px / _PX_PER_INCH, height_px / _PX_PER_INCH), layout="constrained" if constrained else None
    )
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    axes.spines[:].set_visible(False)
    axes.spines[:].set_color(_FAINT)
    axes.tick_params(length=0, labelcolor=_INK, labelsize=_TEXT_PX)
    axes.xaxis.label.set_color(_INK)
    axes.set_axisbelow(True)
    return figure, axes


def for_the_page(svg: str, title: str) -> str:
    """Without what only a file of its own needs, with the page's font and colours."""
    width = re.search(r'viewBox="0 0 ([0-9.]+)', svg)
    assert width is not None  # matplotlib writes one
    opening = f'<svg role="img" aria-label="{html.escape(title)}" style="max-width:{float(width[1]):.0f}px" '
    body = svg[svg.index("viewBox=") :]
    for unwanted in (
        r' xmlns(:xlink)?="[^"]*"',
        r"<metadata>.*?</metadata>",
        r'<style type="text/css">.*?</style>',  # would hold for the whole page
        r"font-family: [^;]*; ",
        r' id="[^"]*_\d+"',  # of groups, the same in every plot
    ):
        body = re.sub(unwanted, "", body, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    return opening + re.sub(r"\s*\n\s*", " ", body).replace("xlink:href", "href").strip()


def _colours(bars: Bars) -> list[str]:
    return [_MUTED if name in bars.muted else _BAR for name, _ in bars.rows]


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = bytes.fromhex(colour[1:])
    return red / 255, green / 255, blue / 255


def _width_px(text: str) -> float:
    """About as wide as a browser draws a label, and the space to its bar; Chinese letters are twice as wide."""
    return 14 + 0.55 * _TEXT_PX * sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1].rstrip() + "…"
