"""Which pair comes when, and how pairs become batches.

The order is a function of the seed and the position in the run, so there is no state to save: sample number p of a run
is the same whether the run was interrupted or not, and whatever the number of processes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from skingpt4.data.records import Record
from skingpt4.model.skingpt4 import TrainingBatch
from skingpt4.processor import Processor


@dataclass
class Batch:
    """What one step learns from. inputs: features float[B, Q, W], or pixels float[B, 3, S, S]; images: names, for error
    messages.
    """

    inputs: Tensor
    text: TrainingBatch
    images: list[str]


# record number, view number -> features float[Q, W] or pixels float[3, S, S]
InputOf = Callable[[int, int], Tensor]


class SampleStream(Dataset[tuple[Tensor, "Record", str]]):
    """An endless shuffled stream of pairs, indexed by position. views: how many versions of each photograph `input_of`
    offers.
    """

    def __init__(self, records: Sequence[Record], input_of: InputOf, views: int, seed: int, shuffle: bool = True):
        self.records, self.input_of, self.views, self.seed, self.shuffle = records, input_of, views, seed, shuffle

    def __getitem__(self, position: int) -> tuple[Tensor, Record, str]:
        pass_number, offset = divmod(position, len(self.records))
        number = self._order(pass_number)[offset] if self.shuffle else offset
        draw = random.Random(f"{self.seed}:{position}")
        record = self.records[number]
        return self.input_of(number, draw.randrange(self.views)), record, draw.choice(record.questions)

    @lru_cache(maxsize=2)  # noqa: B019 - lives as long as the run
    def _order(self, pass_number: int) -> list[int]:
        order = list(range(len(self.records)))
        random.Random(f"{self.seed}:order:{pass_number}").shuffle(order)
        return order


def positions(
    first_step: int, last_step: int, micro_batches: int, batch: int, rank: int, ranks: int
) -> Iterator[list[int]]:
    """Positions of the stream that this process reads, one list per forward pass: ranks share each global batch without
    overlap.
    """
    for step in range(first_step, last_step):
        for micro in range(micro_batches):
            start = ((step * micro_batches + micro) * ranks + rank) * batch
            yield list(range(start, start + batch))


def batches(
    stream: SampleStream, indices: list[list[int]], processor: Processor, workers: int, pin: bool
) -> DataLoader:
    """The stream's batches at `indices`, decoded by `workers` processes ahead of time."""

    def collate(samples: list[tuple[Tensor, Record, str]]) -> Batch:
        sequences = [processor.training_sequence(question, record.answer) for _, record, question in samples]
        inputs = torch.stack([value for value, _, _ in samples])
        return Batch(inputs, TrainingBatch.collate(sequences), [str(record.image) for _, record, _ in samples])

    return DataLoader(stream, batch_sampler=indices, collate_fn=collate, num_workers=workers, pin_memory=pin)
