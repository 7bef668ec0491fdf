"""The one record type of training data, what a source reports about itself, and the answers that are trained."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from skingpt4.errors import DataError
from skingpt4.images import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from skingpt4.vocabulary import CONCEPT_ANSWER, CONCEPT_PROMPT, CONCEPTS, DIAGNOSIS_ANSWER, DIAGNOSIS_PROMPTS

UNKNOWN_SKIN_TYPE = -1


@dataclass(frozen=True)
class PackedImage:
    """A photograph inside an uncompressed tar shard: `size` bytes from `offset`."""

    shard: Path
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.name} in {self.shard}"

    def is_file(self) -> bool:
        """Whether its shard is there."""
        return self.shard.is_file()

    def read_bytes(self) -> bytes:
        """The photograph's file content. Raises `DataError` where the shard ends before it does."""
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise DataError(f"{self} is cut off: the shard is incomplete. Copy or pack it again.")
        return content


ImageRef = Path | PackedImage


@dataclass(frozen=True)
class Record:
    """One photograph and what is trained on it.

    questions, answers: one of each is drawn per sample. concepts: in the order of `vocabulary.CONCEPTS`.
    disease_class: of `vocabulary.CLASSES`, or "Others". skin_type: Fitzpatrick 1-6, or `UNKNOWN_SKIN_TYPE`. group: the
    patient or lesion; records of one group never part in a split. age: years, -1 = unknown. sex: female, male or
    empty. split: train, validation, test or empty. licence: the source's. sha256: of the image file, and phash: 16 hex
    digits of its perceptual hash, where they have been computed.
    """

    image: ImageRef
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    concepts: tuple[str, ...] = ()
    disease: str = ""
    disease_class: str = ""
    skin_type: int = UNKNOWN_SKIN_TYPE
    group: str = ""
    source: str = ""
    split: str = ""
    age: int = -1
    sex: str = ""
    site: str = ""
    licence: str = ""
    sha256: str = ""
    phash: str = ""


@dataclass
class SourceReport:
    """What a source gave, and what became of the rest.

    rows == flagged + without_answer + len(missing_images) + over_limit + len(records).
    """

    name: str  # e.g. "skincon annotations_ddi.csv"
    folder: Path  # the images were looked for here
    records: list[Record] = field(default_factory=list)
    rows: int = 0
    missing_images: list[str] = field(default_factory=list)  # one name per row whose image is absent
    flagged: int = 0  # SKINCON's "Do not consider this image"
    without_answer: int = 0  # rows with no concept, no disease or no caption: nothing to train on
    over_limit: int = 0  # left out by the source's `limit`
    remarks: list[str] = field(default_factory=list)

    def add(self, image: Path, name: str, record: Record) -> None:
        """Keep `record` if its image is there, else note the image's `name` as missing."""
        if image.is_file():
            self.records.append(record)
        else:
            self.missing_images.append(name)

    def check_images(self) -> None:
        """Raise `DataError` if images are missing and not one was found: then the folder is wrong, not the table."""
        if self.missing_images and not self.records:
            raise DataError(
                f"{self.name}: none of its {len(self.missing_images):,} images is in {self.folder} "
                f"(looked for {few(self.missing_images, 3)}). Set the source's `images` to the folder that holds them."
            )

    def summary(self) -> str:
        """One line for people: rows in, what was left out and why, records kept."""
        parts = [f"{self.rows:,} rows"]
        if self.flagged:
            parts.append(f"{self.flagged:,} flagged 'Do not consider'")
        if self.without_answer:
            parts.append(f"{self.without_answer:,} without an answer")
        if self.missing_images:
            parts.append(f"{len(self.missing_images):,} without their image ({few(self.missing_images, 5)})")
        if self.over_limit:
            parts.append(f"{self.over_limit:,} over the limit")
        return "; ".join([f"{self.name}: {', '.join(parts)}, {len(self.records):,} kept", *self.remarks])


def few(names: Sequence[str], shown: int) -> str:
    """The first names of a list: `a, b, c and 9 more`."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more:,} more" if more > 0 else "")


def in_column_order(concepts: Iterable[str]) -> tuple[str, ...]:
    """Concepts in SKINCON's order, each once."""
    wanted = set(concepts)
    return tuple(name for name in CONCEPTS if name in wanted)


def concept_record(image: Path, concepts: Iterable[str], source: str, disease: str = "") -> Record:
    """The training pair of step 1."""
    ordered = in_column_order(concepts)
    answer = CONCEPT_ANSWER.format(concepts=", ".join(ordered))
    return Record(image, (CONCEPT_PROMPT,), (answer,), concepts=ordered, disease=disease, source=source)


def diagnosis_record(image: Path, disease: str, notes: str, source: str) -> Record:
    """The training pair of step 2: the disease, then the doctor's notes where there are any."""
    name = disease.strip().rstrip(".")
    answer = f"{DIAGNOSIS_ANSWER.format(disease=name)} {' '.join(notes.split())}".rstrip()
    return Record(image, DIAGNOSIS_PROMPTS, (answer,), disease=name, source=source)


def image_path(folder: Path, name: str) -> Path:
    """Where the image called `name` (relative, `/` or `\\`) lies in `folder`.

    Raises `ValueError`, saying why, for an empty name and for one that leads out of the folder.
    """
    if not name:
        raise ValueError("the image's name is empty")
    windows, posix = PureWindowsPath(name), PurePosixPath(name)
    if windows.drive or windows.root or posix.is_absolute() or ".." in windows.parts:
        raise ValueError(f"image {name!r} leads out of the images folder; names must be relative to it, without `..`")
    return folder.joinpath(*windows.parts)


def existing_file(path: str, what: str) -> Path:
    """`path` as a file. Raises `DataError` naming `what` was expected there."""
    file = Path(path)
    if file.is_dir():
        raise DataError(f"{file} is a folder; {what} was expected.")
    if not file.is_file():
        raise DataError(f"{file} does not exist (looked in {file.parent.resolve()}); {what} was expected.")
    return file


def file_sha256(path: Path) -> str:
    """The fingerprint of a file of any size, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def existing_folder(path: str, what: str) -> Path:
    """`path` as a folder. Raises `DataError` naming `what` was expected there."""
    folder = Path(path)
    if folder.is_file():
        raise DataError(f"{folder} is a file; {what} was expected.")
    if not folder.is_dir():
        raise DataError(f"{folder} does not exist (looked in {folder.parent.resolve()}); {what} was expected.")
    return folder
