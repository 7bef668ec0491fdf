"""A data card is one file that needs nothing else, and shows nothing that may not be passed on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from card_pages import Page, a_dozen, page_of, record, write_set

from skingpt4.data.card import write_card


def test_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    file = write_card(write_set(tmp_path, a_dozen()))
    text = file.read_text(encoding="utf-8")
    page = Page(text)
    assert page.used, "the page has links within itself and photographs"
    assert all(value.startswith(("#", "data:image/jpeg;base64,")) for value in page.used)
    assert "://" not in text
    assert not re.search(r"@import|url\((?!#)", text)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    assert "svg" in page.tags
    assert "default-src 'none'" in text  # the browser itself refuses what would be fetched
    assert str(tmp_path) not in text, "the page does not say how this disk is arranged"


@pytest.mark.parametrize("form", ["html", "markdown"])
def test_names_are_escaped(tmp_path: Path, form: Any) -> None:
    evil = "<script>alert('x')</script> | $\\alpha$ & *b* [c](d)"
    records = [record(number, disease=evil, source=f"isic {evil}", site=evil, split=evil) for number in range(3)]
    records += [record(3, disease="皮膚炎", split="test"), record(4, disease="from $5 to $6", split="test")]
    text = write_card(write_set(tmp_path, records), form=form).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "皮膚炎" in text
    if form == "html":
        assert ">from $5 to $6</text>" in text, "a label of a plot is no formula"
        page = Page(text)
        assert page.counts("Diseases")[evil] == 3
    else:
        assert r"&lt;script&gt;alert('x')&lt;/script&gt; \| $\\alpha$ &amp; \*b\* \[c\](d)" in text


def test_licences_and_what_they_permit(tmp_path: Path) -> None:
    records = [record(0), record(1, licence="CC-0"), record(2, licence="CC-BY-NC"), record(3, source="fitzpatrick17k")]
    records += [
        record(4, source="dermnet"),
        record(5, source="clinic"),
        record(6, source="clinic", licence="CC BY 4.0"),
    ]
    rows = [row for row in page_of(write_set(tmp_path, records)).tables["Licences"] if row]
    permits = {(source, licence): text for source, licence, _, text in rows}
    assert len(permits) == 7
    assert "looked theirs up" in permits["isic", "ISIC Archive, per image"]
    assert permits["isic", "CC-0"].startswith("Free for any use")
    assert (
        permits["isic", "CC-BY-NC"]
        == "May be shared and adapted if the authors are named and nobody earns money with it."
    )
    assert "carries the same licence" in permits["fitzpatrick17k", "CC BY-NC-SA 3.0"]
    assert "may not be passed on" in permits["dermnet", "Dermnet, not for redistribution"]
    assert "ask those who made" in permits["clinic", "not noted"]
    assert "commercial ones too" in permits["clinic", "CC BY 4.0"]


@pytest.mark.parametrize("source", ["ddi", "dermnet", "notes visits.csv", "skincon annotations_ddi.csv", "clinic"])
def test_photographs_that_may_not_be_passed_on_are_left_out(tmp_path: Path, source: str) -> None:
    records = [record(number, disease=f"d{number % 2}", source=source) for number in range(4)]
    folder = write_set(tmp_path, [*records, *(record(number, disease=f"d{number % 2}") for number in range(4, 8))])
    page = page_of(folder)
    assert sum(value.startswith("data:") for value in page.used) == 4, "those of isic only"
    assert f"4 images of {source} are not shown" in page.text
    assert "--thumbnails N" in page.text
    assert sum(value.startswith("data:") for value in page_of(folder, thumbnails=3).used) == 6  # asked for: of both
    without = page_of(folder, thumbnails=0)
    assert not any(value.startswith("data:") for value in without.used)
    assert "--no-thumbnails" in without.text


def test_thumbnails_are_drawn_by_the_seed(tmp_path: Path) -> None:
    folder = write_set(tmp_path, [record(number, disease=f"d{number % 2}") for number in range(24)])
    one, again, other = (page_of(folder, thumbnails=3, seed=seed).used for seed in (0, 0, 1))
    assert one == again
    assert one != other


def test_missing_and_torn_images_are_counted(tmp_path: Path) -> None:
    folder = write_set(tmp_path, a_dozen())
    for number in (0, 8):
        (folder / f"images/{number}.png").unlink()
    (folder / "images/9.png").write_bytes(b"no picture")
    page = page_of(folder, thumbnails=20)
    assert "2 image files of 12 cannot be found" in page.text
    assert "3 photographs drawn for this page could not be opened" in page.text
    assert sum(value.startswith("data:") for value in page.used) == 7 + 1  # of eczema and of acne

    nothing = page_of(write_set(tmp_path / "elsewhere", a_dozen(), draw=False))
    assert "The photographs are not on this computer" in nothing.text
    assert nothing.counts("Diseases") == {"eczema": 8, "acne": 3, "unknown": 1}
