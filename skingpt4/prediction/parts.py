"""What a model said about each picture, in Parquet files that grow in number while the asking goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from skingpt4.durable import PARTIAL, alone, replacing
from skingpt4.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_PART, SECONDS_PER_PART = 1024, 30.0  # a kill costs the work of so long, and of one batch, at most
_PATTERN = f"part-{'[0-9]' * 9}.parquet"  # not the part-*.parquet of other programs
PLAN_FILE = "_plan.json"  # what reads a folder of Parquet files passes over such names
_LINES = 1024  # turned into JSON together


@dataclass(frozen=True)
class Prediction:
    """One picture. number: its place among all, from 0. error: why it could not be read; the rest is empty then.

    answers: `question` and `answer` of each. concepts: those of SKINCON's 48 that the answers say are there.
    concept_scores: all 48 as `concept` and `probability` (0-1, of being there), the likeliest first. diagnoses: the
    candidates as `diagnosis` and `probability` (they sum to 1), the likeliest first. unlisted: 0-1, how likely the
    model names none of them; near 1 their order says little. photo: what is wrong with the photograph, of
    `photo_check.ADVICE`. These four are None where nobody asked. seconds: computing time.
    """

    number: int
    image: str
    answers: tuple[dict[str, str], ...] = ()
    concepts: tuple[str, ...] = ()
    concept_scores: tuple[dict[str, str | float], ...] | None = None
    diagnoses: tuple[dict[str, str | float], ...] | None = None
    unlisted: float | None = None
    photo: tuple[str, ...] | None = None
    seconds: float = 0.0
    error: str | None = None


class PartWriter:
    """Gathers predictions until they are worth a file: `with PartWriter(folder) as parts`. What has been gathered is
    written when the block ends, by an error too.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._gathered: list[Prediction] = []
        self._written = time.monotonic()

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write()

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Raises `DataError` where they cannot be written (a full disk); what was written before stays."""
        self._gathered += predictions
        late = time.monotonic() - self._written >= SECONDS_PER_PART
        if late or len(self._gathered) >= ROWS_PER_PART:
            self._write()

    def _write(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._gathered:
            table = pa.Table.from_pylist([asdict(each) for each in self._gathered], schema=_schema())
            try:
                with replacing(self._folder / f"part-{self._gathered[0].number:09d}.parquet") as partial:
                    pq.write_table(table, partial, compression="zstd")
            except OSError as error:
                raise cannot_be_written(self._folder, error) from error
        self._gathered, self._written = [], time.monotonic()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The folder, made where there is none, for this call alone; left empty it goes when the block ends. A kill lets go
    of it too. Raises `DataError` where another call holds it, and where nothing can be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_be_written(folder, error) from error
    busy = DataError(f"Another call is writing to {folder} at this moment. Wait for its end, or name another --out.")
    with alone(folder, busy):
        try:
            yield
        finally:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def done_numbers(folder: Path) -> np.ndarray:
    """int64[m]: the pictures that the folder's files are about, each once. Raises `DataError` for a foreign file."""
    return np.unique(_read(folder, ["number"]).column("number").to_numpy())


def count_errors(folder: Path) -> int:
    """How many of the pictures could not be read."""
    errors = _read(folder, ["error"]).column("error")
    return len(errors) - int(errors.null_count)


def join_parts(folder: Path, file: Path) -> None:
    """Write all rows, in the order of the pictures, into one `.parquet` or `.jsonl` file, whole or not at all. Raises
    `DataError` as `PartWriter.add`.
    """
    import pyarrow.parquet as pq

    rows = _read(folder)
    _, first = np.unique(rows.column("number").to_numpy(), return_index=True)
    rows = rows.take(first)
    try:
        with replacing(file) as partial:
            if file.suffix == ".parquet":
                pq.write_table(rows, partial, compression="zstd")
                return
            with partial.open("w", encoding="utf-8") as lines:
                for batch in rows.to_batches(_LINES):
                    lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in batch.to_pylist())
    except OSError as error:
        raise cannot_be_written(file, error) from error


def remove_parts(folder: Path) -> None:
    """Delete what was written there, by killed calls too, and nothing else."""
    for file in (*folder.glob(_PATTERN), *folder.glob(f".part-*{PARTIAL}*"), folder / PLAN_FILE):
        file.unlink(missing_ok=True)


def cannot_be_written(path: Path, error: OSError) -> DataError:
    """The error for a place that is full or may not be written to."""
    return DataError(
        f"{path} cannot be written: {error.strerror or error}. What was written before is kept: mend that, then call "
        "again."
    )


def _read(folder: Path, columns: list[str] | None = None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [_schema().empty_table().select(columns or _schema().names)]
    for path in sorted(folder.glob(_PATTERN)):
        try:
            with pq.ParquetFile(path) as file:
                if file.schema_arrow != _schema():
                    raise DataError(f"{path} holds no predictions of this version; give --force to begin anew.")
                tables.append(file.read(columns))
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{path} is damaged: {error}. Delete it; its pictures are then asked about again."
            ) from error
    return pa.concat_tables(tables)


def _schema() -> pa.Schema:
    import pyarrow as pa

    texts = pa.list_(pa.string())
    asked = pa.list_(pa.struct([("question", pa.string()), ("answer", pa.string())]))
    concepts, diagnoses = (
        pa.list_(pa.struct([(name, pa.string()), ("probability", pa.float64())])) for name in ("concept", "diagnosis")
    )
    return pa.schema(
        [
            ("number", pa.int64()), ("image", pa.string()), ("answers", asked), ("concepts", texts),
            ("concept_scores", concepts), ("diagnoses", diagnoses), ("unlisted", pa.float64()),
            ("photo", texts), ("seconds", pa.float64()),
            ("error", pa.string()),
        ]
    )  # fmt: skip
