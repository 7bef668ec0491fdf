"""What an ablation shows: a table (Markdown, LaTeX, JSON) and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skingpt4.durable import replacing, write_whole
from skingpt4.evaluation.ablation.arms import ARMS, BOTH
from skingpt4.evaluation.ablation.figures import METRICS, Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "ablation"  # of every file
COLOURS = {"no fine-tuning": "#8a94a6", "step 1 only": "#0f766e", "step 2 only": "#c2410c", "both steps": "#1d4ed8"}

Compared = Mapping[str, Mapping[str, Comparison]]


def write_report(
    found: Compared, seeds: Sequence[int], remarks: Sequence[str], title: str, out: Path, seconds: float
) -> str:
    """Write `ablation.json`, `.md`, `.tex`, `.png` and `.svg` into `out`; returns the Markdown.

    found: metric -> arm -> what `ablation_figures.compare` found. title: what was trained, and on what cases it was
    measured. seconds: how long it took.
    """
    text = markdown(found, seeds, remarks, title)
    content = {
        "title": title,
        "seeds": list(seeds),
        "seconds": round(seconds, 1),
        "remarks": list(remarks),
        "metrics": {
            metric: {"label": METRICS[metric], "arms": {arm: each.to_dict() for arm, each in arms.items()}}
            for metric, arms in found.items()
        },
    }
    write_whole(out / f"{NAME}.json", (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    write_whole(out / f"{NAME}.md", text.encode())
    write_whole(out / f"{NAME}.tex", latex(found, seeds).encode())
    for suffix in ("png", "svg"):
        draw(found, seeds, out / f"{NAME}.{suffix}")
    return text


def markdown(found: Compared, seeds: Sequence[int], remarks: Sequence[str], title: str) -> str:
    """The figures, their differences from both steps, and how to read them."""
    lines = [title, "", *_markdown_table(*_figures_table(found)), "", _how_to_read(found, seeds), ""]
    lines += [
        "Difference from both steps (below 0: worse than both):",
        "",
        *_markdown_table(*_differences_table(found)),
    ]
    lines += ["", _how_to_test(seeds), ""]
    lines += [f"- {note}" for note in (*_notes(found), *remarks)]
    return "\n".join(lines).rstrip() + "\n"


def latex(found: Compared, seeds: Sequence[int]) -> str:
    """Both tables as `tabular`s for a paper (the package `booktabs`)."""
    parts = [f"% {_how_to_read(found, seeds)}", _latex_table(*_figures_table(found))]
    parts += [f"% Difference from both steps. {_how_to_test(seeds)}", _latex_table(*_differences_table(found))]
    return "\n".join(parts)


def _figures_table(found: Compared) -> tuple[list[str], list[list[str]]]:
    header = ["", *(METRICS[metric] for metric in found)]
    return header, [[arm, *(_value(found[metric][arm]) for metric in found)] for arm in ARMS]


def _differences_table(found: Compared) -> tuple[list[str], list[list[str]]]:
    header = ["", *(METRICS[metric] for metric in found)]
    return header, [[arm, *(_difference(found[metric][arm]) for metric in found)] for arm in ARMS if arm != BOTH]


def _value(one: Comparison) -> str:
    """Such as `0.966 ± 0.004 (0.94 to 0.98)`."""
    figure = one.figure
    if figure.value is None:
        return "-"
    spread = "" if one.spread is None else f" ± {one.spread:.3f}"
    interval = "" if figure.low is None else f" ({figure.low:.2f} to {figure.high:.2f})"
    return f"{figure.value:.3f}{spread}{interval}"


def _difference(one: Comparison) -> str:
    figure = one.difference
    if figure is None or figure.value is None:
        return "-"
    interval = "" if figure.low is None else f" ({figure.low:+.2f} to {figure.high:+.2f})"
    tested = "" if not one.p_values else f", {_p(max(one.p_values))}"
    return f"{figure.value:+.3f}{interval}{tested}"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _how_to_read(found: Compared, seeds: Sequence[int]) -> str:
    counts = {metric: arms[BOTH].figure.n for metric, arms in found.items()}
    cases = ", ".join(f"{METRICS[metric]}: {n:,}" for metric, n in counts.items())
    if len(set(counts.values())) == 1:
        cases = f"{next(iter(counts.values())):,}"
    several = f"Means over the training seeds {', '.join(map(str, seeds))}, ± their standard deviation"
    alone = f"Of one training with seed {seeds[0]}"
    spread = several if len(seeds) > 1 else alone
    return (
        f"{spread}; in brackets the 95 % bootstrap interval over held-out cases (n {cases}; whole patients are drawn "
        "where they are known). Nothing is trained in the first row: one model, no spread."
    )


def _how_to_test(seeds: Sequence[int]) -> str:
    return (
        "In brackets the 95 % interval of the paired bootstrap (the same cases in every arm): without 0, the arms "
        "differ on these cases. p: McNemar's exact test, which takes cases for independent"
        + (f", the largest of the {len(seeds)} seeds'." if len(seeds) > 1 else ".")
    )


def _notes(found: Compared) -> list[str]:
    """What the figures themselves say: why one is undefined, how to read its interval. Once where all arms say it."""
    lines = []
    for metric, arms in found.items():
        said: dict[str, list[str]] = {}
        for arm, one in arms.items():
            if one.figure.note:
                said.setdefault(one.figure.note, []).append(arm)
        for note, of in said.items():
            which = "" if len(of) == len(arms) else f" ({', '.join(of)})"
            lines.append(f"{METRICS[metric]}{which}: {note}.")
    return lines


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _latex_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return (
            " & ".join(cell.replace("%", r"\%").replace("±", r"$\pm$").replace("<", "$<$") for cell in cells) + r" \\"
        )

    begin = rf"\begin{{tabular}}{{{'l' * len(header)}}}"
    inner = [r"\toprule", line(header), r"\midrule", *map(line, rows), r"\bottomrule"]
    return "\n".join([begin, *inner, r"\end{tabular}", ""])


def draw(found: Compared, seeds: Sequence[int], path: Path) -> None:
    """One panel per metric: the mean with its interval over cases, and a ring for each seed. PNG or SVG by suffix."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(4 * columns, 0.5 + 2.1 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for position, (metric, arms) in enumerate(found.items(), 1):
        axes = figure.add_subplot(rows, columns, position)
        _panel(axes, arms, METRICS[metric])
        if metric.endswith("auroc"):
            axes.axvline(0.5, color="#8a94a6", linestyle=":", linewidth=1)
            axes.text(0.51, len(ARMS) - 0.42, "chance", fontsize=7, color="#5b6472", va="bottom")
        axes.set_yticklabels(ARMS if (position - 1) % columns == 0 else [""] * len(ARMS))
    rings = f"rings: the training seeds {', '.join(map(str, seeds))}; " if len(seeds) > 1 else ""
    figure.supxlabel(f"{rings}bars: 95 % interval over held-out cases", fontsize=9)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=130, format=path.suffix.lstrip("."), metadata=_DATELESS.get(path.suffix))


_DATELESS: dict[str, dict[str, Any]] = {".svg": {"Date": None}}  # equal figures give equal files


def _panel(axes: Axes, arms: Mapping[str, Comparison], title: str) -> None:
    for place, arm in enumerate(ARMS):
        figure, colour = arms[arm].figure, COLOURS[arm]
        if figure.value is None:
            axes.text(0.5, place, "undefined", ha="center", va="center", fontsize=8, color=colour)
            continue
        if figure.low is not None and figure.high is not None:
            axes.plot([figure.low, figure.high], [place, place], color=colour, linewidth=5, alpha=0.35)
        drawn = [value for value in arms[arm].by_seed if value is not None]
        axes.plot(drawn, [place] * len(drawn), "o", markersize=7, markerfacecolor="none", color=colour, alpha=0.7)
        axes.plot(figure.value, place, "o", markersize=4, color=colour)
        left = figure.value > 0.5
        at = (figure.low if left else figure.high) or figure.value
        axes.annotate(
            f"{figure.value:.3f}", (at, place), (-9 if left else 9, 0), textcoords="offset points",
            va="center", ha="right" if left else "left", fontsize=9,
        )  # fmt: skip
    axes.set(title=title, xlim=(-0.04, 1.04), ylim=(len(ARMS) - 0.4, -0.6), yticks=range(len(ARMS)))
    axes.title.set_fontsize(10)
    axes.grid(axis="x", alpha=0.25)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
