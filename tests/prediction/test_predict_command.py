"""`skingpt4 predict`: from pictures to a table, whatever happens in between."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from manifests import draw_data_set
from predicted import rows_of, run, started

from skingpt4.config import save_settings
from skingpt4.errors import DataError, DeviceError, SettingsError
from skingpt4.prediction import parts
from skingpt4.prediction.asking import Asker
from skingpt4.settings import Settings
from skingpt4.vocabulary import CLASSES, CLINICAL_PROMPTS

QUICK = ("--max-new-tokens", "4", "--question", "What is it?", "--diagnoses", "none")


@pytest.fixture
def model(tiny_settings: Settings, tmp_path: Path) -> Path:
    """A YAML file of a random model."""
    save_settings(tiny_settings, tmp_path / "model.yaml")
    return tmp_path / "model.yaml"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Ten photographs in a folder; the sixth is torn."""
    draw_data_set(tmp_path / "pictures", 10)
    torn = tmp_path / "pictures" / "b" / "1.png"
    torn.write_bytes(torn.read_bytes()[:60])
    return tmp_path / "pictures"


@pytest.fixture
def each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch is written at once."""
    monkeypatch.setattr(parts, "SECONDS_PER_PART", 0.0)


def break_off(monkeypatch: pytest.MonkeyPatch, error: BaseException, after: int) -> list[int]:
    """`ask` raises after so many calls; returns a list that grows by the number of pictures of each call."""
    asked: list[int] = []
    ask = Asker.ask

    def breaking(self: Asker, given: Any) -> Any:
        if len(asked) == after:
            raise error
        asked.append(len(given))
        return ask(self, given)

    monkeypatch.setattr(Asker, "ask", breaking)
    return asked


def same(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    """Equal but for the seconds."""
    return [{**row, "seconds": 0} for row in one] == [{**row, "seconds": 0} for row in other]


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


@pytest.mark.usefixtures("each_batch")
@pytest.mark.parametrize("name", ["out.jsonl", "out"])
def test_broken_off_it_goes_on_and_asks_nothing_twice(
    name: str, model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (pictures, "--cfg-path", model, *QUICK, "--out")
    run(*command, tmp_path / "whole.parquet")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        break_off(patch, KeyboardInterrupt(), after=2)
        run(*command, tmp_path / name, "--batch-size", 3)
    with monkeypatch.context() as patch:
        asked = break_off(patch, KeyboardInterrupt(), after=99)
        assert run(*command, tmp_path / name, "--batch-size", 2) == 0  # another size, and no other answers
        assert sum(asked) == 4
    found = rows_of(tmp_path / name) if "." in name else pq.read_table(tmp_path / name).sort_by("number").to_pylist()
    assert same(found, pq.read_table(tmp_path / "whole.parquet").to_pylist())


def test_what_was_gathered_is_written_when_it_is_broken_off(
    model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_off(monkeypatch, KeyboardInterrupt(), after=2)
    with pytest.raises(KeyboardInterrupt):
        run(pictures, "--cfg-path", model, *QUICK, "--batch-size", 3, "--out", tmp_path / "out")
    assert parts.done_numbers(tmp_path / "out").tolist() == list(range(6))


def test_other_answers_are_not_mixed(model: Path, pictures: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / "out.jsonl"
    command = (pictures, "--cfg-path", model, "--out", out)
    run(*command, *QUICK)
    assert run(*command, *QUICK) == 0  # it is done
    with pytest.raises(DataError, match=r"another prediction \(other plan\).*--force"):
        run(*command, "--max-new-tokens", 4)
    (pictures / "new.png").write_bytes((pictures / "a" / "0.png").read_bytes())
    with pytest.raises(DataError, match=r"another prediction \(other pictures\)"):
        run(*command, *QUICK)
    (out / "mine.txt").write_text("stays", encoding="utf-8")
    assert run(*command, *QUICK, "--force") == 0
    assert pq.ParquetDataset(sorted(out.glob("*.parquet"))).read().num_rows == 11 and (out / "mine.txt").is_file()
    run(pictures, "--cfg-path", model, *QUICK, "--out", file)
    with pytest.raises(DataError, match=r"out.jsonl is there already; give --force"):
        run(pictures, "--cfg-path", model, *QUICK, "--out", file)
    assert run(pictures, "--cfg-path", model, *QUICK, "--out", file, "--force") == 0


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


def test_a_place_that_cannot_be_written_to_is_told(
    model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (pictures, "--cfg-path", model, *QUICK, "--out")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be written: .* call again"):
        run(*command, tmp_path / "file" / "out.jsonl")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(DataError, match="No space left on device"):
        patch.setattr("pyarrow.parquet.write_table", full)
        run(*command, tmp_path / "out.jsonl")
    assert run(*command, tmp_path / "out.jsonl") == 0  # there is room again
    with monkeypatch.context() as patch, pytest.raises(DeviceError, match="smaller --batch-size; what is done is kept"):
        import torch

        break_off(patch, torch.OutOfMemoryError("out of memory"), after=1)
        run(*command, tmp_path / "other.jsonl", "--batch-size", 4)


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
def test_killed_it_goes_on_where_it_was(model: Path, tmp_path: Path) -> None:
    draw_data_set(tmp_path / "pictures", 64)
    command = (tmp_path / "pictures", "--cfg-path", model, *QUICK, "--batch-size", 1, "--out")
    file = tmp_path / "out.jsonl"
    first = tmp_path / "out.jsonl.parts" / "part-000000000.parquet"
    with started(*command, file) as process:
        deadline = time.monotonic() + 240
        while not first.is_file() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert first.is_file() and not file.exists()
    with started(*command, file) as process:
        printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed[-2000:]
    left = int(printed.split("Asking about ")[1].split()[0])
    assert left < 64 and [row["number"] for row in rows_of(file)] == list(range(64))


@pytest.mark.very_slow
def test_two_processes_find_what_one_finds(model: Path, pictures: Path, tmp_path: Path) -> None:
    command = (pictures, "--cfg-path", model, *QUICK, "--batch-size", 2, "--out")
    run(*command, tmp_path / "one.jsonl")
    with started(*command, tmp_path / "two.jsonl", processes=2) as process:
        printed, _ = process.communicate(timeout=400)
    assert process.returncode == 0 and printed.count("Wrote ") == 1, printed[-2000:]
    assert same(rows_of(tmp_path / "one.jsonl"), rows_of(tmp_path / "two.jsonl"))
