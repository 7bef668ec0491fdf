from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skingpt4.data.sources.minigpt4 import read_minigpt4
from skingpt4.errors import DataError
from skingpt4.settings import SourceSettings
from skingpt4.vocabulary import CONCEPT_PROMPT, DIAGNOSIS_PROMPTS


def write(folder: Path, content: Any) -> SourceSettings:
    (folder / "image").mkdir(exist_ok=True)
    (folder / "filter_cap.json").write_text(json.dumps(content), encoding="utf-8")
    return SourceSettings("minigpt4", str(folder))


def test_captions_are_the_answers(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    for name in ("2.jpg", "2.png", "a.b.PNG", "sub/5.jpeg"):
        draw_picture(tmp_path / "image" / name)
    entries = [
        {"image_id": "2", "caption": " A red plaque. "},
        {"image_id": "a.b", "caption": "Scales.", "extra": 1},
        {"image_id": "sub/5", "caption": "A nodule."},
        {"image_id": 7, "caption": "Gone."},
        {"image_id": "8", "caption": ""},
    ]
    report = read_minigpt4(write(tmp_path, {"annotations": entries}))
    assert [(record.image.relative_to(tmp_path).as_posix(), record.answers[0]) for record in report.records] == [
        ("image/2.jpg", "A red plaque."),
        ("image/a.b.PNG", "Scales."),
        ("image/sub/5.jpeg", "A nodule."),
    ]
    assert {record.questions for record in report.records} == {DIAGNOSIS_PROMPTS}
    assert (report.rows, report.without_answer, report.missing_images) == (5, 1, ["7.jpg"])


def test_the_task_chooses_the_question(tmp_path: Path, draw_picture: Callable[..., Path]) -> None:
    draw_picture(tmp_path / "image" / "2.jpg")
    source = write(tmp_path, {"annotations": [{"image_id": "2", "caption": "Papule"}]})
    source.task = "concepts"
    assert read_minigpt4(source).records[0].questions == (CONCEPT_PROMPT,)


@pytest.mark.parametrize("content", [[], {}, {"annotations": []}, {"annotations": {"2": "x"}}])
def test_a_file_of_another_form_is_an_error(tmp_path: Path, content: Any) -> None:
    with pytest.raises(DataError, match=r"filter_cap\.json holds no annotations; .*\"image_id\""):
        read_minigpt4(write(tmp_path, content))


def test_wrong_entries_are_reported_together(tmp_path: Path) -> None:
    entries = [{"caption": "x"}, {"image_id": "2"}, {"image_id": "../2", "caption": "x"}, "2"]
    with pytest.raises(DataError) as caught:
        read_minigpt4(write(tmp_path, {"annotations": entries}))
    message = str(caught.value)
    assert "4 errors" in message
    assert 'row 1: {"caption": "x"} has no `image_id`' in message
    assert "row 2: image_id '2' has no `caption`" in message
    assert "row 3: image '../2.jpg' leads out" in message
    assert 'row 4: "2" has no `image_id`' in message


def test_wrong_places_are_named(tmp_path: Path) -> None:
    source = write(tmp_path, {"annotations": [{"image_id": "2", "caption": "x"}]})
    with pytest.raises(DataError, match=r"none of its 1 images is in .*image \(looked for 2\.jpg\)"):
        read_minigpt4(source)
    (tmp_path / "filter_cap.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"filter_cap\.json is no JSON file"):
        read_minigpt4(source)
    (tmp_path / "filter_cap.json").unlink()
    with pytest.raises(DataError, match=r"filter_cap\.json does not exist .*MiniGPT-4's captions was expected"):
        read_minigpt4(source)
