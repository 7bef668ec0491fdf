"""`skingpt4 study collect`: every fault has its name, and nothing that is good is lost."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from studies import csv_file, json_file, ratings_of, study, xlsx_file

from skingpt4.study.collect import collect, read_ratings
from skingpt4.study.folder import Folder
from skingpt4.study.items import StudyError, level_of


def level(rater: str, code: str, item: str) -> int:
    """Any that differs from place to place and is the same every time."""
    return sum(map(ord, rater + code + item)) % 5 + 1


def problems_in(folder: Folder) -> list[tuple[str, str, str]]:
    with folder.problems.open(newline="", encoding="utf-8-sig") as file:
        return [(row["file"], row["kind"], row["message"]) for row in csv.DictReader(file)]


def test_the_three_kinds_of_files_give_the_same_ratings(folder: Folder, tmp_path: Path):
    key = folder.read()
    files = [
        json_file(tmp_path / "one.json", key, "D1", level),
        csv_file(tmp_path / "two.csv", folder, "D2", level),
        xlsx_file(tmp_path / "three.xlsx", folder, "D3", level),
        csv_file(tmp_path / "lay.csv", folder, "L1", level),
    ]
    assert study("collect", folder.root, *files) == 0
    assert problems_in(folder) == []
    kept = read_ratings(folder)
    assert len(kept) == 4 * 8
    for rater in key.raters:
        own = {rating.code: rating.values for rating in kept if rating.rater == rater.id}
        assert own == ratings_of(key, rater.id, level)


def test_each_fault_is_named_and_the_rest_is_kept(folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    key = folder.read()
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    first = json.loads(json_file(inbox / "a.json", key, "D1").read_text())
    codes = list(first["ratings"])
    first["ratings"][codes[0]]["useful"] = 6
    del first["ratings"][codes[1]]["correct"]
    first["ratings"][codes[2]]["comment"] = "Cannot judge =SUM(1)"
    first["ratings"]["ZZZZZ"] = {"correct": 1}
    (inbox / "a.json").write_text(json.dumps(first), encoding="utf-8")
    json_file(inbox / "b.json", key, "D1", lambda *_: 2)
    other = json.loads(json_file(inbox / "c.json", key, "D2").read_text())
    (inbox / "c.json").write_text(json.dumps({**other, "study": "OTHERONE"}), encoding="utf-8")
    (inbox / "d.json").write_text("{torn", encoding="utf-8")
    stranger = json.loads(json_file(inbox / "e.json", key, "D3").read_text())
    (inbox / "e.json").write_text(json.dumps({**stranger, "rater": "D9"}), encoding="utf-8")
    with csv_file(inbox / "f.csv", folder, "D2").open("r+", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
        csv.writer(file).writerows([rows[1], ["too", "few"]])

    assert study("collect", folder.root, inbox) == 2
    found = problems_in(folder)
    assert sorted((file, kind) for file, kind, _ in found) == [
        ("a.json", "missing item"),
        ("a.json", "unknown case"),
        ("a.json", "value off the scale"),
        ("b.json", "the same rater twice"),
        ("c.json", "file of another study"),
        ("d.json", "unreadable file"),
        ("e.json", "unknown rater"),
        ("f.csv", "the same case twice"),
        ("f.csv", "unreadable file"),
    ]
    messages = {(file, kind): message for file, kind, message in found}
    assert messages["a.json", "missing item"] == "no answer to correct"
    assert "useful: 6 is not on the scale; 1 (strongly disagree) to 5" in messages["a.json", "value off the scale"]
    assert "'ZZZZZ'" in messages["a.json", "unknown case"]
    told = capsys.readouterr()
    assert f"{len(found)} problems are listed" in told.err and "b.json: the same rater twice" in told.err
    assert "16 judgements of 2 of 4 raters were kept" in told.out

    kept = {rating.code: rating for rating in read_ratings(folder) if rating.rater == "D1"}
    assert set(kept) == set(codes)
    assert "useful" not in kept[codes[0]].values and len(kept[codes[0]].values) == 6
    assert len(kept[codes[1]].values) == 6 and kept[codes[2]].comment == "Cannot judge =SUM(1)"
    assert all(value == 4 for rating in kept.values() for value in rating.values.values())
    set_aside = folder.problems.read_text(encoding="utf-8-sig")
    assert set_aside.count('""willing"": 2') == 8  # the second file of D1, word for word


def test_an_unfinished_form_is_told_text_by_text(folder: Folder, tmp_path: Path):
    key = folder.read()
    whole = json.loads(json_file(tmp_path / "a.json", key, "L1").read_text())
    kept = dict(list(whole["ratings"].items())[:5])
    (tmp_path / "a.json").write_text(json.dumps({**whole, "ratings": kept}), encoding="utf-8")
    found = collect(key, [tmp_path / "a.json"])
    assert len(found.ratings) == 5
    assert [problem.kind for problem in found.problems] == ["missing item"] * 3
    assert "L1 did not judge this text (useful, helps_patients)" in found.problems[0].message
    (tmp_path / "a.json").write_text(json.dumps({**whole, "ratings": {}}), encoding="utf-8")
    assert len(collect(key, [tmp_path / "a.json"]).problems) == 8


def test_earlier_ratings_are_never_lost_in_silence(folder: Folder, tmp_path: Path):
    key = folder.read()
    one, two = json_file(tmp_path / "1.json", key, "D1"), json_file(tmp_path / "2.json", key, "D2")
    assert study("collect", folder.root, one, two) == 0
    before = folder.ratings.read_bytes()
    with pytest.raises(StudyError, match="holds 56 ratings of D1 that are not among those given"):
        study("collect", folder.root, two)
    assert folder.ratings.read_bytes() == before
    with pytest.raises(StudyError, match="does not exist"):
        study("collect", folder.root, tmp_path / "absent.json")
    with pytest.raises(StudyError, match="holds no study"):
        study("collect", tmp_path, one)
    with pytest.raises(StudyError, match="no ratings were collected yet"):
        folder.ratings.unlink()
        study("report", folder.root)


@pytest.mark.parametrize(("given", "level"), [(5, 5), ("1", 1), (" 4.0 ", 4), ("Strongly agree", 5), ("disagree", 2)])
def test_levels_as_people_write_them(given: object, level: int):
    assert level_of(given) == level


@pytest.mark.parametrize("given", [0, 6, 2.5, "", "yes", True, None, "nan"])
def test_what_is_off_the_scale(given: object):
    with pytest.raises(ValueError, match=r"is not on the scale; 1 \(strongly disagree\) to 5 \(strongly agree\)"):
        level_of(given)
