"""MiniGPT-4's data folder: `filter_cap.json` with captions, `image/` with the pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from skingpt4.config import resolve_path
from skingpt4.data.records import IMAGE_SUFFIXES, Record, SourceReport, existing_file, existing_folder, image_path
from skingpt4.data.rows import Rows
from skingpt4.errors import DataError
from skingpt4.settings import SourceSettings
from skingpt4.vocabulary import CONCEPT_PROMPT, DIAGNOSIS_PROMPTS

CAPTIONS_FILE, IMAGES_FOLDER = "filter_cap.json", "image"
EXPECTED = '{"annotations": [{"image_id": "…", "caption": "…"}, …]}'


def read_minigpt4(source: SourceSettings) -> SourceReport:
    """The captions of a `minigpt4` source of the settings; see `read_captions`."""
    images = resolve_path(source.images)
    return read_captions(Path(resolve_path(source.path)), Path(images) if images else None, source.task)


def read_captions(root: Path, images: Path | None = None, task: str = "diagnosis") -> SourceReport:
    """The captions of such a folder as answers; the questions are those of the `task`, concepts or diagnosis.

    Images are `image/{image_id}.jpg` (any suffix that is read will do; `images` names another folder). Rows with an
    empty caption are counted and left out. Raises `DataError` for a file of another form, for every wrong entry
    (together, by number) and where not one image is found.
    """
    root = existing_folder(str(root), f"a folder with {CAPTIONS_FILE} and {IMAGES_FOLDER}/")
    path = existing_file(str(root / CAPTIONS_FILE), "MiniGPT-4's captions")
    folder = existing_folder(str(images or root / IMAGES_FOLDER), "the images' folder")
    questions = (CONCEPT_PROMPT,) if task == "concepts" else DIAGNOSIS_PROMPTS
    entries = _read_annotations(path)
    files = _files_by_id(folder)
    errors = Rows(path)
    report = SourceReport(f"minigpt4 {root.resolve().name}", folder, rows=len(entries))
    for number, entry in enumerate(entries, start=1):
        try:
            image_id, caption = _read_entry(entry)
            named = image_path(folder, f"{image_id}.jpg")
        except ValueError as error:
            errors.fail(number, str(error))
            continue
        if not caption:
            report.without_answer += 1
            continue
        image = files.get(named.relative_to(folder).with_suffix("").as_posix(), named)
        report.add(image, f"{image_id}.jpg", Record(image, questions, (caption,), source=report.name))
    errors.raise_errors()
    report.check_images()
    return report


def _read_annotations(path: Path) -> list[Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no JSON file: {error}. {EXPECTED} was expected.") from error
    entries = values.get("annotations") if isinstance(values, dict) else None
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{path} holds no annotations; {EXPECTED} was expected.")
    return entries


def _read_entry(entry: Any) -> tuple[str, str]:
    """Image id and caption. Raises `ValueError` for an entry of another form."""
    if not isinstance(entry, dict) or not isinstance(entry.get("image_id"), (str, int)) or entry["image_id"] == "":
        raise ValueError(f"{json.dumps(entry)[:60]} has no `image_id`")
    if not isinstance(entry.get("caption"), str):
        raise ValueError(f"image_id {entry['image_id']!r} has no `caption`")
    return str(entry["image_id"]), entry["caption"].strip()


def _files_by_id(folder: Path) -> dict[str, Path]:
    """Image files by their path without its suffix; `.jpg` goes before other suffixes, as the original's name."""
    files = (file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    ordered = sorted(files, key=lambda file: (-IMAGE_SUFFIXES.index(file.suffix.lower()), file.as_posix()))
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in ordered}
