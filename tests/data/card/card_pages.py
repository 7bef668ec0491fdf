"""Small data sets for the card, and its page as a test sees it."""

from __future__ import annotations

from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from PIL import Image

from skingpt4.data.card import write_card
from skingpt4.data.manifest import row_of, write_manifest
from skingpt4.data.records import Record


class Page(HTMLParser):
    """tables: the cells of each table's body rows, by the heading above it. used: every attribute that may fetch."""

    def __init__(self, text: str):
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.used: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self._heading, self._inside = "", ""
        self.feed(text)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.used += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]
        if tag in ("h2", "h3", "td"):
            self._inside = tag
        if tag in ("h2", "h3"):
            self._heading = ""
        if tag == "tr":
            self.tables.setdefault(self._heading, []).append([])
        if tag == "td":
            self.tables[self._heading][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._inside == "td":
            self.tables[self._heading][-1][-1] += data
        elif self._inside:
            self._heading += data

    def counts(self, heading: str) -> dict[str, int]:
        rows = [row for row in self.tables[heading] if row]
        return {row[0]: int(row[1].replace(",", "")) for row in rows}


def write_set(folder: Path, records: Iterable[Record], draw: bool = True) -> Path:
    """A manifest of records whose images are names below the folder; each is drawn in a colour of its own."""
    rows = []
    for number, record in enumerate(records):
        name = str(record.image)
        if draw:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30), (number * 7 % 256, 90, 120)).save(folder / name)
        rows.append(row_of(record, name))
    write_manifest(folder / "manifest.parquet", rows)
    return folder


def record(number: int, **values: Any) -> Record:
    return Record(Path(f"images/{number}.png"), ("What?",), ("This.",), **{"source": "isic", **values})


def a_dozen() -> list[Record]:
    """Twelve records: 8 eczema, 3 acne, 1 unnamed; skin types II and VI, the rest unknown."""
    skin_types, splits = (2, 2, 2, 6, -1, -1), ("train", "train", "test")
    return [
        record(
            number,
            disease="eczema" if number < 8 else "acne" if number < 11 else "",
            concepts=("Papule", "Scale") if number < 8 else ("Papule",) if number < 11 else (),
            skin_type=skin_types[number % 6],
            split=splits[number % 3],
            age=(5, 34, 39, -1)[number % 4],
            sex=("female", "male", "")[number % 3],
        )
        for number in range(12)
    ]


def page_of(folder: Path, **options: Any) -> Page:
    return Page(write_card(folder, **options).read_text(encoding="utf-8"))
