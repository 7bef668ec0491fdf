"""What is written: manifests, `build.json`, and nothing where something is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from skingpt4.data.build import FILES, check_out, write_build
from skingpt4.data.manifest import open_manifest
from skingpt4.data.records import SourceReport, diagnosis_record
from skingpt4.errors import DataError


def report_of(folder: Path, names: list[str], source: str = "folder") -> SourceReport:
    records = [diagnosis_record(folder / name, "eczema", "", source) for name in names]
    return SourceReport(source, folder, records, rows=len(names))


@pytest.fixture
def photos(tmp_path: Path, draw_picture: Callable[..., Path]) -> Path:
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        draw_picture(tmp_path / "photos" / name)
    return tmp_path / "photos"


def test_both_manifests_and_the_note(tmp_path: Path, photos: Path) -> None:
    report = report_of(photos / "a", ["1.png", "2.png"])
    report.missing_images, report.rows = ["3.png"], 3
    note = write_build([report], tmp_path / "deep" / "out", {"source": "folder"}, "CC0")
    out = tmp_path / "deep" / "out"
    assert sorted(file.name for file in out.iterdir()) == sorted(FILES)
    assert json.loads((out / "build.json").read_text(encoding="utf-8")) == note
    assert note["sources"][0]["missing_images"] == ["3.png"]
    assert (note["records"], note["licences"], note["command"]) == (2, {"CC0": 2}, {"source": "folder"})
    for name in FILES[:2]:
        records = list(open_manifest(out / name))
        assert [record.image for record in records] == [photos / "a" / "1.png", photos / "a" / "2.png"]
        assert [record.licence for record in records] == ["CC0", "CC0"]
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_two_folders_have_their_common_folder_as_root(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "linked").symlink_to(photos / "b")
    reports = [report_of(photos / "a", ["1.png"], "fitzpatrick17k"), report_of(tmp_path / "linked", ["1.png"], "ddi")]
    note = write_build(reports, tmp_path / "out")
    assert note["images_root"] == str(photos)
    assert open_manifest(tmp_path / "out").column("image") == ["a/1.png", "b/1.png"]
    assert note["licences"] == {"CC BY-NC-SA 3.0": 1, "DDI research use agreement": 1}


def test_a_records_own_licence_goes_first(tmp_path: Path, photos: Path) -> None:
    report = report_of(photos / "a", ["1.png", "2.png"])
    report.records[0] = replace(report.records[0], licence="CC BY 4.0")
    assert write_build([report], tmp_path / "out")["licences"] == {"CC BY 4.0": 1, "not noted": 1}
    assert open_manifest(tmp_path / "out").column("licence") == ["CC BY 4.0", ""]


def test_many_rows_are_parquet_only(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = report_of(photos / "a", ["1.png", "2.png"])
    write_build([report], tmp_path / "out")
    monkeypatch.setattr("skingpt4.data.build.READ_BY_EYE_ROWS", 1)
    write_build([report], tmp_path / "out", force=True)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["build.json", "manifest.parquet"]


def test_a_build_is_replaced_only_by_force(tmp_path: Path, photos: Path) -> None:
    out = tmp_path / "out"
    write_build([report_of(photos / "a", ["1.png", "2.png"])], out)
    with pytest.raises(DataError, match=r"out already holds manifest\.parquet, .*build\.json; .*--force"):
        write_build([report_of(photos / "a", ["1.png"])], out)
    assert len(open_manifest(out)) == 2
    (out / "mine.txt").write_text("kept", encoding="utf-8")
    write_build([report_of(photos / "a", ["1.png"])], out, force=True)
    assert len(open_manifest(out)) == 1
    assert (out / "mine.txt").exists()
    with pytest.raises(DataError, match=r"mine\.txt is a file; --out names the folder"):
        check_out(out / "mine.txt", force=True)


def test_images_that_cannot_be_taken_are_reported_together_and_nothing_is_written(
    tmp_path: Path, photos: Path, draw_picture: Callable[..., Path]
) -> None:
    (photos / "a" / "link.png").symlink_to(draw_picture(tmp_path / "elsewhere.png"))
    reports = [report_of(photos / "a", ["1.png", "link.png"], "one"), report_of(photos, ["a/1.png"], "two")]
    with pytest.raises(DataError) as caught:
        write_build(reports, tmp_path / "out")
    message = str(caught.value)
    assert "Images that cannot be taken (2):" in message
    assert "one: image 'link.png' is a link that leads out of" in message
    assert "two: image 'a/1.png' is one of one too" in message
    assert not (tmp_path / "out").exists()


def test_no_record_is_an_error(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)There is no record to write.*nothing: 0 rows, 0 kept"):
        write_build([SourceReport("nothing", photos)], tmp_path / "out")


def test_a_build_that_breaks_off_leaves_nothing_behind(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write_build([report_of(photos / "a", ["1.png", "2.png"])], out)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    broken = report_of(photos / "a", ["1.png"])
    broken.remarks = [object()]  # type: ignore[list-item]  # the note, written last, cannot be JSON
    with pytest.raises(TypeError):
        write_build([broken], out, force=True)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
