"""Figures with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence


def wilson_interval(right: int, count: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927), both ends in [0, 1]. Raises `ValueError` for an empty sample."""
    if count < 1 or not 0 <= right <= count:
        raise ValueError(f"{right} of {count} is no proportion.")
    share = right / count
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def micro_macro_f1(truth: Sequence[set[str]], found: Sequence[set[str]]) -> tuple[float, float]:
    """F1 over all label decisions, and the mean F1 over the labels that are true of at least one case; 0-1.

    Raises `ValueError` when no label is true of any case: F1 is undefined then.
    """
    labels = sorted(set().union(*truth))
    if not labels:
        raise ValueError("F1 is undefined: no case has a label.")
    hits = {label: sum(label in t and label in f for t, f in zip(truth, found, strict=True)) for label in labels}
    seen = {label: sum(label in t for t in truth) + sum(label in f for f in found) for label in labels}
    decisions = sum(len(t) for t in truth) + sum(len(f) for f in found)
    return 2 * sum(hits.values()) / decisions, sum(2 * hits[label] / seen[label] for label in labels) / len(labels)
