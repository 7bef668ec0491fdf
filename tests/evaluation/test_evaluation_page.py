"""The report: one file that needs nothing else, tables that LaTeX takes, pictures beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from synthetic_answers import synthetic

from skingpt4.data.card.parts import Table
from skingpt4.evaluation.compare import compare
from skingpt4.evaluation.figures import groups, intervals
from skingpt4.evaluation.figures.figure import Figure
from skingpt4.evaluation.measure import measure
from skingpt4.evaluation.page.drawing import Drawing, new_picture, to_latex
from skingpt4.evaluation.page.words import interval, shown, title_of
from skingpt4.evaluation.page.write import write_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ABOUT = {
    "data": "data/clinic", "split": "test", "fitted_on": "validation", "compared_with": "the <other>",
    "date": "2026-01-01", "version": "1", "model": {"arch": "skingpt4", "ckpt": ""},
}  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an imagined model, whose cases have a disease with a name that must be escaped."""
    changed = pytest.MonkeyPatch()
    for function in (intervals.measured, intervals.measured_many, intervals.resample):
        *others, _ = function.__defaults__ or ()
        changed.setattr(function, "__defaults__", (*others, 20))
    changed.setattr(groups, "RESAMPLES", 20)
    cases = synthetic(32, people=True)
    cases.disease = ["<script>nevus & co</script>" if name == "melanoma" else name for name in cases.disease]
    cases.diseases = ("<script>nevus & co</script>", *cases.diseases[1:])
    page = tmp_path_factory.mktemp("report") / "report.html"
    write_page(page, measure(cases, synthetic(32, cases=1)), ABOUT, compare(cases, cases.select(np.arange(32))))
    changed.undo()
    return page


def test_the_page_needs_nothing_else(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert "<script" not in text and "&lt;script&gt;nevus &amp; co&lt;/script&gt;" in text
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)[^\"]*", text) and "url(" not in re.sub(r"url\(#", "", text)
    for title in ("What to know first", "Diagnoses", "Clinical concepts", "Trust", "Groups of people", "Comparison"):
        assert f"<h2>{title}</h2>" in text
    assert text.count("<svg") > 15 and "is not a diagnosis by a doctor" in text


def test_every_plot_lies_beside_it(report: Path) -> None:
    plots = report.parent / "plots"
    names = {file.stem for file in plots.glob("*.png")}
    assert names == {file.stem for file in plots.glob("*.svg")}
    assert {"confusion_disease_scored", "reliability_disease_raw", "risk_coverage_class", "concepts_scored"} <= names
    assert any(name.startswith("skin_type_") for name in names) and any(name.startswith("sex_") for name in names)


def test_every_table_is_latex(report: Path) -> None:
    files = sorted((report.parent / "tables").glob("*.tex"))
    assert {"headline", "comparison", "groups_sex", "per_class_class_scored"} <= {file.stem for file in files}
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines()
        columns = re.fullmatch(r"\\begin\{tabular\}\{(l+r*)\}", lines[0])
        assert columns is not None and lines[-1] == r"\end{tabular}"
        for line in lines:
            if line.endswith(r"\\"):
                assert len(re.findall(r"(?<!\\)&", line)) == len(columns[1]) - 1
            assert not re.search(r"(?<!\\)[%$#_]", line) and "\u2060" not in line


def test_signs_of_latex_are_escaped() -> None:
    found = to_latex(Table(("a_b", "50 %"), [(r"x & y \ {z}", "0.1\u2060–\u20600.2")]))
    assert r"a\_b & 50 \% \\" in found and r"x \& y \textbackslash{} \{z\} & 0.1--0.2 \\" in found


def test_figures_in_words() -> None:
    assert shown(Figure(0.87349, 5)) == "0.873" and shown(Figure.undefined("no case", 0)) == "–"
    assert (
        interval(Figure(0.5, 5, 0.25, 0.75)).replace("\u2060", "") == "0.250–0.750" and interval(Figure(0.5, 5)) == ""
    )
    assert title_of("abstain_risk_10_coverage") == "Wanted risk 10 %: share answered"
    assert title_of("ece_fitted") == "Expected calibration error, after temperature"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_reads_on_a_phone(chromium: Browser, report: Path, scheme: Literal["light", "dark"]) -> None:
    """Nothing is wider than the screen, nothing is fetched, no script complains."""
    with chromium.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme) as context:
        page = context.new_page()
        asked: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(report.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert asked == [report.as_uri()] and not complaints
        ink, paper = (page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
        brightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ink, paper)]
        assert (brightness[0] > brightness[1]) == (scheme == "dark")


def test_a_name_with_two_dollar_signs_is_no_formula(tmp_path: Path) -> None:
    picture, axes = new_picture(200, 100)
    axes.set_yticks([0.5], ["$_$ a clinic"])
    drawing = Drawing("dollars", "Dollars", picture, Table(("",), []))
    assert "$_$ a clinic" in drawing.svg
    assert all(file.stat().st_size for file in drawing.save(tmp_path))
