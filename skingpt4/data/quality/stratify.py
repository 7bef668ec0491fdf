"""Splits in which nothing that belongs together parts, and concepts, classes and skin types keep their proportions.

Iterative stratification (Sechidis et al. 2011) over whole groups: labels of few groups are dealt out first, each group
to the split that lacks the label most.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from skingpt4.data.records import UNKNOWN_SKIN_TYPE, Record
from skingpt4.data.sequences import column_of
from skingpt4.errors import DataError

SPLITS = ("train", "validation", "test")
# Where a group lies in several kept splits, the first of these keeps it: a published test set stays whole.
HELD_OUT_FIRST = ("test", "validation", "train")


def stratified_groups(
    labels: np.ndarray,
    groups: np.ndarray,
    keys: Sequence[str],
    fractions: Mapping[str, float],
    seed: int,
    kept: Sequence[str] | None = None,
) -> list[str]:
    """A split for each of N records, one for all of a group.

    labels: bool[N, L]. groups: int[N]. keys: a name per record that does not depend on the order of the records (a hash
    of the content), so that the result does not either. fractions: by split, adding up to 1. kept: the splits that
    stay, "" = to be drawn; a group with any kept member follows it (`HELD_OUT_FIRST`), and the rest is drawn so that
    all together come near the fractions. Raises `DataError` for wrong fractions and where a split would get nothing.
    """
    check_fractions(fractions)
    order, starts, sizes = _canonical(groups, keys)
    vectors = np.logical_or.reduceat(labels[order], starts, axis=0) if labels.shape[1] else np.zeros((len(starts), 0))
    drawn = _kept_splits(kept, order, starts) if kept else [""] * len(starts)
    free = np.flatnonzero([not split for split in drawn])
    names = list(fractions)
    wanted = np.array([fractions[name] * len(keys) for name in names])
    have = np.array([sum(int(sizes[group]) for group, split in enumerate(drawn) if split == name) for name in names])
    lacking = np.maximum(wanted - have, 0)
    shares = lacking / lacking.sum() if lacking.sum() > 0 else wanted / wanted.sum()
    for group, choice in zip(free, _dealt(vectors[free], sizes[free], shares, seed), strict=True):
        drawn[group] = names[choice]
    empty = [name for name, share in zip(names, shares, strict=True) if share > 0 and name not in drawn]
    if len(free) and empty:
        raise DataError(
            f"{len(keys):,} images in {len(starts):,} groups that belong together cannot be split into "
            f"{', '.join(f'{name}={value:g}' for name, value in fractions.items())}: {' and '.join(empty)} would be "
            "empty. Give more data, larger fractions or fewer splits."
        )
    result = np.empty(len(keys), object)
    result[order] = np.repeat(np.array(drawn, object), sizes)
    return [str(split) for split in result]


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Raise `DataError` unless the fractions are of known splits, above 0 and add up to 1."""
    unknown = [name for name in fractions if name not in SPLITS]
    if unknown:
        raise DataError(f"There is no split {unknown[0]!r}; the splits are {', '.join(SPLITS)}.")
    if any(not value > 0 for value in fractions.values()) or abs(sum(fractions.values()) - 1) > 1e-6:
        given = " ".join(f"{name}={value:g}" for name, value in fractions.items())
        raise DataError(f"The fractions ({given}) must be above 0 and add up to 1, e.g. train=0.8 validation=0.2.")


def label_columns(records: Sequence[Record]) -> dict[str, list[Sequence[Hashable]]]:
    """What is spread evenly: by kind, the labels of each record."""
    return {
        "concept": column_of(records, "concepts"),
        "class": [(name,) if name else () for name in column_of(records, "disease_class")],
        "disease": [(name,) if name else () for name in column_of(records, "disease")],
        "skin type": [
            ("unknown",) if value == UNKNOWN_SKIN_TYPE else (str(value),) for value in column_of(records, "skin_type")
        ],
        "source": [(source,) if source else () for source in column_of(records, "source")],
    }


def label_matrix(columns: Mapping[str, Sequence[Sequence[Hashable]]]) -> tuple[list[tuple[str, str]], np.ndarray]:
    """(kind, label) of each column, sorted, and bool[N, L] of who has it. A label that every record has is left out."""
    found = {(kind, str(label)) for kind, rows in columns.items() for row in rows for label in row}
    names = sorted(found)
    position = {name: index for index, name in enumerate(names)}
    count = len(next(iter(columns.values())))
    matrix = np.zeros((count, len(names)), bool)
    for kind, rows in columns.items():
        for number, row in enumerate(rows):
            for label in row:
                matrix[number, position[kind, str(label)]] = True
    telling = np.flatnonzero(~matrix.all(axis=0))
    return [names[index] for index in telling], matrix[:, telling]


def shares_reached(
    columns: Mapping[str, Sequence[Sequence[Hashable]]], splits: Sequence[str]
) -> dict[str, dict[str, dict[str, int]]]:
    """kind -> label -> split -> how many records."""
    table: dict[str, dict[str, dict[str, int]]] = {}
    present = [name for name in SPLITS if name in set(splits)]
    for kind, rows in columns.items():
        counts: dict[str, dict[str, int]] = {}
        for row, split in zip(rows, splits, strict=True):
            for label in row:
                counts.setdefault(str(label), dict.fromkeys(present, 0))[split] += 1
        table[kind] = dict(sorted(counts.items()))
    return table


def _canonical(groups: np.ndarray, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows group by group, the groups in the order of their first key; where each group starts, and its size."""
    firsts: dict[int, str] = {}
    for group, key in zip(groups.tolist(), keys, strict=True):
        if group not in firsts or key < firsts[group]:
            firsts[group] = key
    rank = {group: place for place, group in enumerate(sorted(firsts, key=firsts.__getitem__))}
    places = np.array([rank[group] for group in groups.tolist()], np.int64)
    order = np.argsort(places, kind="stable")
    starts = np.flatnonzero(np.diff(places[order], prepend=-1))
    return order, starts, np.diff(starts, append=len(order))


def _kept_splits(kept: Sequence[str], order: np.ndarray, starts: np.ndarray) -> list[str]:
    """The split of each group that has a kept member, else ""."""
    names = [*HELD_OUT_FIRST, ""]
    ranks = {name: rank for rank, name in enumerate(names)}
    chosen = np.minimum.reduceat(np.array([ranks[name] for name in kept])[order], starts)
    return [names[rank] for rank in chosen]


def _dealt(vectors: np.ndarray, sizes: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """int[G]: the split of each group. vectors: bool[G, L]. The stratifier counts groups; so that the records come out
    right too, the size of a group (in powers of two) is one more label.
    """
    from iterstrat.ml_stratifiers import IterativeStratification

    if not len(vectors):
        return np.zeros(0, np.int64)
    magnitude = np.log2(sizes).astype(np.int64)
    by_size = magnitude[:, None] == np.arange(magnitude.max() + 1)
    random = np.random.RandomState(seed)
    order = random.permutation(len(vectors))
    labels = np.concatenate([vectors.astype(bool), by_size], axis=1)[order]
    dealt = np.empty(len(order), np.int64)
    dealt[order] = IterativeStratification(labels=labels, r=shares, random_state=random)
    return dealt
