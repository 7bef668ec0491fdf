"""`skingpt4 report`: several photographs, files that are there, and what the exit code says."""

from __future__ import annotations

import argparse
import errno
import os
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from skingpt4.chat.photo_check import ADVICE
from skingpt4.commands import report as command
from skingpt4.errors import SettingsError
from skingpt4.report.content import Report
from skingpt4.report.files import FORMATS

OWN_FLAG = """
words:
  lesion: [lesion*]
flags:
  - id: any-lesion
    kind: sign
    urgency: today
    sign: Our clinic wants to see every lesion
    advice: Call the reception.
    raised_by: [lesion]
    sources: [{title: Our own rule, url: "https://clinic.example/rule"}]
"""


def report(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    command.add(parser)
    arguments = parser.parse_args([*map(str, words), "--max-new-tokens", "12"])
    return int(arguments.run(arguments))


@pytest.fixture
def photographs(tmp_path: Path, photograph: Image.Image) -> list[Path]:
    """Two of one name, in two folders, and bytes that are none."""
    places = [tmp_path / "a" / "arm.jpg", tmp_path / "b" / "arm.png", tmp_path / "torn.jpg"]
    for place in places:
        place.parent.mkdir(exist_ok=True)
        photograph.save(place)
    places[2].write_bytes(places[2].read_bytes()[:700])
    return places


def test_the_good_ones_are_made_and_the_bad_one_is_told(
    photographs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "new" / "reports"
    assert report(*photographs, "--out", out, "--format", "json,html") == 2
    names = ["arm-2-report.html", "arm-2-report.json", "arm-report.html", "arm-report.json"]
    assert sorted(file.name for file in out.iterdir()) == names
    told = capsys.readouterr()
    assert "torn.jpg" in told.err and "2 of 3 reports were made." in told.err and "not a diagnosis" in told.err
    assert told.out.count("wrote") == 4
    made = Report.from_json((out / "arm-report.json").read_bytes())
    assert made.sampling.max_new_tokens == 12 and not made.conversation
    assert str(tmp_path) not in (out / "arm-report.html").read_text(encoding="utf-8")

    written = {file: file.read_bytes() for file in out.iterdir()}
    assert report(photographs[0], "--out", out) == 2
    assert "is there already; give --force" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in out.iterdir()} == written
    assert report(photographs[0], "--out", out, "--force") == 0
    assert (out / "arm-report.html").read_bytes() != written[out / "arm-report.html"]


def test_red_flags_come_first(photographs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "own.yaml").write_text(OWN_FLAG, encoding="utf-8")
    assert report(photographs[0], "--out", tmp_path, "--red-flags", tmp_path / "own.yaml") == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert "SEE A DOCTOR TODAY. Our clinic wants to see every lesion (“lesion”). Call the reception." in first
    assert "wrote" in others[0]


def test_every_format_is_offered_and_another_is_told_at_once(photographs: list[Path], tmp_path: Path):
    assert tuple(FORMATS) == command.FORMATS
    with pytest.raises(SettingsError, match=r"--format 'html,docx'.*html, pdf, md, json, fhir"):
        report(photographs[0], "--format", "html,docx")
    with pytest.raises(SettingsError, match=r"flags\.yaml"):
        report(photographs[0], "--red-flags", tmp_path / "flags.yaml")


def test_a_full_disk_is_told(
    photographs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def full(path: Path, content: bytes) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("skingpt4.durable.write_whole", full)
    assert report(photographs[0], "--out", tmp_path) == 2
    told = capsys.readouterr().err
    assert "arm-report.html is on a disk that is full; make room there. The report was not written" in told
    assert "Errno" not in told


@pytest.fixture
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object) -> None:
        raise AssertionError("a model was loaded before the folder was looked at")

    monkeypatch.setattr("skingpt4.weights.build.build_model", load)
    monkeypatch.setattr("skingpt4.weights.build.settings_of", load)


@pytest.mark.usefixtures("nothing_loaded")
@pytest.mark.parametrize(("below", "reason"), [("", "is a file and no folder"), ("sub/x", "a file and no folder")])
def test_a_file_is_no_folder(photographs: list[Path], below: str, reason: str):
    with pytest.raises(SettingsError, match=rf"^--out: .*{reason}\. A folder .* expected; .*another folder") as told:
        report(photographs[0], "--out", photographs[1] / below)
    assert "Errno" not in str(told.value) and str(photographs[1]) in str(told.value)


@pytest.mark.usefixtures("nothing_loaded")
@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "is on a disk that is full; make room there"),
        (errno.EACCES, "may not be written to by you"),
        (errno.EROFS, "is on a disk that can only be read"),
        (errno.EIO, r"cannot be written to \(Input/output error\)"),
    ],
)
def test_a_folder_that_takes_no_file_is_told_before_a_model_is_loaded(
    photographs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
):
    def refuse(**_: object) -> None:
        raise OSError(number, {errno.EIO: "Input/output error"}.get(number, ""))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(SettingsError, match=rf"^--out: .*{reason}\."):
        report(photographs[0], "--out", tmp_path / "out")


@pytest.mark.skipif(
    os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
@pytest.mark.usefixtures("nothing_loaded")
def test_a_folder_of_someone_else(photographs: list[Path], tmp_path: Path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(SettingsError, match="may not be written to by you"):
        report(photographs[0], "--out", tmp_path / "closed")


def test_names_that_no_report_can_have_are_told_before_a_model_is_loaded(
    photographs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delattr("skingpt4.weights.build.build_model")
    (tmp_path / "arm-report.html").mkdir()
    assert report(photographs[0], "--out", tmp_path, "--force") == 2
    assert "arm-report.html is there, but is a folder; the report" in capsys.readouterr().err
    if os.name != "nt":
        assert report(photographs[0].rename(tmp_path / ("x" * 245 + ".jpg")), "--out", tmp_path) == 2
        assert "is too long a name" in capsys.readouterr().err


def test_the_check_leaves_nothing(photographs: list[Path], tmp_path: Path):
    out = tmp_path / "new"
    assert report(photographs[2], "--out", out) == 2
    assert not [*out.iterdir()]


def test_every_option_of_the_command_has_words_and_every_format_is_named():
    parser = argparse.ArgumentParser()
    command.add(parser)
    helps = {each.dest: each.help or "" for each in parser._actions}
    assert all(helps[name] for name in ("images", "out", "format", "red_flags", "force"))
    assert all(name in helps["format"] for name in command.FORMATS)


def test_a_better_photograph_is_asked_for(tmp_path: Path, photograph: Image.Image, capsys: pytest.CaptureFixture[str]):
    photograph.point(lambda value: value // 9).save(tmp_path / "night.png")
    photograph.save(tmp_path / "day.png")
    assert report(tmp_path / "night.png", tmp_path / "day.png", "--out", tmp_path, "--format", "md") == 0
    told = capsys.readouterr().err
    assert f"{tmp_path / 'night.png'}: {ADVICE['dark']}" in told
    assert "day.png" not in told
