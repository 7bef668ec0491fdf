"""The raters' forms: one offline HTML page each, and the same as CSV and XLSX. Nothing in them says what a text is
about, which arm it is of, or how the photograph's file was called.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skingpt4.data.progress import progress
from skingpt4.data.records import ImageRef
from skingpt4.durable import write_whole
from skingpt4.images import open_image
from skingpt4.study.asking import read_answers, sections_of
from skingpt4.study.folder import Folder, Rater, Study
from skingpt4.study.items import LEVELS, StudyError, items_of

if TYPE_CHECKING:
    from openpyxl.worksheet.worksheet import Worksheet

RATINGS_FORMAT = "skingpt4-ratings-1"
FIXED_COLUMNS = ("study", "rater", "code")  # of CSV and XLSX; then the items, `comment`, and what is judged
COMMENT = "comment"
PICTURE_SIDE_PX = 1024
_QUALITY = 88
_SHEET_PICTURE_PX = 220
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Entry:
    """One text to judge. picture: a name that is the same for all texts about one photograph, and says nothing."""

    code: str
    picture: str
    sections: Sequence[tuple[str, str]]


def write_forms(study: Study, out: Path, images: Mapping[str, ImageRef]) -> list[Path]:
    """Write `forms/` anew; each file appears whole or not at all. images: by case. Returns the HTML pages; tables lie
    beside them.

    Raises `StudyError` while answers are missing, and `ImageError`.
    """
    folder = Folder(out)
    entries, pictures = _entries(study, folder)
    jpegs = {pictures[case.id]: jpeg_of(images[case.id]) for case in progress(study.cases, "Photographs")}
    for name, content in jpegs.items():
        write_whole(folder.forms / "pictures" / f"{name}.jpg", content)
    urls = {name: f"data:image/jpeg;base64,{base64.b64encode(content).decode()}" for name, content in jpegs.items()}
    written = []
    for rater in progress(study.raters, "Forms"):
        own = [entries[code] for code in rater.order]
        place = folder.forms / f"rater-{rater.id}"
        written.append(write_whole(place.with_suffix(".html"), form_page(study, rater, own, urls).encode()))
        write_whole(place.with_suffix(".csv"), _csv(study, rater, own))
        write_whole(place.with_suffix(".xlsx"), _xlsx(study, rater, own, jpegs))
    return written


def jpeg_of(image: ImageRef) -> bytes:
    """The photograph for a form: upright, scaled down, and without anything else that its file says."""
    from PIL import ImageOps

    picture = open_image(image)
    if max(picture.size) > PICTURE_SIDE_PX:
        picture = ImageOps.contain(picture, (PICTURE_SIDE_PX, PICTURE_SIDE_PX))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()


def form_page(study: Study, rater: Rater, entries: Sequence[Entry], urls: Mapping[str, str]) -> str:
    """The HTML page of one rater. urls: the photographs as `data:` URLs, by `Entry.picture`."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    content = {
        "format": RATINGS_FORMAT,
        "study": study.id,
        "title": study.title,
        "rater": rater.id,
        "levels": LEVELS,
        "items": [{"key": item.key, "statement": item.wording(rater.group)} for item in items_of(rater.group)],
        "entries": [vars(entry) for entry in entries],
        "pictures": urls,
    }
    # In a script element only `</script` and `<!--` could end the data.
    data = json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((_HERE / "form.html").read_text(encoding="utf-8"))
    script = (_HERE / "form.js").read_text(encoding="utf-8")
    return template.render(study=study, rater=rater, data=Markup(data), script=Markup(script), count=len(entries))


def _entries(study: Study, folder: Folder) -> tuple[dict[str, Entry], dict[str, str]]:
    """What is judged, by code; and the pictures' names by case: the first code of the case, whoever wrote the text."""
    answers = read_answers(folder.answers)
    missing = [text for text in study.texts if (text.case, text.arm) not in answers]
    if missing:
        raise StudyError(
            f"{len(missing)} of {len(study.texts)} texts are not there yet. Run `skingpt4 study new` again with the "
            "same options; it goes on where it was stopped."
        )
    pictures: dict[str, str] = {}
    for text in sorted(study.texts, key=lambda text: text.code):
        pictures.setdefault(text.case, f"p-{text.code}")
    # Where one arm's texts have no sections, sections would give the others away.
    whole = any(len(answer.parts) == 1 for answer in answers.values())
    entries = {
        text.code: Entry(text.code, pictures[text.case], sections_of(answers[text.case, text.arm], whole))
        for text in study.texts
    }
    return entries, pictures


def _table(study: Study, rater: Rater, entries: Sequence[Entry]) -> tuple[list[str], list[list[str]]]:
    items = items_of(rater.group)
    header = [*FIXED_COLUMNS, *(item.key for item in items), COMMENT, "photograph", "text"]
    rows = []
    for entry in entries:
        text = "\n\n".join(f"{title.upper()}\n{words}" if title else words for title, words in entry.sections)
        rows.append([study.id, rater.id, entry.code, *[""] * (len(items) + 1), f"pictures/{entry.picture}.jpg", text])
    return header, rows


def _csv(study: Study, rater: Rater, entries: Sequence[Entry]) -> bytes:
    header, rows = _table(study, rater, entries)
    file = io.StringIO()
    csv.writer(file).writerows([header, *([*row[:-1], no_formula(row[-1])] for row in rows)])
    return file.getvalue().encode("utf-8-sig")  # Excel takes other UTF-8 for its own encoding


def no_formula(text: str) -> str:
    """Spreadsheets take a text that begins so for something to calculate."""
    return f" {text}" if text.startswith(("=", "+", "-", "@")) else text


def _xlsx(study: Study, rater: Rater, entries: Sequence[Entry], jpegs: Mapping[str, bytes]) -> bytes:
    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "ratings"
    header, rows = _table(study, rater, entries)
    sheet.append(header)
    for row in rows:
        sheet.append(row)
        sheet.cell(sheet.max_row, len(header)).data_type = "s"  # a text, whatever it begins with
    _lay_out(sheet, header, rater)
    _add_pictures(sheet, header.index("photograph") + 1, entries, jpegs)
    about = book.create_sheet("what the columns mean")
    for item in items_of(rater.group):
        about.append([item.key, item.wording(rater.group)])
    for number, level in enumerate(LEVELS, 1):
        about.append([number, level])
    about.append(
        ["", "Some or all of the texts come from a research model. They are to be judged, not to be followed."]
    )
    about.column_dimensions["A"].width, about.column_dimensions["B"].width = 18, 110
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def _lay_out(sheet: Worksheet, header: Sequence[str], rater: Rater) -> None:
    from openpyxl.styles import Alignment, Font
    from openpyxl.utils import get_column_letter
    from openpyxl.worksheet.datavalidation import DataValidation

    first, count = len(FIXED_COLUMNS) + 1, len(items_of(rater.group))
    scale = DataValidation(type="whole", operator="between", formula1="1", formula2=str(len(LEVELS)), allow_blank=True)
    scale.error = f"A whole number from 1 ({LEVELS[0].lower()}) to {len(LEVELS)} ({LEVELS[-1].lower()})"
    sheet.add_data_validation(scale)
    scale.add(f"{get_column_letter(first)}2:{get_column_letter(first + count - 1)}{sheet.max_row}")
    widths: dict[str, Any] = {"text": 90, COMMENT: 30, "photograph": 32, "study": 14}
    for number, name in enumerate(header, 1):
        sheet.column_dimensions[get_column_letter(number)].width = widths.get(name, max(9, len(name) + 2))
        sheet.cell(1, number).font = Font(bold=True)
    for row in sheet.iter_rows(min_row=2):
        sheet.row_dimensions[row[0].row].height = _SHEET_PICTURE_PX * 0.78  # points
        for cell in row:
            cell.alignment = Alignment(vertical="top", wrap_text=True)
    sheet.freeze_panes = "D2"


def _add_pictures(sheet: Worksheet, column: int, entries: Sequence[Entry], jpegs: Mapping[str, bytes]) -> None:
    from openpyxl.drawing.image import Image as SheetImage
    from PIL import Image, ImageOps

    for row, entry in enumerate(entries, 2):
        small = ImageOps.contain(Image.open(io.BytesIO(jpegs[entry.picture])), (_SHEET_PICTURE_PX, _SHEET_PICTURE_PX))
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=_QUALITY)
        sheet.add_image(SheetImage(buffer), sheet.cell(row, column).coordinate)
