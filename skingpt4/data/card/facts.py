"""Counts of a manifest, taken column by column: a million records fit in memory as columns, not as records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skingpt4.data.card.parts import NO_SPLIT
from skingpt4.data.manifest import Manifest
from skingpt4.vocabulary import CONCEPTS

SKIN_TYPES = ("I", "II", "III", "IV", "V", "VI")
SPLITS = ("train", "validation", "test")  # their usual order; others follow
AGE_BIN_YEARS = 10
_PROBED = 1000  # images


@dataclass(frozen=True)
class Facet:
    """How often each value of one property occurs, per split, and in how many images it is unknown."""

    by_split: dict[str, Counter[str]]
    unknown: Counter[str]  # per split

    @property
    def counts(self) -> Counter[str]:
        return sum(self.by_split.values(), Counter())

    @property
    def known(self) -> int:
        """Images whose value is known. Means nothing for concepts, of which an image has several."""
        return self.counts.total()

    def commonest_first(self) -> list[tuple[str, int]]:
        return sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))


@dataclass(frozen=True)
class Leak:
    """A property that must not be in two splits (a patient, a file's content): how many of its values are.

    known: images that have the property.
    """

    known: int
    values: int
    images: int


@dataclass(frozen=True)
class Facts:
    """Everything that a card counts. pairs: int[48, 48], images that show both concepts; see `HeatMap`."""

    images: int
    splits: dict[str, int]
    source: Facet
    disease: Facet
    disease_class: Facet
    concept: Facet
    skin_type: Facet
    sex: Facet
    age: Facet
    site: Facet
    pairs: np.ndarray
    licences: Counter[tuple[str, str]]  # (source, licence)
    groups: int
    group_leak: Leak
    file_leak: Leak
    missing: int | None  # images whose file is not there; None = not one is, so this is not where they are kept


def facts_of(manifest: Manifest) -> Facts:
    """Read the columns of a manifest and count."""
    splits = [value or NO_SPLIT for value in manifest.column("split")]
    sizes = Counter(splits)
    order = [name for name in (*SPLITS, *sorted(set(sizes) - {*SPLITS, NO_SPLIT}), NO_SPLIT) if sizes[name]]

    def facet(column: Sequence[Any], label: Callable[[Any], str] = str) -> Facet:
        return _facet(Counter(zip(splits, column, strict=True)), order, label)

    sources = manifest.column("source")
    licences = Counter(zip(sources, manifest.column("licence"), strict=True))
    concepts = Counter(zip(splits, map(tuple, manifest.column("concepts")), strict=True))
    # Two clinics may both have a patient 17.
    cases = [(source, group) if group else "" for source, group in zip(sources, manifest.column("group"), strict=True)]
    return Facts(
        images=len(manifest),
        splits={name: sizes[name] for name in order},
        source=facet(sources),
        disease=facet(manifest.column("disease")),
        disease_class=facet(manifest.column("disease_class")),
        concept=_concepts(concepts, order),
        skin_type=facet(manifest.column("skin_type"), _roman),
        sex=facet(manifest.column("sex")),
        age=facet(manifest.column("age"), _decade),
        site=facet(manifest.column("site")),
        pairs=_pairs(concepts),
        licences=licences,
        groups=len(set(cases) - {""}),
        group_leak=_leak(cases, splits),
        file_leak=_leak(manifest.column("sha256"), splits),
        missing=_missing(manifest),
    )


def _facet(counts: Counter[tuple[str, Any]], order: Iterable[str], label: Callable[[Any], str]) -> Facet:
    by_split = {name: Counter[str]() for name in order}
    unknown = Counter[str]()
    for (split, value), count in counts.items():
        name = label(value).strip()
        if name:
            by_split[split][name] += count
        else:
            unknown[split] += count
    return Facet(by_split, unknown)


def _concepts(counts: Counter[tuple[str, tuple[str, ...]]], order: Iterable[str]) -> Facet:
    by_split = {name: Counter[str]() for name in order}
    unknown = Counter[str]()
    for (split, names), count in counts.items():
        for name in names:
            by_split[split][name] += count
        if not names:
            unknown[split] += count
    return Facet(by_split, unknown)


def _pairs(counts: Counter[tuple[str, tuple[str, ...]]]) -> np.ndarray:
    position = {name: index for index, name in enumerate(CONCEPTS)}
    pairs = np.zeros((len(CONCEPTS), len(CONCEPTS)), np.int64)
    for (_, names), count in counts.items():
        shown = [position[name] for name in names if name in position]
        pairs[np.ix_(shown, shown)] += count
    return pairs


def _roman(skin_type: int) -> str:
    return SKIN_TYPES[skin_type - 1] if 1 <= skin_type <= len(SKIN_TYPES) else ""


def _decade(age: int) -> str:
    return f"{age - age % AGE_BIN_YEARS}–{age - age % AGE_BIN_YEARS + AGE_BIN_YEARS - 1}" if age >= 0 else ""


def _leak(values: Sequence[Hashable], splits: Sequence[str]) -> Leak:
    first: dict[Hashable, str] = {}
    leaking = {
        value for value, split in zip(values, splits, strict=True) if value and first.setdefault(value, split) != split
    }
    return Leak(sum(map(bool, values)), len(leaking), sum(value in leaking for value in values) if leaking else 0)


def _missing(manifest: Manifest) -> int | None:
    if not manifest.root.is_dir():
        return None
    # Where none of a thousand is there, none is: looking for each of a million takes minutes.
    probe = manifest.select(manifest.rows[:: max(1, len(manifest) // _PROBED)])
    return None if probe.missing_images().all() else int(manifest.missing_images().sum())
