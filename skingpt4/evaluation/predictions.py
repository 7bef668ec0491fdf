"""What a model says and scores about each case, one row per photograph, as Parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skingpt4.data.records import Record
from skingpt4.data.sequences import column_of
from skingpt4.durable import replacing
from skingpt4.errors import DataError
from skingpt4.vocabulary import CLASSES, CONCEPT_PROMPT, CONCEPTS

if TYPE_CHECKING:
    import pyarrow as pa

TEXTS = (
    "image", "source", "split", "group", "disease", "disease_class", "sex", "site", "reference",
    "diagnosis_answer", "concept_answer",
)  # fmt: skip
NUMBERS = ("skin_type", "age")  # int64[n]
SCORES = ("disease_log_scores", "class_log_scores", "concept_log_odds")  # float64[n, …], one list per row in the file


@dataclass
class Predictions:
    """n cases. What is known of them: image (its name), source, split, group (patient or lesion, empty = unknown),
    disease, disease_class (of `CLASSES`, "Others" or empty), concepts (None where nobody noted any), skin_type (int64,
    1-6, -1 = unknown), sex, age (int64 years, -1 = unknown), site, reference (the answer of step 2; empty where the row
    has none).

    What the model gave: diagnosis_answer and concept_answer (greedy), disease_log_scores float64[n, K] over `diseases`,
    class_log_scores float64[n, 15] over `CLASSES`, concept_log_odds float64[n, 48] over `CONCEPTS` (present against
    absent; above 0 = rather present); a width of 0 = not scored. repeats: the disease that each sampled answer names
    ("" = none or several), None where the case was not asked again. photo_score: 0-1, how sure the photo check is that
    a better photograph is needed; None = not looked at. seconds: float64, computing time.
    """

    image: list[str]
    source: list[str]
    split: list[str]
    group: list[str]
    disease: list[str]
    disease_class: list[str]
    concepts: list[tuple[str, ...] | None]
    skin_type: np.ndarray
    sex: list[str]
    age: np.ndarray
    site: list[str]
    reference: list[str]
    diagnosis_answer: list[str]
    concept_answer: list[str]
    diseases: tuple[str, ...]
    disease_log_scores: np.ndarray
    class_log_scores: np.ndarray
    concept_log_odds: np.ndarray
    repeats: list[tuple[str, ...] | None]
    photo_score: list[float | None]
    seconds: np.ndarray

    def __len__(self) -> int:
        return len(self.image)

    @classmethod
    def of_records(cls, records: Sequence[Record], diseases: Sequence[str]) -> Predictions:
        """What is known of the cases; the model has said nothing yet (empty answers, scores of width 0)."""
        count = len(records)
        return cls(
            image=image_names(records),
            source=[record.source for record in records],
            split=[record.split for record in records],
            group=[record.group for record in records],
            disease=[record.disease for record in records],
            disease_class=[record.disease_class for record in records],
            concepts=[record.concepts or None for record in records],
            skin_type=np.array([record.skin_type for record in records], np.int64),
            sex=[record.sex for record in records],
            age=np.array([record.age for record in records], np.int64),
            site=[record.site for record in records],
            reference=[_reference(record) for record in records],
            diagnosis_answer=[""] * count,
            concept_answer=[""] * count,
            diseases=tuple(diseases),
            disease_log_scores=np.empty((count, 0)),
            class_log_scores=np.empty((count, 0)),
            concept_log_odds=np.empty((count, 0)),
            repeats=[None] * count,
            photo_score=[None] * count,
            seconds=np.zeros(count),
        )

    def select(self, rows: np.ndarray) -> Predictions:
        """The cases of these row numbers int[m], in their order."""
        chosen: dict[str, Any] = {}
        for name, values in self._columns().items():
            chosen[name] = values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]
        return replace(self, **chosen)

    def _columns(self) -> dict[str, Any]:
        """Every column by name; `diseases` is no column, it says what those of `disease_log_scores` are."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "diseases"}

    def write(self, path: Path) -> None:
        """Write a Parquet file, whole or not at all; what the columns of the scores stand for is in its metadata."""
        import pyarrow.parquet as pq

        names = {"diseases": list(self.diseases), "classes": list(CLASSES), "concepts": list(CONCEPTS)}
        columns = {
            name: [list(row) if row is not None else None for row in values] if _is_list(name) else list(values)
            for name, values in self._columns().items()
        }
        table = _schema().empty_table() if not len(self) else _table(columns)
        with replacing(path) as partial:
            pq.write_table(table.replace_schema_metadata({"skingpt4": json.dumps(names)}), partial, compression="zstd")

    @classmethod
    def read(cls, *paths: Path) -> Predictions:
        """One or several files that `write` wrote, one after the other. Raises `DataError` for any other file, and for
        files over different diseases.
        """
        tables, names = [], None
        for path in paths:
            table, found = _read(path)
            if names not in (None, found):
                raise DataError(f"{path} holds predictions over other diseases than {paths[0]}; they cannot be joined.")
            tables.append(table)
            names = found
        if names is None:
            raise DataError("No file of predictions was named.")
        columns: dict[str, list[Any]] = {name: [] for name in _schema().names}
        for table in tables:
            for name, values in columns.items():
                values += table.column(name).to_pylist()
        widths = {
            "disease_log_scores": len(names["diseases"]),
            "class_log_scores": len(CLASSES),
            "concept_log_odds": len(CONCEPTS),
        }
        numbers: dict[str, Any] = {name: np.array(columns[name], np.int64) for name in NUMBERS}
        scores: dict[str, Any] = {name: _matrix(columns[name], widths[name]) for name in SCORES}
        lists: dict[str, Any] = {
            name: [None if row is None else tuple(row) for row in columns[name]] for name in ("concepts", "repeats")
        }
        texts: dict[str, Any] = {name: columns[name] for name in TEXTS}
        return cls(
            **texts, **numbers, **scores, **lists,
            diseases=tuple(names["diseases"]), photo_score=columns["photo_score"], seconds=np.array(columns["seconds"]),
        )  # fmt: skip


def image_names(records: Sequence[Record]) -> list[str]:
    """What each record's photograph is called: relative to its manifest, else its file's name, or the whole path where
    files of one name lie in several folders.
    """
    images = column_of(records, "image")
    names = [image if isinstance(image, str) else image.name for image in images]
    return names if len(set(names)) == len(set(map(str, images))) else [str(image) for image in images]


def _reference(record: Record) -> str:
    """The answer that the data gives to the question for a diagnosis; rows of step 1 have only one about concepts."""
    asked = record.questions[0] if record.questions else ""
    return record.answers[0] if record.answers and asked != CONCEPT_PROMPT else ""


def _is_list(name: str) -> bool:
    return name in (*SCORES, "concepts", "repeats")


def _schema() -> pa.Schema:
    import pyarrow as pa

    lists = {name: pa.list_(pa.float64()) for name in SCORES} | dict.fromkeys(
        ("concepts", "repeats"), pa.list_(pa.string())
    )
    kinds: Mapping[str, Any] = {name: pa.string() for name in TEXTS} | dict.fromkeys(NUMBERS, pa.int64()) | lists
    order = [field.name for field in fields(Predictions) if field.name != "diseases"]
    return pa.schema([(name, kinds.get(name, pa.float64())) for name in order])


def _table(columns: Mapping[str, Any]) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pydict(dict(columns), schema=_schema())


def _read(path: Path) -> tuple[pa.Table, dict[str, list[str]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        names = json.loads((table.schema.metadata or {})[b"skingpt4"])
        known = names["classes"] == list(CLASSES) and names["concepts"] == list(CONCEPTS)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; predictions of `skingpt4 evaluate` were expected.") from error
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise DataError(f"{path} holds no predictions of `skingpt4 evaluate`: {error}") from error
    if not known or table.column_names != _schema().names:
        raise DataError(f"{path} holds predictions of another version of this package; evaluate again.")
    return table, names


def _matrix(rows: Sequence[Sequence[float]], width: int) -> np.ndarray:
    """float64[n, width], or float64[n, 0] where nothing was scored."""
    scored = bool(rows) and len(rows[0]) > 0
    return np.array(rows, np.float64).reshape(len(rows), width if scored else 0)
