"""What really comes back: whole folders, files that an editor changed, the blank form beside the filled one."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from studies import csv_file, json_file, study, xlsx_file

from skingpt4.study.collect import collect, find_files, read_ratings
from skingpt4.study.folder import Folder
from skingpt4.study.items import StudyError


def test_a_blank_form_beside_the_filled_one_takes_nothing_away(folder: Folder, tmp_path: Path):
    blank = shutil.copy(folder.forms / "rater-D1.csv", tmp_path / "rater-D1.csv")
    filled = xlsx_file(tmp_path / "rater-D1.xlsx", folder, "D1")
    found = collect(folder.read(), [Path(blank), filled])
    assert len(found.ratings) == 8
    assert [(each.file, each.kind) for each in found.problems] == [("rater-D1.csv", "the same rater twice")]
    assert "has no rating in it" in found.problems[0].message


def test_a_folder_is_read_to_its_bottom_and_what_is_no_table_is_told(folder: Folder, tmp_path: Path):
    own = tmp_path / "inbox" / "from D1"
    shutil.copytree(folder.forms, own)  # the rater sends everything back, one file of it filled in
    xlsx_file(own / "rater-D1.xlsx", folder, "D1")
    for name in ("rater-D2.ods", "~$rater-D1.xlsx", ".hidden.csv"):
        (own / name).write_bytes(b"no table")
    (own / "a folder.csv").mkdir()
    found = collect(folder.read(), find_files([tmp_path / "inbox"]))
    assert Counter(rating.rater for rating in found.ratings) == {"D1": 8}
    assert [each.file for each in found.problems if each.kind == "unreadable file"] == ["rater-D2.ods"]
    assert collect(folder.read(), [own / "a folder.csv"]).problems[0].kind == "unreadable file"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_form_s_file_that_an_editor_saved_again(encoding: str, folder: Folder, tmp_path: Path):
    place = json_file(tmp_path / "a.json", folder.read(), "D1")
    place.write_text(place.read_text(encoding="utf-8"), encoding=encoding)
    found = collect(folder.read(), [place])
    assert len(found.ratings) == 8 and not found.problems


def test_one_damaged_text_costs_no_other(folder: Folder, tmp_path: Path):
    place = json_file(tmp_path / "a.json", folder.read(), "D1")
    values = json.loads(place.read_text())
    code = next(iter(values["ratings"]))
    values["ratings"][code] = "torn"
    place.write_text(json.dumps(values))
    found = collect(folder.read(), [place])
    assert len(found.ratings) == 7
    assert [(each.kind, each.row) for each in found.problems] == [
        ("unreadable file", f"text {code}"), ("missing item", f"text {code}")
    ]  # fmt: skip
    place.write_text("[" * 100_000)
    assert [each.kind for each in collect(folder.read(), [place]).problems] == ["unreadable file"]


def test_a_rater_s_later_and_emptier_file_does_not_replace_the_fuller_one_in_silence(folder: Folder, tmp_path: Path):
    place = csv_file(tmp_path / "a.csv", folder, "D1")
    assert study("collect", folder.root, place) == 0
    corrected = csv_file(tmp_path / "corrected.csv", folder, "D1", lambda *_: 2)
    assert study("collect", folder.root, corrected) == 0
    with place.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    rows[1][rows[0].index("useful")] = ""
    with place.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(StudyError, match="holds 1 ratings of D1 that are not among those given"):
        study("collect", folder.root, place)


def test_what_a_rater_writes_is_no_formula_for_the_leader(folder: Folder, tmp_path: Path):
    place = json_file(tmp_path / "a.json", folder.read(), "D1")
    values = json.loads(place.read_text())
    for given in values["ratings"].values():
        given |= {"comment": '=HYPERLINK("x")', "useful": "=1+1"}
    place.write_text(json.dumps(values))
    assert study("collect", folder.root, place) == 2
    assert {rating.comment for rating in read_ratings(folder)} == {'=HYPERLINK("x")'}
    for table in (folder.ratings, folder.problems):
        with table.open(newline="", encoding="utf-8-sig") as file:
            assert not [cell for row in csv.reader(file) for cell in row if cell.startswith("=")]
