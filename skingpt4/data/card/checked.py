"""What `data check` and `data split` noted beside the manifest: problems of the images, copies in several splits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from skingpt4.data.card.facts import Facts, Leak
from skingpt4.data.card.noted import read_note
from skingpt4.data.card.parts import Block, Note, Section, Table, percent, plural
from skingpt4.data.manifest import Manifest
from skingpt4.data.quality.check import KINDS
from skingpt4.data.quality.duplicates import connected

_CLUSTERS = ("exact duplicates", "near duplicates", "across splits")  # findings of several images each
_BY_SPLIT = "across splits"  # judged anew here: the splits may be younger than the check


@dataclass(frozen=True)
class Health:
    """A check of this very set, or why there is none (`absent`). counts: findings by kind. copies: pictures that are in
    several splits now.
    """

    absent: str
    counts: dict[str, int]
    copies: Leak | None
    sharpness: dict[str, float]
    limits: dict[str, float]

    @property
    def problems(self) -> dict[str, int]:
        return {kind: count for kind, count in self.counts.items() if count and kind in KINDS and KINDS[kind].problem}


def read_health(manifest: Manifest) -> Health:
    """What `check.json` says, if it is there and of this set. Raises `DataError` for one that is no JSON."""
    folder = manifest.path.parent
    note = read_note(folder, "check.json")
    command = f"skingpt4 data check {folder.resolve().name if folder.is_absolute() else folder}"
    if not note:
        return Health(f"Not checked yet; run {command}", {}, None, {}, {})
    if note.get("records") != len(manifest):
        text = f"The check that lies here is of another set ({note.get('records')} records); run {command}"
        return Health(text, {}, None, {}, {})
    findings = {kind: found for kind, found in note.get("findings", {}).items() if kind != _BY_SPLIT}
    counts = {kind: len(found) for kind, found in findings.items()}
    copies = _copies(note.get("findings", {}), manifest)
    sharpness, limits = note.get("sharpness_percentiles", {}), note.get("limits", {})
    return Health("", counts | {_BY_SPLIT: copies.values}, copies, sharpness, limits)


def _copies(findings: dict[str, Any], manifest: Manifest) -> Leak:
    """Images that a check ties together (copies, one patient) and that are in several splits as these are now."""
    clusters = [entry["images"] for kind in _CLUSTERS for entry in findings.get(kind, [])]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(name for group in clusters for name in group))}
    pairs = [(numbers[group[0]], numbers[name]) for group in clusters for name in group]
    labels = connected(len(numbers), np.array(pairs, np.int64).reshape(-1, 2)).tolist()
    homes: dict[int, set[str]] = {label: set() for label in labels}
    places = zip(manifest.column("shard"), manifest.column("image"), manifest.column("split"), strict=True)
    for shard, image, split in places:
        name = f"{shard}/{image}" if shard else image  # as the check calls it
        if name in numbers and split:
            homes[labels[numbers[name]]].add(split)
    apart = {label for label, splits in homes.items() if len(splits) > 1}
    return Leak(len(manifest), len(apart), sum(label in apart for label in labels))


def health_section(health: Health, manifest: Manifest) -> Section:
    """The problems found, and what each means."""
    blocks: list[Block] = []
    if health.absent:
        blocks.append(Note(f"{health.absent}.", "warning"))
    else:
        found = {kind: count for kind, count in health.counts.items() if count}
        rows = [(kind, f"{count:,}{_unit(kind, count)}", _meaning(kind)) for kind, count in found.items()]
        if rows:
            blocks.append(Table(("finding", "how many", "what it means"), rows))
        clear = [kind for kind, count in health.counts.items() if not count]
        if clear:
            blocks.append(Note(f"Nothing found of: {', '.join(clear)}.", "good"))
        blocks += _sharpness(health)
        blocks.append(Note("check.json beside the manifest lists every image by name."))
    leaks = read_note(manifest.path.parent, "leaks.json")
    if leaks:
        shared, other = len(leaks.get("leaks", [])), leaks.get("other_records", 0)
        text = f"Compared with another set: {shared:,} of its {plural(other, 'record')} are in this set too."
        blocks.append(Note(text, "warning" if shared else "good"))
    return Section(
        "Quality of the images",
        "Whether each photograph can be opened and is clear enough to learn from, and which are there more than once.",
        blocks,
    )


def _unit(kind: str, count: int) -> str:
    if kind in ("exact duplicates", "near duplicates", "other disease", _BY_SPLIT):
        return " group" if count == 1 else " groups"
    return " image" if count == 1 else " images"


def _meaning(kind: str) -> str:
    return KINDS[kind].meaning.replace("`", "") if kind in KINDS else ""


def _sharpness(health: Health) -> Iterator[Note]:
    limit, half = health.limits.get("min_sharpness"), health.sharpness.get("50%")
    if limit and half is not None:
        text = f"An image counts as blurred below a sharpness of {limit:g} (sharp photographs have 3 to 6)"
        yield Note(f"{text}; half of these images have less than {half:g}.")


def health_notes(health: Health, facts: Facts) -> Iterator[Note]:
    """For the top of the page."""
    if health.absent:
        yield Note(f"{health.absent}.", "warning")
        return
    problems = {kind: count for kind, count in health.problems.items() if kind != _BY_SPLIT}
    if problems:
        named = ", ".join(f"{kind} ({count:,}{_unit(kind, count)})" for kind, count in problems.items())
        yield Note(f"A check of every image found problems: {named}.", "warning")
    else:
        yield Note("A check of every image found nothing wrong.", "good")
    if len(facts.splits) > 1 and health.copies and health.copies.values:
        text = f"{plural(health.copies.images, 'image')} ({percent(health.copies.images, facts.images)}) show something"
        yield Note(f"{text} that another split shows too: results on them will look better than they are.", "warning")


def split_notes(manifest: Manifest) -> Iterator[Note]:
    """How the set was divided, if `split.json` is of this set."""
    note = read_note(manifest.path.parent, "split.json")
    groups = note.get("groups", {})
    if note.get("records") == len(manifest) and groups:
        text = (
            f"Divided by skingpt4 data split with seed {note.get('seed')}: {plural(groups.get('count', 0), 'group')} "
            f"of images that belong together (the largest has {groups.get('largest', 0):,}), each whole in one split."
        )
        yield Note(text)
