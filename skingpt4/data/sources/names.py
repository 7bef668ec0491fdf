"""Names of diseases: clean English from the name of a folder or a file, one name for synonyms, and the class.

Both tables (`tables/diseases.yaml`, `tables/dermnet_classes.yaml`) can be replaced by a user's own file.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from skingpt4.data.records import Record, existing_file
from skingpt4.errors import DataError
from skingpt4.vocabulary import CLASSES

TABLES = Path(__file__).parent / "tables"
SYNONYMS_FILE, DERMNET_CLASSES_FILE = TABLES / "diseases.yaml", TABLES / "dermnet_classes.yaml"
OTHERS = "Others"

_LEADING_NUMBER = re.compile(r"^\d+[._)]\s*")  # "1. Eczema", "01_eczema"
_WORDS_FOR_IMAGES = re.compile(r"\b(photos?|photographs?|pictures?|images?)\b", re.IGNORECASE)
_ACRONYM = re.compile(r"[A-Z]{2,}s?")  # HPV, STDs
_WORD = re.compile(r"[^\W\d_]+(?:['’][a-z]+)?")
_NUMBERS_AROUND = re.compile(r"^\d+|[\d\s_\-()]+$")  # 07Rhinophyma1, acne-cystic-12
_NO_NAME = re.compile(r"img|dsc[nf]?|pict?|copy|new|untitled|x|[a-z]?", re.IGNORECASE)  # what cameras write


def disease_name(folder_name: str) -> str:
    """A folder's name as a disease in lower-case English: `Eczema Photos` -> `eczema`.

    Acronyms keep their capitals (`HPV_and-STDs` -> `HPV and STDs`) unless the whole name is in capitals.
    Empty where nothing is left.
    """
    name = _LEADING_NUMBER.sub("", folder_name.strip())
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)  # BasalCellCarcinoma
    name = _WORDS_FOR_IMAGES.sub(" ", re.sub(r"[_\-\s]+", " ", name))
    shouting = name == name.upper()
    words = (word if _ACRONYM.fullmatch(word) and not shouting else word.lower() for word in name.split())
    return " ".join(words)


def disease_of_file(stem: str) -> str:
    """The disease that a numbered file is named after: `acne-cystic-12` and `07AcneCystic` -> `acne cystic`.

    Empty where the name says none (`1IMG003`).
    """
    name = disease_name(_NUMBERS_AROUND.sub("", stem))
    return "" if _NO_NAME.fullmatch(name) else name


def key(name: str) -> str:
    """What two spellings of a name have in common: case, spaces, hyphens and underscores do not count."""
    return re.sub(r"[_\-\s]+", " ", name.replace("’", "'")).strip(" .").lower()


@dataclass(frozen=True)
class Synonyms:
    """words: lower-case word -> the word to write. names: `key` of a whole name -> the name to write."""

    words: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def canonical(self, name: str) -> str:
        """The one name of a disease; a name that the table does not know stays as it is."""
        spelled = _WORD.sub(lambda word: self.words.get(word[0].lower(), word[0]), name)
        return self.names.get(key(spelled), spelled)

    def rename(self, record: Record) -> Record:
        """The record with its disease's one name, in the answers too (where they first name it)."""
        name = self.canonical(record.disease)
        if name == record.disease:
            return record
        old = re.compile(rf"(?<!\w){re.escape(record.disease)}(?!\w)")
        answers = tuple(old.sub(lambda _: name, answer, count=1) for answer in record.answers)
        return replace(record, disease=name, answers=answers)


def read_synonyms(path: Path | None = None) -> Synonyms:
    """The table of synonyms in a YAML file (None = the package's) with `words` and `names`.

    Raises `DataError` for a file of another form.
    """
    file = existing_file(str(path or SYNONYMS_FILE), "a YAML table of synonyms")
    values = _read_yaml(file)
    unknown = sorted(set(values) - {"words", "names"})
    if unknown:
        raise DataError(f"{file}: `{unknown[0]}` is not known here; `words` and `names` were expected.")
    words, names = (_texts(values.get(part) or {}, f"{file}: {part}") for part in ("words", "names"))
    wrong = [word for word in words if not _WORD.fullmatch(word)]
    if wrong:
        raise DataError(f"{file}: words: {wrong[0]!r} is no single word; it belongs into `names`.")
    return Synonyms(words, names)


@dataclass(frozen=True)
class Classes:
    """name of a folder or a disease -> its class. names: as they are written in the file."""

    file: Path
    names: tuple[str, ...]
    by_key: Mapping[str, str]

    def of(self, name: str) -> str:
        """The class of a name; empty where the table does not know it."""
        return self.by_key.get(key(name), "")

    def nearest(self, name: str) -> str:
        """The table's most similar name, or empty."""
        near = difflib.get_close_matches(key(name), self.by_key, n=1)
        return next((known for known in self.names if near and key(known) == near[0]), "")

    def require(self, names: Iterable[str], what: str) -> None:
        """Raise `DataError` naming every one of `names` that the table does not know, with the nearest it knows."""
        unknown = [name for name in names if not self.of(name)]
        if unknown:
            hints = [
                f"{name!r}" + (f", did you mean {near!r}?" if (near := self.nearest(name)) else "") for name in unknown
            ]
            count = f"{len(unknown)} {what}{'s' * (len(unknown) > 1)}"
            raise DataError(
                "\n  ".join([f"{count} without a class in {self.file}; rename them, or give --classes FILE:", *hints])
            )

    def classify(self, record: Record) -> Record:
        """The record with the class of its disease, where it has none yet and the table knows the disease."""
        return record if record.disease_class else replace(record, disease_class=self.of(record.disease))


def read_classes(path: Path) -> Classes:
    """A YAML table `name: class`. Raises `DataError` for another form and for every class that is not of the paper's
    Table 2 or `Others` (together, with the nearest).
    """
    file = existing_file(str(path), "a YAML table of classes")
    values = _read_yaml(file)
    known = (*CLASSES, OTHERS)
    by_key = _texts(values, str(file))
    wrong = [f"{name}: {_unknown_class(value, known)}" for name, value in values.items() if value not in known]
    if wrong:
        raise DataError("\n  ".join([f"{file}: {len(wrong)} unknown class{'es' * (len(wrong) > 1)}:", *wrong]))
    if not by_key:
        raise DataError(f"{file} is empty; lines of the form `Eczema Photos: Dermatitis` were expected.")
    return Classes(file, tuple(values), by_key)


def _unknown_class(value: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(value.lower(), [name.lower() for name in known], n=1)
    match = next((name for name in known if near and name.lower() == near[0]), "")
    return f"{value!r}, did you mean {match!r}?" if match else f"{value!r}; the classes are {', '.join(known)}"


def _read_yaml(file: Path) -> dict[str, Any]:
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        values = OmegaConf.to_container(OmegaConf.load(file))  # it refuses a key that is there twice
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{file} is not a readable YAML file: {error}") from error
    if not isinstance(values, dict):
        raise DataError(f"{file} must hold lines of the form `name: value`.")
    return {str(name): value for name, value in values.items()}


def _texts(values: Any, where: str) -> dict[str, str]:
    """A table of texts by `key`. Raises `DataError` for another form and for two spellings that contradict."""
    if not isinstance(values, dict):
        raise DataError(f"{where}: lines of the form `name: other name` were expected.")
    result: dict[str, str] = {}
    for name, value in values.items():
        if not isinstance(name, str) or not isinstance(value, str) or not value.strip():
            raise DataError(f"{where}: `{name}: {value}` is not text for text; put quotes around it.")
        if result.setdefault(key(name), value) != value:
            raise DataError(f"{where}: {name!r} is there twice, as {result[key(name)]!r} and as {value!r}; keep one.")
    return result
