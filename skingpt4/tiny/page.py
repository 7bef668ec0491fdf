"""What a quickstart shows: a table, the learning curves, and a page of pictures with the answers of all four models."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skingpt4.training.reports.curves import plot_loss
from skingpt4.training.reports.run_folder import METRICS_FILE, read_lines
from skingpt4.vocabulary import CONCEPT_PROMPT, DIAGNOSIS_PROMPTS, NOT_A_DIAGNOSIS

COLUMNS = {
    "concepts micro-F1": "concepts, micro-F1",
    "concepts macro-F1": "concepts, macro-F1",
    "disease": "disease named right",
    "class": "class right (of 15)",
    "cause fits": "cause fits the disease named",
}
HONESTY = (
    "These photographs are drawn by a program. The model was made on such drawings and knows nothing about real skin. "
    "Fine-tuning builds a bridge between what its frozen parts already know: the vision part has seen such drawings, "
    "and the language part has read such sentences. In a trial with seven times the data, step 2 alone caught up."
)


@dataclass
class Case:
    """A held-out photograph on the page. answers: model -> [answer on concepts, answer on the disease]; conversation:
    both steps' own.
    """

    row: int
    image: Path
    disease: str
    concepts: list[str]
    answers: dict[str, list[str]] = field(default_factory=dict)
    conversation: list[tuple[str, str]] = field(default_factory=list)


def results_table(figures: Mapping[str, Mapping[str, float]], count: int) -> str:
    """The figures as a Markdown table, shares of 1."""
    lines = [f"From the generated text, on {count:,} held-out drawn photographs:", ""]
    lines.append("| model | " + " | ".join(COLUMNS.values()) + " |")
    lines.append("|---|" + "---|" * len(COLUMNS))
    for model, values in figures.items():
        lines.append(f"| {model} | " + " | ".join(_share(values.get(key)) for key in COLUMNS) + " |")
    return "\n".join([*lines, "", HONESTY, ""])


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def curves_picture(runs: Mapping[str, Path], out: Path) -> None:
    """Training and validation loss of each run, side by side, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(runs), 3), layout="constrained")
    FigureCanvasAgg(figure)
    for position, (name, folder) in enumerate(runs.items(), 1):
        axes = figure.add_subplot(1, len(runs), position)
        plot_loss(axes, read_lines(folder / METRICS_FILE))
        axes.set(title=name, xlabel="step")
        axes.set_ylabel("loss per answer token" if position == 1 else "")
        axes.grid(alpha=0.3)
    figure.savefig(out, dpi=120)


def write_page(
    out: Path, cases: Sequence[Case], figures: Mapping[str, Mapping[str, float]], count: int, curves: Path
) -> None:
    """One self-contained HTML file: the paper's Figure 3 for the embedded default. Opens without a network."""
    head = "".join(f"<th>{html.escape(label)}</th>" for label in COLUMNS.values())
    rows = "".join(
        f"<tr><th>{html.escape(model)}</th>"
        + "".join(f"<td>{_share(values.get(key))}</td>" for key in COLUMNS)
        + "</tr>"
        for model, values in figures.items()
    )
    body = "\n".join(_case_html(case) for case in cases)
    out.write_text(
        f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>SkinGPT-4 quickstart</title><style>{_STYLE}</style></head><body>
<h1>SkinGPT-4 on drawn photographs</h1>
<p class="notice">{html.escape(HONESTY)} {html.escape(NOT_A_DIAGNOSIS)}</p>
<h2>What the four models get right</h2>
<p>From the generated text, on {count:,} held-out photographs; shares of 1.</p>
<div class="wide"><table><tr><th></th>{head}</tr>{rows}</table></div>
<h2>How they learned</h2><img class="curves" alt="Training and validation loss of each run" src="{_data_url(curves)}">
<h2>What they say</h2>
<p>Asked: “{html.escape(CONCEPT_PROMPT)}” and “{html.escape(DIAGNOSIS_PROMPTS[1])}”</p>
{body}</body></html>
""",
        encoding="utf-8",
    )


def _case_html(case: Case) -> str:
    answers = "".join(
        f"<tr><th>{html.escape(model)}</th>"
        + "".join(f"<td>{html.escape(text) or '(no answer)'}</td>" for text in texts)
        + "</tr>"
        for model, texts in case.answers.items()
    )
    turns = "".join(
        f"<dt>{html.escape(question)}</dt><dd>{html.escape(answer)}</dd>" for question, answer in case.conversation
    )
    return f"""<section><figure>
<img alt="Drawn photograph of {html.escape(case.disease)}" src="{_data_url(case.image)}">
<figcaption><b>{html.escape(case.disease)}</b><br>{html.escape(", ".join(case.concepts))}</figcaption></figure>
<div class="wide"><table><tr><th></th><th>concepts</th><th>disease</th></tr>{answers}</table>
<details><summary>Both steps: the four clinical questions, one conversation</summary><dl>{turns}</dl></details>
</div></section>"""


def _data_url(image: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(image.read_bytes()).decode()}"


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2733; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
h1, h2 { line-height: 1.2 } .notice { background: #fff6e0; border-left: 4px solid #d9a400; padding: .7rem 1rem }
table { border-collapse: collapse; font-size: .93rem }
th, td { border-bottom: 1px solid #d7dee6; padding: .4rem .6rem; text-align: left; vertical-align: top }
.wide { overflow-x: auto; flex: 1 } .curves { max-width: 100% }
section { display: flex; gap: 1.5rem; align-items: flex-start; border-top: 2px solid #d7dee6; padding: 1rem 0 }
figure { margin: 0; width: 200px; flex: none } figure img { width: 200px; image-rendering: auto; border-radius: 6px }
figcaption { font-size: .9rem; margin-top: .4rem } dt { font-weight: 600; margin-top: .5rem } dd { margin: 0 }
summary { cursor: pointer; margin-top: .6rem } @media (max-width: 45rem) { section { flex-direction: column } }
"""
