"""The cases to evaluate on and those to fit on, and whether the model or the fit has seen them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skingpt4.config import resolve_path
from skingpt4.data.loading import read_source
from skingpt4.data.manifest import PARQUET, open_manifest
from skingpt4.data.quality.leaks import QUICK_BITS, find_leaks
from skingpt4.data.records import Record, existing_folder
from skingpt4.data.sequences import column_of
from skingpt4.errors import DataError
from skingpt4.settings import Settings, SourceSettings
from skingpt4.vocabulary import CLASSES, CONCEPTS

TEST, VALIDATION = "test", "validation"
_SHOWN = 5


@dataclass(frozen=True)
class Cases:
    """test: what is measured on. fit: what thresholds and the temperature are fitted on, may be empty. diseases: every
    one that the data names, in any split. split, fit_split: their names, empty = the data has none. remarks: what a
    reader of the figures must know. concept_images: int[48], how many photographs of the data show each concept (None =
    unknown). class_of: the class of each disease, where the data says one.
    """

    test: Sequence[Record]
    fit: Sequence[Record]
    diseases: tuple[str, ...]
    split: str = ""
    fit_split: str = ""
    remarks: list[str] = field(default_factory=list)
    concept_images: tuple[int, ...] | None = None
    class_of: dict[str, str] = field(default_factory=dict)


def read_cases(data: Path, images: str = "", split: str | None = None, fit_on: str | None = None) -> Cases:
    """The cases of a manifest's folder or file, or of a table of image and disease.

    split, fit_on: of the manifest; None = `test` and `validation` where it has them (without `test`: all rows), "" =
    all rows and none. Raises `DataError` for data that cannot be read, a split that is not there or is both, and where
    there is nothing to measure.
    """
    is_manifest = data.is_dir() or data.suffix == PARQUET
    if not is_manifest:
        if split or fit_on:
            raise DataError(f"{data} is a table and has no splits; a folder of `skingpt4 data split` has them.")
        records = _read(SourceSettings(source="table", path=str(data), images=images))
        return Cases(_not_empty(records, data), (), _diseases(records))
    root = existing_folder(resolve_path(images), "the images' root") if images else None
    whole = open_manifest(data, root)
    there = set(whole.column("split"))
    split = (TEST if TEST in there else "") if split is None else split
    fit_on = (VALIDATION if {split, VALIDATION} <= there and split != VALIDATION else "") if fit_on is None else fit_on
    if fit_on and fit_on == split:
        raise DataError(f"The split {split} cannot be both measured on and fitted on; give another one to --fit-on.")
    if fit_on and not split:
        raise DataError(f"All rows are measured on, and --fit-on {fit_on} is among them; name one split with --split.")
    test, fit = (
        _read(SourceSettings(source="manifest", path=str(data), images=images, split=name)) if name or wanted else []
        for name, wanted in ((split, True), (fit_on, False))
    )
    return Cases(
        _not_empty(test, data), fit, _diseases(whole), split, fit_on,
        concept_images=tuple(_images_of_concepts(whole)), class_of=_classes(whole),
    )  # fmt: skip


def refuse_leaks(cases: Cases, settings: Settings, allow: bool = False) -> list[str]:
    """Raise `DataError` where cases that are measured on are among those of the fit, or among those that the model was
    trained on (as far as its settings name data that is there).

    allow: go on all the same. Returns remarks for the report: leaks that were allowed, training data that is not there.
    """
    remarks = []
    if cases.fit:
        remarks += _refuse(cases.fit, cases.test, f"the split {cases.fit_split} that is fitted on", allow)
    # A run keeps the weights that fit its validation pairs best, so these have been learned from too.
    for source in (*settings.data.train, *settings.data.validation):
        name = f"the model's training data ({source.path}{', split ' + source.split if source.split else ''})"
        try:
            train = read_source(source, on_bad_image="skip", seed=settings.run.seed).records
        except DataError:
            remarks.append(f"Leaks could not be looked for: {name} is not here.")
            continue
        remarks += _refuse(train, cases.test, name, allow)
    if not settings.data.train:
        remarks.append("Leaks could not be looked for: the model's settings do not name its training data.")
    return remarks


def _refuse(seen: Sequence[Record], test: Sequence[Record], what: str, allow: bool) -> list[str]:
    leaks = find_leaks(seen, test, QUICK_BITS)
    if not leaks:
        return []
    count = f"{len(leaks):,} of the {len(test):,} cases measured on are in {what} too"
    if allow:
        return [f"{count}: the figures are too good."]
    shown = [str(leak) for leak in leaks[:_SHOWN]]
    shown += [f"… and {len(leaks) - _SHOWN:,} more"] if len(leaks) > _SHOWN else []
    raise DataError(
        "\n  ".join([f"{count}:", *shown])
        + "\nFigures over them would be too good. `skingpt4 data split` makes splits without leaks; --allow-leaks "
        "measures all the same and says so in the report."
    )


def _read(source: SourceSettings) -> Sequence[Record]:
    return read_source(source, on_bad_image="error", seed=0).records


def _diseases(records: Sequence[Record]) -> tuple[str, ...]:
    return tuple(sorted(set(column_of(records, "disease")) - {""}))


def _images_of_concepts(records: Sequence[Record]) -> list[int]:
    counts = Counter(name for concepts in column_of(records, "concepts") for name in concepts)
    return [counts[name] for name in CONCEPTS]


def _classes(records: Sequence[Record]) -> dict[str, str]:
    """Disease -> its class; a disease that the data gives two classes is left out."""
    pairs = set(zip(column_of(records, "disease"), column_of(records, "disease_class"), strict=True))
    known = sorted((disease, name) for disease, name in pairs if disease and name in CLASSES)
    times = Counter(disease for disease, _ in known)
    return {disease: name for disease, name in known if times[disease] == 1}


def _not_empty(records: Sequence[Record], data: Path) -> Sequence[Record]:
    if not len(records):
        raise DataError(f"{data} gave no photograph to evaluate.")
    return records
