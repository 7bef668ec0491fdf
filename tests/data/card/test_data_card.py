"""The data card's counts are true, whatever of build, check and split there is."""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path

import pytest
from card_pages import Page, a_dozen, page_of, record, write_set

from skingpt4.commands import data_card
from skingpt4.data.build import write_build
from skingpt4.data.card import write_card
from skingpt4.data.records import file_sha256
from skingpt4.data.sources.archives import read_isic
from skingpt4.errors import DataError


def run(*words: object) -> int:
    parser = argparse.ArgumentParser()
    data_card.add(parser)
    arguments = parser.parse_args([str(word) for word in words])
    return int(arguments.run(arguments))


def test_counts_are_those_of_the_manifest(tmp_path: Path) -> None:
    page = page_of(write_set(tmp_path / "dozen", a_dozen()))
    assert page.counts("Images per source") == {"isic": 12}
    assert page.counts("Images per split") == {"train": 8, "test": 4}
    assert page.counts("Diseases") == {"eczema": 8, "acne": 3, "unknown": 1}
    assert page.counts("Concepts") == {"Papule": 11, "Scale": 8, "unknown": 1}
    assert page.counts("Sex") == {"female": 4, "male": 4, "unknown": 4}
    assert page.counts("Age in years") == {"0–9": 3, "10–19": 0, "20–29": 0, "30–39": 6}
    assert "Unknown for 3 (25%)" in page.text
    # the pair, its images, and their share of the images of either concept
    assert page.tables["Concepts that are seen together"][1:] == [["Papule + Scale", "8", "73%", "100%"]]
    facts = dict(row for row in page.tables["To find or make it again"] if row)
    assert facts["Fingerprint of the manifest (SHA-256)"] == file_sha256(tmp_path / "dozen" / "manifest.parquet")
    assert "All 12 image files are where the manifest says" in page.text


def test_unknown_skin_types_stand_apart(tmp_path: Path) -> None:
    page = page_of(write_set(tmp_path, a_dozen()))
    counts = page.counts("Skin type (Fitzpatrick)")
    assert list(counts) == ["I", "II", "III", "IV", "V", "VI", "unknown"]
    assert list(counts.values()) == [0, 6, 0, 0, 0, 2, 4]
    # 2 of the 8 whose type is known, not of the 12
    assert "Dark skin (types V and VI): 2 images, 25% of those whose skin type is known; it is unknown for 4 (33%)" in (
        page.text
    )


def test_leaks_between_splits(tmp_path: Path) -> None:
    records = [
        record(0, split="train", group="17", sha256="a" * 64),
        record(1, split="test", group="17", sha256="b" * 64),
        record(2, split="test", group="18", sha256="a" * 64),
        record(3, split="train", group="17", source="pad-ufes-20", sha256="c" * 64),  # another clinic's patient 17
        record(4, split="test", group="19", source="pad-ufes-20"),
    ]
    page = page_of(write_set(tmp_path, records))
    rows = {row[0]: row[1:] for row in page.tables["Shared between splits"] if row}
    assert rows["Patient or lesion"] == ["5 images (100%)", "1 (2 images)"]
    assert rows["The very same image file"] == ["4 images (80%)", "1 (2 images)"]
    assert "1 patient or lesion (2 images) is in more than one split" in page.text


def test_how_far_the_splits_are_apart(tmp_path: Path) -> None:
    diseases = {"train": ["eczema"] * 3 + ["acne"], "test": ["eczema"] + ["acne"] * 3, "validation": ["rosacea"] * 4}
    pairs = [(split, disease) for split, names in diseases.items() for disease in names]
    records = [record(number, split=split, disease=disease) for number, (split, disease) in enumerate(pairs)]
    page = page_of(write_set(tmp_path, records))
    rows = [row for row in page.tables["Where the splits differ most"] if row]
    assert rows == [["Disease", "rosacea", "100.0", "0.0%", "100.0%", "0.0%"]]  # train, validation, test
    assert page.tables["Disease by split"][1:3] == [
        ["acne", "25.0%", "0.0%", "75.0%"],
        ["eczema", "75.0%", "0.0%", "25.0%"],
    ]
    assert "1 disease is in no training image but elsewhere: rosacea" in page.text


def test_without_a_check_the_page_says_so(tmp_path: Path) -> None:
    page = page_of(write_set(tmp_path / "mine", a_dozen()))
    assert page.text.count("Not checked yet; run skingpt4 data check mine.") == 2  # at the top and where it belongs
    assert "There is no build.json" in page.text


def test_what_a_check_found(tmp_path: Path) -> None:
    folder = write_set(tmp_path, a_dozen())  # images 0, 1 are in train, 2 in test
    findings = {
        "undecodable": [{"image": "images/4.png", "detail": "torn"}],
        "blank": [],
        "exact duplicates": [{"images": ["images/0.png", "images/1.png"]}],
        "near duplicates": [{"images": ["images/1.png", "images/2.png"]}],
        "across splits": [],  # as it was before the set was divided
    }
    (folder / "check.json").write_text(json.dumps({"records": 12, "findings": findings}))
    page = page_of(folder)
    found = {row[0]: row[1] for row in page.tables["Quality of the images"] if row}
    assert found == {
        "undecodable": "1 image",
        "exact duplicates": "1 group",
        "near duplicates": "1 group",
        "across splits": "1 group",
    }
    assert "Nothing found of: blank." in page.text
    assert "3 images (25%) show something that another split shows too" in page.text
    assert "undecodable (1 image), exact duplicates (1 group)" in page.text

    (folder / "check.json").write_text(json.dumps({"records": 11, "findings": findings}))
    assert "The check that lies here is of another set (11 records)" in page_of(folder).text
    (folder / "check.json").write_text("torn {")
    with pytest.raises(DataError, match=r"check\.json is no JSON"):
        write_card(folder)


def test_how_it_was_built(tmp_path: Path) -> None:
    folder = write_set(tmp_path, a_dozen())
    source = {"name": "isic metadata.csv", "rows": 1500, "kept": 12, "flagged": 0, "without_answer": 8, "missing": 1480}
    note = {
        "sources": [{**source, "remarks": ["3 rows twice"]}],
        "command": {"source": "isic", "metadata": "/srv/someone/metadata.csv", "out": "set", "force": False},
        "skingpt4": "0.0.9",
    }
    (folder / "build.json").write_text(json.dumps(note))
    text = write_card(folder).read_text()
    page = Page(text)
    assert page.tables["What was read and what was left out"][1] == [
        "isic metadata.csv",
        "1,500",
        "12",
        "0",
        "8",
        "1,480",
    ]
    assert "isic metadata.csv: 3 rows twice" in page.text
    facts = dict(row for row in page.tables["To find or make it again"] if row)
    assert facts["Command"] == "skingpt4 data build isic --metadata …/metadata.csv --out set"
    assert facts["Built with"] == "skingpt4 0.0.9"
    assert "someone" not in text


def test_markdown_says_the_same(tmp_path: Path) -> None:
    folder = write_set(tmp_path, a_dozen())
    out = write_card(folder, out=tmp_path / "pages" / "card.md")  # the form by its suffix
    text = out.read_text(encoding="utf-8")
    assert "| eczema | 8 | 67% |" in text
    assert "| VI | 2 | 17% |\n| unknown | 4 | 33% |" in text
    assert "| Papule + Scale | 8 | 73% | 100% |" in text
    assert "Not checked yet" in text
    assert "data:image" not in text
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    page = write_card(folder).read_text(encoding="utf-8")
    assert headings == [heading for heading in re.findall("<h2>(.*)</h2>", page) if heading != "Examples"]


def test_many_diseases_become_forty_bars_and_others(tmp_path: Path) -> None:
    names = [f"disease {number:03}" for number in range(60) for _ in range(60 - number)]
    page = page_of(write_set(tmp_path, (record(n, disease=name) for n, name in enumerate(names)), draw=False))
    counts = page.counts("Diseases")
    assert len(counts) == 41
    assert counts["disease 000"] == 60
    assert counts["20 others"] == sum(range(1, 21))


def test_twenty_thousand_rows(tmp_path: Path) -> None:
    records = (record(n, disease=f"d{n % 700}", split="train" if n % 5 else "test") for n in range(20_000))
    folder = write_set(tmp_path, records, draw=False)
    start = time.process_time()
    page = page_of(folder)
    assert time.process_time() - start < 10
    assert page.counts("Images per split") == {"train": 16_000, "test": 4_000}
    assert page.counts("Diseases")["660 others"] == 20_000 - 40 * 29  # 20,000 / 700 is 28.6


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_set(tmp_path, a_dozen())
    assert run(folder, "--no-thumbnails") == 0
    assert f"Wrote {folder / 'card.html'}" in capsys.readouterr().out
    assert run(folder, "--format", "markdown", "--out", tmp_path / "page.txt") == 0
    assert (tmp_path / "page.txt").read_text().startswith(f"# {tmp_path.name.replace('_', chr(92) + '_')}")
    with pytest.raises(SystemExit):
        run(folder, "--thumbnails", "3", "--no-thumbnails")
    with pytest.raises(DataError, match="is a folder; give the name of a file"):
        run(folder, "--out", tmp_path)
    with pytest.raises(DataError, match="nowhere does not exist"):
        run(folder, "--images", tmp_path / "nowhere")
    write_set(tmp_path / "empty", [])
    with pytest.raises(DataError, match="holds no record"):
        run(tmp_path / "empty")
    assert not list(tmp_path.rglob("*.partial"))


def test_isic_card(shared_data: Path, tmp_path: Path) -> None:
    write_build([read_isic(shared_data / "isic/metadata.csv", shared_data / "isic/images")], tmp_path)
    page = page_of(tmp_path)
    assert page.counts("Diseases") == {"melanoma": 60, "nevus": 60}
    assert page.counts("Sex") == {"male": 38, "female": 34, "unknown": 48}
    assert "Unknown for 53 (44%)" in page.text
    assert sum(value.startswith("data:") for value in page.used) == 10
