"""The order of samples is a function of seed and position."""

from __future__ import annotations

from pathlib import Path

import torch

from skingpt4.data.records import Record
from skingpt4.training.samples import Positions, SampleStream

RECORDS = [Record(Path(f"{n}.png"), ("a?", "b?"), (str(n),)) for n in range(7)]


def stream(seed: int = 1) -> SampleStream:
    return SampleStream(RECORDS, lambda number, image, view: torch.tensor([number, view]), views=3, seed=seed)


def numbers(source: SampleStream, places: range) -> list[int]:
    return [int(source[place][0][0]) for place in places]


def test_each_pass_has_every_record_once_in_an_order_of_its_own() -> None:
    passes = [numbers(stream(), range(start, start + 7)) for start in (0, 7, 14)]
    assert all(sorted(order) == list(range(7)) for order in passes)
    assert len({tuple(order) for order in passes}) == 3


def test_the_seed_decides_everything() -> None:
    draw = [(s[0].tolist(), s[2]) for s in (stream()[place] for place in range(40))]
    assert draw == [(s[0].tolist(), s[2]) for s in (stream()[place] for place in range(40))]
    assert draw != [(s[0].tolist(), s[2]) for s in (stream(seed=2)[place] for place in range(40))]
    assert {question for _, question in draw} == {"a?", "b?"} and {views[1] for views, _ in draw} == {0, 1, 2}


def test_processes_share_the_global_batch_without_overlap_or_gap() -> None:
    one = [p for batch in Positions(0, 4, micro_batches=2, batch=6, rank=0, ranks=1) for p in batch]
    two = [p for rank in (0, 1) for batch in Positions(0, 4, 2, 3, rank, 2) for p in batch]
    assert sorted(two) == one == list(range(48))


def test_a_resumed_run_reads_what_the_uninterrupted_one_would_have_read() -> None:
    whole = list(Positions(0, 9, 2, 4, 1, 3))
    assert list(Positions(0, 5, 2, 4, 1, 3)) + list(Positions(5, 9, 2, 4, 1, 3)) == whole
