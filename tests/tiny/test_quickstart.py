"""The quickstart on few photographs: everything it promises is there, and its figures are those of its answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skingpt4.cli import main
from skingpt4.errors import DataError
from skingpt4.tiny.dataset import SETS, SetSize
from skingpt4.tiny.page import COLUMNS, results_table
from skingpt4.tiny.quickstart import quickstart

FEW: dict[str, SetSize] = {
    name: SetSize(size.diseases // 10, size.random // 10, size.notes, size.seed) for name, size in SETS.items()
}


@pytest.mark.slow
def test_quickstart_leaves_checkpoints_table_curves_and_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "visit"
    assert quickstart(out, sets=FEW) == 0
    printed = capsys.readouterr().out
    assert f"skingpt4 demo --cfg-path {out / 'two_step' / 'step2'}" in printed
    figures = json.loads((out / "quickstart.json").read_text())["models"]
    assert list(figures) == ["no fine-tuning", "step 1 only", "step 2 only", "both steps"]
    # Even so little training moves the projection from "describes in lay words" to concepts and diagnoses.
    assert figures["step 1 only"]["concepts micro-F1"] > figures["no fine-tuning"]["concepts micro-F1"] + 0.2
    assert figures["no fine-tuning"]["disease"] < 0.1 < figures["both steps"]["disease"]
    page = (out / "page.html").read_text(encoding="utf-8")
    assert page.count("<section>") == 8 and "knows nothing about real skin" in page and "http" not in page
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG") and (out / "results.md").exists()
    question = ["--question", "What's wrong with my skin?"]
    image = str(next((out / "data" / "test" / "images").iterdir()))
    assert main(["chat", "--cfg-path", str(out / "two_step" / "step2"), "--image", image, *question]) == 0
    assert "skin disease image" in capsys.readouterr().out  # of either step: so little training mixes them up
    with pytest.raises(DataError, match="Add --force to replace it"):
        quickstart(out, sets=FEW)


def test_a_folder_of_somebody_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(DataError, match="It was not made by quickstart"):
        quickstart(tmp_path, force=True)
    assert (tmp_path / "thesis.txt").exists()


def test_the_table_has_a_dash_where_nothing_was_measured() -> None:
    table = results_table({"no fine-tuning": dict.fromkeys(list(COLUMNS)[:4], 0.5)}, 1000)
    assert "| no fine-tuning | 0.500 | 0.500 | 0.500 | 0.500 | - |" in table and "1,000 held-out" in table
