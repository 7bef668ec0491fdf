"""What a decoder has read of several conversations, each a row of one batch; rows come and go between two tokens.

All rows end at the same column, so that the next token of each is written into one column more; what stands before a
shorter row is masked. There are spare columns and rows, so that a token costs no copy of what is there.

    row 0   . . a b c d |
    row 1   a b c d e f |  next
    row 2   . . . . a b |
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import Cache, DynamicLayer

SPARE_TOKENS = 256  # columns that are made at once


class RowMemory:
    """Keys and values of a batch whose rows come and go.

    lengths: tokens of each row. cache: for the decoder, which reads one token of every row; `stepped` is to be called
    after each.
    """

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.end = 0  # the column after the last
        self._rows = self._columns = 0  # that there is room for
        self._layers: list[_Layer] = []
        self.cache = Cache(layers=[])

    @staticmethod
    def fits(config: PretrainedConfig) -> bool:
        """Whether all that a decoder remembers are keys and values: a state of another kind has no columns."""
        layers = DynamicCache(config=config).layers
        return bool(layers) and all(isinstance(layer, DynamicLayer) for layer in layers)

    @property
    def start(self) -> int:
        """The first column of the longest row."""
        return self.end - max(self.lengths, default=0)

    def join(self, read: Cache) -> None:
        """One row more: what `read`, of batch size 1, holds is copied."""
        if not self._layers:
            self._layers = [_Layer(self, layer.keys) for layer in read.layers]
            self.cache = Cache(layers=self._layers)
        length = int(read.get_seq_length())
        if length > self.end or len(self.lengths) == self._rows:
            self._make_room(len(self.lengths) + 1, max(length, self.end - self.start))
        for own, layer in zip(self._layers, read.layers, strict=True):
            own.put(len(self.lengths), layer.keys, layer.values)
        self.lengths.append(length)

    def leave(self, row: int) -> None:
        """Without this row; the last one takes its number. Without the last one all memory is free again."""
        last = len(self.lengths) - 1
        if last == 0:
            self.__init__()  # type: ignore[misc]
            return
        for layer in self._layers if row != last else ():
            layer.move(last, row)
        self.lengths[row] = self.lengths[last]
        self.lengths.pop()

    def inputs(self, device: torch.device) -> dict[str, Tensor]:
        """Mask int64[rows, columns + 1] and positions int64[rows, 1] of every row's next token."""
        lengths = torch.tensor(self.lengths, device=device).unsqueeze(1)
        width = self.end - self.start
        mask = torch.arange(width + 1, device=device) >= width - lengths
        return {"attention_mask": mask.long(), "position_ids": lengths}

    def stepped(self) -> None:
        """The decoder has written the next column."""
        self.end += 1
        self.lengths = [length + 1 for length in self.lengths]
        if self.end == self._columns:
            self._make_room(len(self.lengths), self.end - self.start)

    def _make_room(self, rows: int, width: int) -> None:
        """Room for at least so many rows and columns; what is held ends at column `width` then."""
        if rows > self._rows:
            self._rows = max(rows, 2 * self._rows)
        self._columns = width + SPARE_TOKENS
        for layer in self._layers:
            layer.make_room(self._rows, self._columns, width)
        self.end = width


class _Layer(DynamicLayer):
    """Keys and values of one layer: each [rows, heads, columns, width], spare ones among them."""

    def __init__(self, memory: RowMemory, like: Tensor):
        super().__init__()
        self._memory = memory
        self.keys = self.values = like.new_empty(0, like.shape[1], 0, like.shape[3])

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:  # what else `transformers` hands over is for other kinds
        """One token more of every row, [rows, heads, 1, width] -> all that is held of them."""
        rows, start, end = len(key_states), self._memory.start, self._memory.end
        for held, new in ((self.keys, key_states), (self.values, value_states)):
            held[:rows, :, end] = new[:, :, 0]
        return self.keys[:rows, :, start : end + 1], self.values[:rows, :, start : end + 1]

    def get_seq_length(self) -> int:
        return self._memory.end - self._memory.start

    def make_room(self, rows: int, columns: int, end: int) -> None:
        self.keys, self.values = (self._moved(held, rows, columns, end) for held in (self.keys, self.values))

    def _moved(self, held: Tensor, rows: int, columns: int, end: int) -> Tensor:
        made = held.new_zeros(rows, held.shape[1], columns, held.shape[3])
        kept = held[: len(self._memory.lengths), :, self._memory.start : self._memory.end]
        made[: kept.shape[0], :, end - kept.shape[2] : end] = kept
        return made

    def put(self, row: int, keys: Tensor, values: Tensor) -> None:
        """A row's keys and values [1, heads, T, width]; of a sliding window these are the last ones only."""
        end = self._memory.end
        for held, new in ((self.keys, keys), (self.values, values)):
            held[row, :, end - new.shape[2] : end] = new[0]

    def move(self, row: int, to: int) -> None:
        """One row in place of another."""
        columns = slice(self._memory.start, self._memory.end)
        for held in (self.keys, self.values):
            held[to, :, columns] = held[row, :, columns]
