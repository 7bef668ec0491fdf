"""Which cases a study has: as many of each class (or disease, or skin type) as the design asks for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

from skingpt4.data.records import UNKNOWN_SKIN_TYPE, Record
from skingpt4.study.items import StudyError

# What cases can be spread over: a name for the command line -> the column.
STRATA = {
    "class": "disease_class",
    "disease": "disease",
    "skin-type": "skin_type",
    "sex": "sex",
    "site": "site",
    "source": "source",
}


@dataclass(frozen=True)
class Sample:
    """records: the cases, in random order. short: in words, each stratum with fewer than wanted. left_out: records of
    which a stratum's value is not known.
    """

    records: tuple[Record, ...]
    short: tuple[str, ...]
    left_out: int


def draw_cases(records: Sequence[Record], by: Sequence[str], each: int, balance: str = "", seed: int = 0) -> Sample:
    """`each` cases of every stratum, never two of one patient or lesion.

    by: names of `STRATA`; several = every combination that occurs; none = `each` cases of all. balance: a name of
    `STRATA` whose values take turns inside a stratum. The same records and seed give the same cases, in any order of
    the records. Raises `StudyError` for unknown names and where not one case is left.
    """
    for name in (*by, *([balance] if balance else [])):
        if name not in STRATA:
            raise StudyError(f"Cases cannot be spread over {name!r}; there are {', '.join(STRATA)}.")
    if each < 1:
        raise StudyError(f"A study of {each} cases per group is none; ask for at least 1.")
    random = Random(seed)
    strata: defaultdict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: str(record.image)):
        strata[tuple(value_of(record, name) for name in by)].append(record)
    unknown = [key for key in strata if not all(key)]
    left_out = sum(len(strata.pop(key)) for key in unknown)
    if not strata:
        wanted = " and ".join(by) or "any photograph"
        raise StudyError(
            f"None of the {len(records):,} photographs can be drawn: {wanted} was asked for and is known of none. "
            "Spread the cases over something else with --by, or give other --data."
        )
    patients: set[tuple[str, str]] = set()
    # Strata take turns, the smallest first: a patient with several diseases starves none of them.
    keys = sorted(strata, key=lambda key: (len(strata[key]), key))
    turns = {key: _turns(strata[key], balance, random, patients) for key in keys}
    drawn: dict[tuple[str, ...], list[Record]] = {key: [] for key in keys}
    for _ in range(each):
        for key in keys:
            drawn[key] += islice(turns[key], 1)
    short = [f"{', '.join(key) or 'all'}: {len(own)} of {each}" for key, own in drawn.items() if len(own) < each]
    chosen = [record for key in sorted(keys) for record in drawn[key]]
    random.shuffle(chosen)
    return Sample(tuple(chosen), tuple(sorted(short)), left_out)


def value_of(record: Record, name: str) -> str:
    """The value of a stratum as text; empty = unknown."""
    value = getattr(record, STRATA[name])
    return "" if value == UNKNOWN_SKIN_TYPE else str(value)


def _turns(records: list[Record], balance: str, random: Random, patients: set[tuple[str, str]]) -> Iterator[Record]:
    """The records of a stratum in random order, the values of `balance` taking turns, no patient twice."""
    random.shuffle(records)
    queues: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        queues[value_of(record, balance) if balance else ""].append(record)
    turns = list(queues.values())
    random.shuffle(turns)
    while any(turns):
        for queue in turns:
            found = _next_patient(queue, patients)
            if found:
                if found.group:
                    patients.add((found.source, found.group))
                yield found


def _next_patient(queue: list[Record], patients: set[tuple[str, str]]) -> Record | None:
    while queue:
        record = queue.pop()
        if not record.group or (record.source, record.group) not in patients:
            return record
    return None
