"""`study collect`: reads what the raters sent, says everything that is wrong with it, and keeps everything else."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from skingpt4.data.rows import TABLE_SUFFIXES, read_rows, scalar_of
from skingpt4.durable import write_whole
from skingpt4.errors import DataError
from skingpt4.study.folder import Folder, Study
from skingpt4.study.forms import COMMENT, FIXED_COLUMNS, RATINGS_FORMAT, no_formula
from skingpt4.study.items import ITEMS, StudyError, items_of, level_of

# What can be wrong, by the name that `problems.csv` gives it.
UNREADABLE = "unreadable file"
OTHER_STUDY = "file of another study"
UNKNOWN_RATER = "unknown rater"
RATER_TWICE = "the same rater twice"
UNKNOWN_CASE = "unknown case"
CASE_TWICE = "the same case twice"
MISSING_ITEM = "missing item"
OFF_SCALE = "value off the scale"
_SUFFIXES = (".json", *TABLE_SUFFIXES)
_PASSED_OVER = (".html", ".jpg")  # of a form's folder that is given as a whole


@dataclass(frozen=True)
class Rating:
    """One rater's judgement of one text. values: item's key -> level 1-5, without the items not answered."""

    rater: str
    code: str
    values: dict[str, int]
    comment: str = ""


@dataclass(frozen=True)
class Problem:
    """kind: a name of this module. content: what stands there, where it was not taken over; so nothing is lost."""

    file: str
    row: str
    kind: str
    message: str
    content: str = ""

    def __str__(self) -> str:
        return f"{self.file}{f', {self.row}' if self.row else ''}: {self.kind}: {self.message}"


@dataclass
class Collected:
    """ratings: all good ones, in the order of the study's raters and texts. problems: all that was wrong."""

    ratings: list[Rating] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def collect(study: Study, files: Sequence[Path]) -> Collected:
    """Read raters' files (JSON of the form, CSV, XLSX). Whatever is wrong becomes a problem; nothing raises.

    Of a rater in several files the first counts that holds a rating: a form comes in three kinds, and a rater who fills
    in one may send all.
    """
    found = Collected()
    of_rater: dict[str, list[_Given]] = {}
    for path in files:
        for name, rows in _raters_in(study, path, found.problems):
            problems: list[Problem] = []
            own = _ratings(study, name, path.name, rows, problems)
            of_rater.setdefault(name, []).append(_Given(path.name, own, problems))
    for rater in study.raters:
        given = of_rater.get(rater.id, [])
        kept = next((each for each in given if each.ratings), given[0] if given else None)
        if kept is None:
            continue
        found.problems += kept.problems
        found.problems += [_twice(rater.id, each, kept) for each in given if each is not kept]
        found.ratings += [kept.ratings[code] for code in rater.order if code in kept.ratings]
    return found


@dataclass(frozen=True)
class _Given:
    """What one file holds of one rater, by code, and what is wrong with it."""

    file: str
    ratings: dict[str, Rating]
    problems: list[Problem]


def _twice(rater: str, left: _Given, kept: _Given) -> Problem:
    if not left.ratings:
        return Problem(left.file, "", RATER_TWICE, f"{rater} has no rating in it; those in {kept.file} were kept")
    if left.ratings == kept.ratings:
        return Problem(left.file, "", RATER_TWICE, f"{rater} is in {kept.file} too, with the very same ratings")
    text = f"{rater} is in {kept.file} too, whose ratings were kept; give only the right file"
    content = [asdict(rating) for rating in left.ratings.values()] + [asdict(each) for each in left.problems]
    return Problem(left.file, "", RATER_TWICE, text, json.dumps(content, ensure_ascii=False))


def find_files(places: Sequence[Path]) -> list[Path]:
    """The files, and those in folders and below. Raises `StudyError` for a place that is not there or has none.

    Of a folder every file is taken, so that one of the wrong kind is told and not passed over; hidden ones, locks of
    open workbooks and what only shows the texts are not.
    """
    found = []
    for place in places:
        if not place.exists():
            raise StudyError(f"{place} does not exist; the raters' files, or folders of them, were expected.")
        inside = sorted(filter(_may_hold_ratings, place.rglob("*"))) if place.is_dir() else [place]
        if not inside:
            raise StudyError(f"{place} holds no raters' file ({', '.join(_SUFFIXES)}).")
        found += inside
    return found


def _may_hold_ratings(path: Path) -> bool:
    return path.is_file() and not path.name.startswith((".", "~$")) and path.suffix.lower() not in _PASSED_OVER


def _raters_in(study: Study, path: Path, problems: list[Problem]) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """(rater, rows) of a file, each row with where it stands; of this study and its raters only."""
    try:
        rows = _json_rows(path, problems) if path.suffix.lower() == ".json" else _table_rows(path, problems)
    except (StudyError, DataError, OSError) as error:
        problems.append(Problem(path.name, "", UNREADABLE, str(error)))
        return
    by_rater: dict[str, list[tuple[str, Any]]] = {}
    refused: dict[tuple[str, str], list[dict[str, Any]]] = {}  # one problem for all rows of a wrong file
    for where, values in rows:
        rater = study.rater(str(values["rater"]))
        if values["study"] != study.id:
            text = f"it says {values['study']!r}, and this study is {study.id!r}"
            refused.setdefault((OTHER_STUDY, text), []).append(values)
        elif rater is None:
            names = ", ".join(each.id for each in study.raters)
            text = f"{values['rater']!r} is none of the study's raters ({names})"
            refused.setdefault((UNKNOWN_RATER, text), []).append(values)
        else:
            by_rater.setdefault(rater.id, []).append((where, values))
    for (kind, text), contents in refused.items():
        problems.append(Problem(path.name, "", kind, text, json.dumps(contents, ensure_ascii=False, default=str)))
    yield from by_rater.items()


def _json_rows(path: Path, problems: list[Problem]) -> list[tuple[str, dict[str, Any]]]:
    """A text whose ratings are damaged is told; the others are kept."""
    try:
        given = json.loads(path.read_bytes())  # of bytes it finds out the encoding: editors change it
        if given["format"] != RATINGS_FORMAT:
            raise StudyError(f"its format is {given['format']!r}, and {RATINGS_FORMAT!r} was expected")
        about = {"study": str(given["study"]), "rater": str(given["rater"])}
        ratings = dict(given["ratings"].items())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StudyError(f"it is no file that a form saved ({type(error).__name__}: {error})") from error
    rows = []
    for code, values in ratings.items():
        if isinstance(values, dict):
            rows.append((f"text {code}", {**values, **about, "code": code}))
        else:
            content = json.dumps(values, ensure_ascii=False)
            problems.append(Problem(path.name, f"text {code}", UNREADABLE, "its ratings are damaged", content))
    return rows or [("", {**about, "code": None})]


def _table_rows(path: Path, problems: list[Problem]) -> list[tuple[str, dict[str, Any]]]:
    """Malformed rows are told; the others are kept."""
    table = read_rows(path)
    table.require(FIXED_COLUMNS, "a file of ratings")
    for error in table.errors:
        row, _, message = error.partition(": ")
        problems.append(Problem(path.name, row, UNREADABLE, message))
    rows = []
    for number, values in table.rows:
        texts = {name: _cell(values, name) for name in (*FIXED_COLUMNS, *(item.key for item in ITEMS), COMMENT)}
        rows.append((f"row {number}", texts))
    return rows


def _cell(values: dict[str, Any], name: str) -> str:
    try:
        return scalar_of(values, name)
    except ValueError as error:  # of a spreadsheet's cell; as text it is off the scale, and is told as that
        return str(error)


def _ratings(
    study: Study, rater: str, file: str, rows: Sequence[tuple[str, Any]], problems: list[Problem]
) -> dict[str, Rating]:
    """A rater's ratings by code."""
    known = study.rater(rater)
    assert known is not None
    kept: dict[str, Rating] = {}
    seen = set()
    for where, values in rows:
        if values["code"] is None:  # a form that was saved empty
            continue
        code = str(values["code"]).strip().upper()
        content = json.dumps(values, ensure_ascii=False, default=str)
        if code not in known.order:
            problems.append(Problem(file, where, UNKNOWN_CASE, f"there is no text {code!r} in this form", content))
        elif code in seen:
            text = f"{code} stands in an earlier row, which was kept"
            problems.append(Problem(file, where, CASE_TWICE, text, content))
        else:
            seen.add(code)
            levels = _levels(known.group, values, file, where, problems)
            comment = str(values.get(COMMENT) or "").strip()
            if levels or comment:
                kept[code] = Rating(rater, code, levels, comment)
    for code in known.order:
        if code not in seen:
            keys = ", ".join(item.key for item in items_of(known.group))
            problems.append(Problem(file, f"text {code}", MISSING_ITEM, f"{rater} did not judge this text ({keys})"))
    return kept


def _levels(group: str, values: Mapping[str, Any], file: str, where: str, problems: list[Problem]) -> dict[str, int]:
    levels, missing = {}, []
    for item in items_of(group):
        value = values.get(item.key)
        if value is None or str(value).strip() == "":
            missing.append(item.key)
            continue
        try:
            levels[item.key] = level_of(value)
        except ValueError as error:
            problems.append(Problem(file, where, OFF_SCALE, f"{item.key}: {error}", str(value)))
    if missing:
        problems.append(Problem(file, where, MISSING_ITEM, f"no answer to {', '.join(missing)}"))
    return levels


def write_collected(folder: Folder, study: Study, found: Collected) -> list[Path]:
    """Write `ratings.csv` (one row per rater and text, with what the key says of it) and `problems.csv`.

    Raises `StudyError` where earlier ratings would be lost: the files given now hold none in their place. Another level
    in the same place is a correction.
    """
    earlier = _rated(read_ratings(folder)) if folder.ratings.is_file() else set()
    lost = earlier - _rated(found.ratings)
    if lost:
        raise StudyError(
            f"{folder.ratings} holds {len(lost)} ratings of {', '.join(sorted({rater for rater, *_ in lost}))} that "
            "are not among those given. Give the files of all raters together, or move that file away."
        )
    keys = [item.key for item in ITEMS]
    rows = [["rater", "group", "code", "case", "arm", "disease", "class", "skin type", *keys, COMMENT]]
    for rating in found.ratings:
        case, rater = study.case_of(rating.code), study.rater(rating.rater)
        assert rater is not None
        about = [rater.id, rater.group, rating.code, case.id, study.arm_of(rating.code), case.disease]
        skin_type = str(case.skin_type) if case.skin_type > 0 else ""
        levels = [str(rating.values.get(key, "")) for key in keys]
        rows.append([*about, case.disease_class, skin_type, *levels, no_formula(rating.comment)])
    problems = [["file", "row", "kind", "message", "content"]]
    problems += [[each.file, each.row, each.kind, each.message, no_formula(each.content)] for each in found.problems]
    return [write_whole(folder.ratings, csv_bytes(rows)), write_whole(folder.problems, csv_bytes(problems))]


def _rated(ratings: Sequence[Rating]) -> set[tuple[str, str, str]]:
    """(rater, code, item) of every level."""
    return {(rating.rater, rating.code, item) for rating in ratings for item in rating.values}


def read_ratings(folder: Folder) -> list[Rating]:
    """What `write_collected` wrote. Raises `StudyError` where there is nothing, `DataError` for another table."""
    if not folder.ratings.is_file():
        raise StudyError(
            f"{folder.ratings} is missing: no ratings were collected yet. `skingpt4 study collect {folder.root} FILE…` "
            "reads the raters' files."
        )
    table = read_rows(folder.ratings)
    keys = [item.key for item in ITEMS]
    table.require(("rater", "code", *keys), "a study's ratings")
    ratings = []
    for number, values in table.rows:
        try:
            levels = {key: level_of(values[key]) for key in keys if str(values[key]).strip()}
            ratings.append(Rating(values["rater"], values["code"], levels, values.get(COMMENT, "").strip()))
        except ValueError as error:
            table.fail(number, str(error))
    table.raise_errors()
    return ratings


def csv_bytes(rows: Sequence[Sequence[object]]) -> bytes:
    """A table as spreadsheets open it."""
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue().encode("utf-8-sig")
