"""Which pair comes when, and how pairs become batches.

The order is a function of the seed and the position in the run, so there is no state to save: sample number p of a run
is the same whether the run was interrupted or not, and whatever the number of processes.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from skingpt4.data.records import ImageRef, Record
from skingpt4.model.packing import TrainingBatch
from skingpt4.processor import Processor


@dataclass
class Batch:
    """What one step learns from. inputs: features float[B, Q, W], or pixels float[B, 3, S, S]; images: names, for error
    messages.
    """

    inputs: Tensor
    text: TrainingBatch
    images: list[str]


# record number, its image, view number -> features float[Q, W] or pixels float[3, S, S]
InputOf = Callable[[int, ImageRef, int], Tensor]


class SampleStream(Dataset["tuple[Tensor, Record, str, str]"]):
    """An endless shuffled stream of pairs, indexed by position. views: how many versions of each photograph `input_of`
    offers.
    """

    def __init__(self, records: Sequence[Record], input_of: InputOf, views: int, seed: int, shuffle: bool = True):
        self.records, self.input_of, self.views, self.seed, self.shuffle = records, input_of, views, seed, shuffle

    def __getitem__(self, position: int) -> tuple[Tensor, Record, str, str]:
        pass_number, offset = divmod(position, len(self.records))
        number = int(self._order(pass_number)[offset]) if self.shuffle else offset
        draw = random.Random(f"{self.seed}:{position}")
        record = self.records[number]
        view = draw.randrange(self.views)
        question, answer = draw.choice(record.questions), draw.choice(record.answers)
        return self.input_of(number, record.image, view), record, question, answer

    @lru_cache(maxsize=2)  # noqa: B019 - lives as long as the run
    def _order(self, pass_number: int) -> np.ndarray:
        """int[n]: RandomState's numbers are promised never to change with NumPy's version (its Generator's may)."""
        digest = hashlib.sha256(f"{self.seed}:order:{pass_number}".encode()).digest()
        return np.random.RandomState(np.frombuffer(digest, "<u4")).permutation(len(self.records))


@dataclass(frozen=True)
class Positions:
    """Positions of the stream that one process reads, one list per forward pass: ranks share each global batch without
    overlap. Iterating makes them as they are needed: a run may have billions.

    batch: samples per forward pass and process; micro_batches: forward passes per step.
    """

    first_step: int
    last_step: int
    micro_batches: int
    batch: int
    rank: int
    ranks: int

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first_step, self.last_step):
            for micro in range(self.micro_batches):
                start = ((step * self.micro_batches + micro) * self.ranks + self.rank) * self.batch
                yield list(range(start, start + self.batch))


@dataclass(frozen=True)
class Collate:
    """Pairs -> the batch of a forward pass. (A class, so that it can be sent to worker processes.)"""

    processor: Processor

    def __call__(self, samples: list[tuple[Tensor, Record, str, str]]) -> Batch:
        sequences = [self.processor.training_sequence(question, answer) for _, _, question, answer in samples]
        inputs = torch.stack([value for value, _, _, _ in samples])
        return Batch(inputs, TrainingBatch.collate(sequences), [str(record.image) for _, record, _, _ in samples])


def batches(
    stream: SampleStream, indices: Iterable[list[int]], processor: Processor, workers: int, pin: bool
) -> DataLoader:
    """The stream's batches at `indices`, decoded by `workers` processes ahead of time."""
    collate = Collate(processor)
    return DataLoader(stream, batch_sampler=indices, collate_fn=collate, num_workers=workers, pin_memory=pin)
