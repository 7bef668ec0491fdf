from __future__ import annotations

from pathlib import Path

import pytest

from skingpt4.data.records import diagnosis_record
from skingpt4.data.sources.template import DEFAULT_TEMPLATE, fill, read_template
from skingpt4.errors import DataError


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "answer.txt"
    path.write_bytes(text.encode("utf-8"))
    return path


@pytest.mark.parametrize("notes", ["", "Dry,\n itchy  skin."])
def test_the_default_is_the_answer_of_step_2(notes: str) -> None:
    answer = fill(read_template(None), " eczema. ", notes)
    assert (answer,) == diagnosis_record(Path("a.jpg"), " eczema. ", notes, "x").answers
    assert DEFAULT_TEMPLATE == "This could be a skin disease image of {disease}. {notes}"


def test_a_template_of_ones_own(tmp_path: Path) -> None:
    template = read_template(write(tmp_path, "\ufeffDiagnosis: {disease} {{?}}\r\n{notes}\nSeen: {concepts}\n"))
    assert (
        fill(template, "eczema", "Dry.", ("Scale", "Erythema")) == "Diagnosis: eczema {?}\nDry.\nSeen: Scale, Erythema"
    )
    assert fill("{disease}\n{notes}", "eczema") == "eczema"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{diseases} and {x}",
            "unknown placeholder {diseases}, did you mean {disease}?; unknown placeholder {x}. Known",
        ),
        ("{disease.__class__}", "unknown placeholder {disease.__class__}"),
        ("{disease!r}", "unknown placeholder {disease!r}"),
        ("{disease:>9}", "unknown placeholder {disease:>9}"),
        ("{}", "unknown placeholder {}"),
        ("{disease", "is no template: expected '}' before end of string. Write {{ and }} for braces"),
        ("You are ill.", "holds none of {disease}, {notes}, {concepts}: every answer would be the same"),
        ("", "holds none of {disease}"),
    ],
)
def test_other_templates_are_errors(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_template(write(tmp_path, text))
    assert message in str(caught.value)


def test_files_that_are_no_text_are_errors(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"{disease} \xff")
    with pytest.raises(DataError, match=r"a\.txt is not UTF-8 \(byte 10\)"):
        read_template(tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"none\.txt does not exist"):
        read_template(tmp_path / "none.txt")
