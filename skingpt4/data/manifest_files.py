"""The two files that a manifest can be, as rows by number: Parquet for any size, JSONL for reading by eye."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skingpt4.data.records import UNKNOWN_SKIN_TYPE, Record
from skingpt4.data.rows import Rows, read_rows
from skingpt4.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

# Read together: a random access decodes so many rows. Fewer would make each access faster and opening slower, as the
# file's footer describes each group (`benchmarks/manifest_scale.py` has the times).
ROWS_PER_GROUP = 512
_CACHED_GROUPS = 16
_BATCH_ROWS = 32 * ROWS_PER_GROUP
PARQUET, JSONL = ".parquet", ".jsonl"

LISTS = ("questions", "answers", "concepts")
_NUMBERS = {"skin_type": "int8", "age": "int16", "offset": "int64", "size": "int64"}
OF_RECORD: tuple[str, ...] = tuple(item.name for item in fields(Record))
# Where a packed image lies; empty and 0 for images that are files of their own.
PACKED: dict[str, Any] = {"shard": "", "offset": 0, "size": 0}
COLUMNS: tuple[str, ...] = (*OF_RECORD, *PACKED)
# A manifest may lack the other columns; they are then as a record's that nothing is known about.
REQUIRED = ("image", "questions", "answers")
_UNKNOWN: dict[str, Any] = {
    **dict.fromkeys(OF_RECORD, ""),
    **{name: [] for name in LISTS},
    "skin_type": UNKNOWN_SKIN_TYPE,
    "age": -1,
    **PACKED,
}


def schema() -> pa.Schema:
    """The columns of a manifest: those of `Record`, and where a packed image lies."""
    import pyarrow as pa

    def kind(name: str) -> pa.DataType:
        if name in LISTS:
            return pa.list_(pa.string())
        return pa.type_for_alias(_NUMBERS.get(name, "string"))

    return pa.schema([(name, kind(name)) for name in COLUMNS])


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows with all of `COLUMNS`, as `write_manifest` says."""
    import pyarrow as pa

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        count = (_write_jsonl if path.suffix == JSONL else _write_parquet)(partial, rows)
        partial.replace(path)
    except UnicodeEncodeError as error:
        raise DataError(f"{path}: {error.object!r} is not UTF-8; rename the file, or correct the text.") from error
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"{path}: a value does not fit its column: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def open_rows(path: Path) -> ParquetRows | JsonlRows:
    """A manifest's file, by its suffix. Raises `DataError` for another file."""
    if path.suffix not in (PARQUET, JSONL):
        raise DataError(f"{path} is no manifest: its suffix must be {PARQUET} or {JSONL}.")
    return ParquetRows(path) if path.suffix == PARQUET else JsonlRows(path)


class ParquetRows:
    """Rows of a Parquet file by number; a group of rows is decoded when one of them is wanted."""

    def __init__(self, path: Path):
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path = path
        try:
            self._file = pq.ParquetFile(path, memory_map=True)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{path} is no Parquet file: {error}. A manifest was expected.") from error
        found = self._file.schema_arrow
        _require_columns(path, found.names)
        wrong = [
            f"`{name}` holds {found.field(name).type}, not {wanted}"
            for name, wanted in zip(COLUMNS, schema().types, strict=True)
            if name in found.names and not _fits(found.field(name).type, wanted)
        ]
        if wrong:
            raise DataError(f"{path} is no manifest of this package: its column {'; '.join(wrong)}.")
        self._columns = [name for name in COLUMNS if name in found.names]
        self._rest = {name: _UNKNOWN[name] for name in COLUMNS if name not in found.names}
        sizes = [self._file.metadata.row_group(number).num_rows for number in range(self._file.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        self._group = lru_cache(_CACHED_GROUPS)(self._read_group)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __reduce__(self) -> tuple[type, tuple[Path]]:  # workers of a data loader open the file anew
        return ParquetRows, (self.path,)

    def rows(self, numbers: np.ndarray) -> Iterator[dict[str, Any]]:
        """The rows of these numbers, in their order; neighbours are decoded together."""
        groups = np.searchsorted(self._starts, numbers, side="right") - 1
        apart = (np.diff(numbers) != 1) | (np.diff(groups) != 0)
        borders = [0, *(np.flatnonzero(apart) + 1), len(numbers)]
        for first, last in itertools.pairwise(borders if len(numbers) else []):
            group = int(groups[first])
            run = self._group(group).slice(int(numbers[first] - self._starts[group]), last - first)
            for row in run.to_pylist():
                yield {name: _UNKNOWN[name] if value is None else value for name, value in row.items()} | self._rest

    def column(self, name: str, numbers: np.ndarray) -> list[Any]:
        """One column of the rows of these numbers."""
        values = self._whole(name)
        every = len(numbers) == len(self) and bool(np.all(numbers == np.arange(len(self))))
        found: list[Any] = (values if every else values.take(numbers)).to_pylist()
        return [_UNKNOWN[name] if value is None else value for value in found] if values.null_count else found

    def equal(self, name: str, value: Any) -> np.ndarray:
        """bool[rows of the file]: whether a column is `value`."""
        import pyarrow.compute as pc

        same = pc.fill_null(pc.equal(self._whole(name), value), value == _UNKNOWN[name])
        return np.asarray(same.to_numpy(), bool)

    def _whole(self, name: str) -> pa.ChunkedArray:
        import pyarrow as pa

        if name in self._rest:
            return pa.chunked_array([pa.array([_UNKNOWN[name]] * len(self), schema().field(name).type)])
        with self._readable():
            return self._file.read(columns=[name]).column(name)

    def _read_group(self, number: int) -> pa.Table:
        with self._readable():
            return self._file.read_row_group(number, columns=self._columns, use_threads=False)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{self.path} is damaged: {error}. Copy it again.") from error


class JsonlRows:
    """Rows of a JSONL file, all in memory."""

    def __init__(self, path: Path):
        self.path = path
        table = read_rows(path)
        table.raise_errors()
        _require_columns(path, table.columns)
        self._rows = [_UNKNOWN | _checked(table, number, values) for number, values in table.rows]
        table.raise_errors()

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, numbers: np.ndarray) -> Iterator[dict[str, Any]]:
        """The rows of these numbers, in their order."""
        return (dict(self._rows[number]) for number in numbers)

    def column(self, name: str, numbers: np.ndarray) -> list[Any]:
        """One column of the rows of these numbers."""
        return [self._rows[number][name] for number in numbers]

    def equal(self, name: str, value: Any) -> np.ndarray:
        """bool[rows of the file]: whether a column is `value`."""
        return np.array([row[name] == value for row in self._rows], bool)


def _require_columns(path: Path, found: Sequence[str]) -> None:
    missing = [f"`{name}`" for name in REQUIRED if name not in found]
    if missing:
        columns = ", ".join(f"`{name}`" for name in found) or "none"
        raise DataError(
            f"{path} is no manifest of this package: it has no column {', '.join(missing)}. Its columns: {columns}. "
            "`skingpt4 data build notes` makes a manifest of a table."
        )


def _fits(kind: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of a foreign file's column read as those of ours: other tools write other widths."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return _fits(kind.value_type, wanted)
    if types.is_null(kind):
        return True
    if types.is_list(wanted):
        return (types.is_list(kind) or types.is_large_list(kind)) and _fits(kind.value_type, wanted.value_type)
    if types.is_integer(wanted):
        return bool(types.is_integer(kind))
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _checked(table: Rows, number: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of one row that a manifest has; notes at `table` which of them have another type."""
    row = {name: values[name] for name in COLUMNS if values.get(name) is not None}
    for name in REQUIRED:
        if name not in row:
            table.fail(number, f"`{name}` is missing")
    for name, value in row.items():
        if name in LISTS:
            wanted, fits = "a list of texts", isinstance(value, list) and all(isinstance(text, str) for text in value)
        elif name in _NUMBERS:
            wanted, fits = "a whole number", type(value) is int
        else:
            wanted, fits = "a text", isinstance(value, str)
        if not fits:
            table.fail(number, f"`{name}` is {json.dumps(value)[:60]}; {wanted} was expected")
    return row


def _write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps({name: row[name] for name in COLUMNS}, ensure_ascii=False) + "\n")
            count += 1
    return count


def _write_parquet(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    form, count, source = schema(), 0, iter(rows)
    with pq.ParquetWriter(path, form, compression="zstd") as writer:
        while batch := [{name: row[name] for name in COLUMNS} for row in itertools.islice(source, _BATCH_ROWS)]:
            writer.write_table(pa.Table.from_pylist(batch, schema=form), row_group_size=ROWS_PER_GROUP)
            count += len(batch)
    return count
