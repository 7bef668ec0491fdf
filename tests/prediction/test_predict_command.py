"""`skingpt4 predict`: from pictures to a table."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from predicted import QUICK, rows_of, run, same, started

from skingpt4.errors import DataError, SettingsError
from skingpt4.vocabulary import CLASSES, CLINICAL_PROMPTS


def test_a_bad_picture_is_a_row_with_its_error(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    assert run(pictures, "--cfg-path", model, "--out", out, "--batch-size", 4, "--max-new-tokens", 6) == 0
    printed = capsys.readouterr()
    assert f"Wrote {out}: 10 pictures; 1 could not be read (see `error`).\n" == printed.out
    assert "not a diagnosis by a doctor" in printed.err
    rows = rows_of(out)
    assert [row["number"] for row in rows] == list(range(10))
    assert [row["image"] for row in rows] == [f"a/{n}.png" for n in (0, 2, 4, 6, 8)] + [
        f"b/{n}.png" for n in (1, 3, 5, 7, 9)
    ]
    assert [row["image"] for row in rows if row["error"]] == ["b/1.png"] and "b/1.png" in rows[5]["error"]
    assert rows[5]["answers"] == [] and rows[5]["diagnoses"] is None
    assert {each["diagnosis"] for each in rows[0]["diagnoses"]} == set(CLASSES)
    assert rows[0]["concept_scores"] is None and rows[0]["photo"] is None and rows[0]["seconds"] > 0
    assert list(tmp_path.glob("out*")) == [out]  # nothing is left beside it


def test_the_three_places_to_write_to_hold_the_same(model: Path, pictures: Path, tmp_path: Path) -> None:
    for name in ("out.jsonl", "out.parquet", "out"):
        assert run(pictures, "--cfg-path", model, "--out", tmp_path / name, *QUICK) == 0
    lines = rows_of(tmp_path / "out.jsonl")
    assert same(lines, pq.read_table(tmp_path / "out.parquet").to_pylist())
    assert same(lines, pq.read_table(tmp_path / "out").sort_by("number").to_pylist())  # as others read such folders


def test_where_no_picture_can_be_read_the_exit_code_says_so(model: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"words")
    assert run(tmp_path / "pictures", "--cfg-path", model, "--out", tmp_path / "out.jsonl", *QUICK) == 1
    assert "no image" in rows_of(tmp_path / "out.jsonl")[0]["error"]


def test_the_clinical_questions(model: Path, pictures: Path, tmp_path: Path) -> None:
    out, names = tmp_path / "out.parquet", tmp_path / "names.txt"
    names.write_text("acne\n\n eczema \nacne\n", encoding="utf-8")
    command = (pictures, "--cfg-path", model, "--out", out, "--clinical", "--max-new-tokens", 4, "--concepts")
    assert run(*command, "--diagnoses", names) == 0
    row = pq.read_table(out).to_pylist()[0]
    assert tuple(each["question"] for each in row["answers"]) == CLINICAL_PROMPTS
    assert {each["diagnosis"] for each in row["diagnoses"]} == {"acne", "eczema"}
    assert len(row["concept_scores"]) == 48


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("--out", "x.csv"), DataError, r"x\.csv: a file that ends with \.jsonl or \.parquet, or a folder"),
        (("--out", "x", "--batch-size", "0"), SettingsError, "--batch-size is 0; it must be 1 to 64"),
        (("--out", "x", "--diagnoses", "gone.txt"), SettingsError, "--diagnoses gone.txt cannot be read"),
        (("--out", "x", "--diagnoses", "empty.txt"), SettingsError, "holds no diagnosis"),
        (("--out", "."), DataError, "is what is asked about; name another place"),
        (("--out", "dir.jsonl"), DataError, "is a folder already"),
        (("--out", "empty"), DataError, "is a file already"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_loaded(
    arguments: tuple[str, ...], error: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("skingpt4.prediction.run.load_chat", None)
    (tmp_path / "dir.jsonl").mkdir()
    for name in ("empty", "empty.txt"):
        (tmp_path / name).touch()
    with pytest.raises(error, match=message):
        run(".", *arguments)


def test_the_small_model_of_the_package(tmp_path: Path) -> None:
    """Answers, concepts and diagnoses are those of a chat about the same picture."""
    from skingpt4 import load_model
    from skingpt4.chat.conversation import Chat
    from skingpt4.evaluation.parsing import named_concepts
    from skingpt4.tiny.dataset import SetSize, write_dataset

    full = ["model.precision=fp32"]  # in bf16, answers side by side may differ where two words are equally likely
    lines = write_dataset(tmp_path / "drawn", SetSize(4, 0, False, 5), progress=False)
    (tmp_path / "drawn" / "blank.png").write_bytes(white_png())
    assert run(tmp_path / "drawn", "--out", tmp_path / "out.jsonl", "--options", *full) == 0
    rows, chat = {row["image"]: row for row in rows_of(tmp_path / "out.jsonl")}, Chat(*load_model(options=full))
    assert rows["blank.png"]["photo"] and len(rows) == 5  # a white sheet is no photograph of skin
    right = 0
    for line in lines:
        row, talk = rows[str(line["image"])], chat.start(tmp_path / "drawn" / str(line["image"]))
        assert row["answers"][0]["answer"] == talk.ask(row["answers"][0]["question"])
        assert set(row["concepts"]) == named_concepts(" ".join(each["answer"] for each in row["answers"])) != set()
        assert len(row["diagnoses"]) == 38 and row["unlisted"] < 0.5
        right += row["diagnoses"][0]["diagnosis"] == line["disease"]
    assert right >= 2


def white_png() -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (200, 200), "white").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.very_slow
@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_two_processes_find_what_one_finds(launcher: str, model: Path, pictures: Path, tmp_path: Path) -> None:
    command = (pictures, "--cfg-path", model, *QUICK, "--batch-size", 2, "--out")
    run(*command, tmp_path / "one.jsonl")
    with started(*command, tmp_path / "two.jsonl", launcher=launcher) as process:
        printed, _ = process.communicate(timeout=400)
    assert process.returncode == 0 and printed.count("Wrote ") == 1, printed[-2000:]
    assert same(rows_of(tmp_path / "one.jsonl"), rows_of(tmp_path / "two.jsonl"))
