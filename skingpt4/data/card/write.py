"""Reading a data set's folder and writing its card."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Literal

import skingpt4
from skingpt4.data.card import sections
from skingpt4.data.card.checked import health_notes, health_section, read_health, split_notes
from skingpt4.data.card.facts import Facts, facts_of
from skingpt4.data.card.first import first_things
from skingpt4.data.card.noted import built
from skingpt4.data.card.page import to_html, to_markdown
from skingpt4.data.card.parts import UNKNOWN, Card, Section, percent
from skingpt4.data.card.pictures import Gallery, gallery
from skingpt4.data.manifest import Manifest, open_manifest
from skingpt4.data.records import existing_folder, few
from skingpt4.errors import DataError
from skingpt4.vocabulary import CONCEPTS

THUMBNAILS = 5  # per class, disease or concept
Form = Literal["html", "markdown"]
_SUFFIXES: dict[Form, str] = {"html": ".html", "markdown": ".md"}


def write_card(
    folder: Path,
    out: Path | None = None,
    images: Path | None = None,
    thumbnails: int | None = None,
    form: Form | None = None,
    seed: int = 0,
) -> Path:
    """Write the card of a data set and return the file, which appears whole or not at all.

    folder: with `manifest.parquet` or `manifest.jsonl` (or such a file); `build.json`, `check.json` and `split.json`
    beside it are used where they are. out: None = `card.html` or `card.md` in the folder. images: what image names are
    relative to, None = as noted by `data build`. thumbnails: photographs per class; None = `THUMBNAILS`, of sources
    whose licence allows it; a number asks for those of every source; 0 = none. form: None = by the suffix of `out`.
    Raises `DataError` where there is no manifest, an empty one, or nowhere to write.
    """
    form = form or ("markdown" if out is not None and out.suffix.lower() in (".md", ".markdown") else "html")
    manifest = open_manifest(folder, existing_folder(str(images), "the images' folder") if images else None)
    out = out or manifest.path.parent / f"card{_SUFFIXES[form]}"
    if out.is_dir():
        raise DataError(f"{out} is a folder; give the name of a file, e.g. --out {out / 'card.html'}.")
    if not len(manifest):
        raise DataError(f"{manifest.path} holds no record; there is nothing to describe.")
    facts = facts_of(manifest)
    examples = [_examples(manifest, facts, thumbnails, seed)] if form == "html" else []
    card = card_of(manifest, facts, examples)
    text = to_markdown(card) if form == "markdown" else to_html(card)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return out


def _examples(manifest: Manifest, facts: Facts, thumbnails: int | None, seed: int) -> Section:
    per_group = THUMBNAILS if thumbnails is None else thumbnails
    shown: Gallery | str
    if not per_group:
        shown = "Left out on request (--no-thumbnails)."
    elif facts.missing is None:
        shown = "The photographs are not on this computer; --images names the folder that holds them."
    else:
        shown = gallery(manifest, per_group, seed, whatever_licence=thumbnails is not None)
    return sections.examples(shown, per_group, seed)


def card_of(manifest: Manifest, facts: Facts, examples: list[Section]) -> Card:
    """The card's content. examples: the section with photographs, if there is to be one."""
    health = read_health(manifest)
    date = datetime.now().astimezone().date().isoformat()
    parts = [
        first_things(facts, list(health_notes(health, facts))),
        sections.sources(facts),
        sections.diagnoses(facts),
        sections.concepts(facts),
        sections.people(facts),
        *examples,
        sections.splits(facts, health.copies, split_notes(manifest)),
        health_section(health, manifest),
        built(manifest, skingpt4.__version__, date),
    ]
    named = few([name or UNKNOWN for name, _ in facts.source.commonest_first()], 4)
    return Card(
        title=manifest.path.resolve().parent.name,
        subtitle=f"Data card of a training set of SkinGPT-4 · {named} · {date} · skingpt4 {skingpt4.__version__}",
        tiles=_tiles(facts),
        sections=parts,
        footer="This page is one file and fetches nothing from elsewhere: it can be opened offline, printed and sent.",
    )


def _tiles(facts: Facts) -> list[tuple[str, str]]:
    """The figures at the top: those that the set has."""
    concepts = facts.concept.counts
    counted = [
        (facts.images, "image", "images"),
        (len(facts.disease.counts), "disease", "diseases"),
        (len(facts.disease_class.counts), "class", "classes"),
        (len(concepts), f"of {len(CONCEPTS)} concepts", ""),
        (facts.groups, "patient or lesion", "patients or lesions"),
    ]
    tiles = [(f"{count:,}", one if count == 1 else many or one) for count, one, many in counted if count]
    tiles.append((percent(facts.skin_type.known, facts.images), "with a known skin type"))
    if len(facts.splits) > 1:
        tiles.append((" / ".join(f"{size:,}" for size in facts.splits.values()), " / ".join(facts.splits)))
    return tiles
