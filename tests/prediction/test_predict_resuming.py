"""`skingpt4 predict` killed, called again, called twice at once, and where nothing can be written."""

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
from predicted import QUICK, break_off, rows_of, run, same, started

from skingpt4.errors import DataError, DeviceError
from skingpt4.prediction import parts
from skingpt4.prediction.asking import Asker


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


@pytest.mark.parametrize("name", ["out.jsonl", "out"])
def test_two_calls_do_not_write_to_one_place(
    name: str, model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second would have left half of the answers."""
    command = (pictures, "--cfg-path", model, *QUICK, "--batch-size", 5, "--out", tmp_path / name)
    ask = Asker.ask

    def asking(self: Asker, given: Any) -> Any:
        with pytest.raises(DataError, match=r"Another call is writing to .*out"):
            run(*command)
        return ask(self, given)

    monkeypatch.setattr(Asker, "ask", asking)
    assert run(*command) == 0
    found = rows_of(tmp_path / name) if "." in name else pq.read_table(tmp_path / name).to_pylist()
    assert len(found) == 10


@pytest.mark.usefixtures("each_batch")
def test_what_is_not_whole_is_not_called_finished(
    model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where each machine writes to a disk of its own."""
    command = (pictures, "--cfg-path", model, *QUICK, "--batch-size", 5, "--out", tmp_path / "out.jsonl")
    folder = tmp_path / "out.jsonl.parts"
    with monkeypatch.context() as patch:
        ask = Asker.ask

        def losing(self: Asker, given: Any) -> Any:
            (folder / "part-000000000.parquet").unlink(missing_ok=True)
            return ask(self, given)

        patch.setattr(Asker, "ask", losing)
        with pytest.raises(DataError, match=r"5 of 10 pictures have no row in .* on a disk that all of them see"):
            run(*command)
    assert not (tmp_path / "out.jsonl").exists() and parts.done_numbers(folder).tolist() == [5, 6, 7, 8, 9]
    assert run(*command) == 0 and len(rows_of(tmp_path / "out.jsonl")) == 10


def test_parts_of_nobody_knows_what_are_not_taken(model: Path, pictures: Path, tmp_path: Path) -> None:
    command = (pictures, "--cfg-path", model, *QUICK, "--out", tmp_path / "out")
    run(*command)
    (tmp_path / "out" / parts.PLAN_FILE).unlink()
    with pytest.raises(DataError, match=r"holds answers, but not what was asked.*--force"):
        run(*command)
    theirs = tmp_path / "out" / "part-00000-of-another-program.parquet"
    half = tmp_path / "out" / ".part-000000003.partial.parquet"  # a call was killed while it wrote
    for file in (theirs, half):
        file.touch()
    assert run(*command, "--force") == 0 and theirs.exists() and not half.exists()


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
