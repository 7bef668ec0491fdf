"""Public archives with the metadata files that they publish: ISIC, PAD-UFES-20 and SCIN.

Age, sex and site go into the record, never into an answer: a photograph of a lesion does not show them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from skingpt4.data.records import Record, SourceReport, diagnosis_record, existing_file, existing_folder
from skingpt4.data.rows import Rows, read_rows, scalar_of
from skingpt4.data.sources.cells import parse_age, parse_sex, parse_skin_type, plain_disease
from skingpt4.data.sources.listing import ImageFolder, Listing
from skingpt4.data.sources.scin import read_scin as read_scin

_MALIGNANT, _MELANOCYTIC, _BENIGN = "Malignant Lesions", "Melanoma Skin Cancer, Nevi, Moles", "Benign Tumors"
# Diseases of ISIC and PAD-UFES-20 whose class the paper's Table 2 names; the other archives' words are left unclassed.
_CLASSES = {
    "actinic keratosis": _MALIGNANT,
    "basal cell carcinoma": _MALIGNANT,
    "squamous cell carcinoma": _MALIGNANT,
    "melanoma": _MELANOCYTIC,
    "nevus": _MELANOCYTIC,
    "seborrheic keratosis": _BENIGN,
}
_NO_DISEASE = {"other", "unknown"}  # ISIC's `diagnosis` of lesions that nobody named

# PAD-UFES-20's `diagnostic`
_PAD_DIAGNOSES = {
    "ACK": "actinic keratosis",
    "BCC": "basal cell carcinoma",
    "MEL": "melanoma",
    "NEV": "nevus",
    "SCC": "squamous cell carcinoma",
    "SEK": "seborrheic keratosis",
}


def read_isic(metadata: Path, images: Path) -> SourceReport:
    """The diagnosis pairs of an export of the ISIC archive (or of a table with `image` and `diagnosis`).

    An image is the file that `image` names, or `isic_id` with any image's suffix, in `images` or below. The disease is
    `diagnosis`, in newer exports `diagnosis_3` (1 and 2 are groups, 4 and 5 are subtypes); rows without are counted.
    Group: the patient, or else the lesion. Licence: each image's `copyright_license`.
    Raises `DataError` for a file of another form, for every wrong row (together), and where not one image is found.
    """
    table = read_rows(existing_file(str(metadata), "ISIC's metadata"))
    id_column = "image" if "image" in table.columns else "isic_id"
    newer = "diagnosis_3" in table.columns and "diagnosis" not in table.columns
    table.require((id_column, "diagnosis_3" if newer else "diagnosis"), "ISIC's metadata")
    folder = existing_folder(str(images), "the folder of ISIC's images")
    files, listing = ImageFolder(folder), Listing(table, SourceReport(f"isic {metadata.name}", folder))
    patient_of = _patients(table)
    for number, values in table.rows:
        try:
            name = scalar_of(values, id_column)
            record = _isic_record(values, files.anywhere(name), listing.report.name, patient_of)
        except ValueError as error:
            table.fail(number, str(error))
            continue
        if record:
            listing.add(number, name, record)
        else:
            listing.leave_out()
    return listing.finish()


def _isic_record(values: dict[str, Any], image: Path, origin: str, patient_of: Mapping[str, str]) -> Record | None:
    disease = plain_disease(scalar_of(values, "diagnosis") or scalar_of(values, "diagnosis_3"))
    if not disease or disease in _NO_DISEASE:
        return None
    malignancy = (scalar_of(values, "benign_malignant") or scalar_of(values, "diagnosis_1")).lower()
    note = f"The lesion is {malignancy}." if malignancy else ""
    lesion = scalar_of(values, "lesion_id")
    return replace(
        diagnosis_record(image, disease, note, origin),
        disease_class=_class_of(disease),
        group=scalar_of(values, "patient_id") or patient_of.get(lesion, lesion),
        age=parse_age(scalar_of(values, "age_approx")),
        sex=parse_sex(scalar_of(values, "sex")),
        site=(scalar_of(values, "anatom_site_general") or scalar_of(values, "anatom_site_1")).lower(),
        skin_type=parse_skin_type(scalar_of(values, "fitzpatrick_skin_type")),
        licence=scalar_of(values, "copyright_license"),
    )


def _patients(table: Rows) -> dict[str, str]:
    """lesion -> patient, so that a row which names the lesion alone joins those that name both."""
    found: dict[str, str] = {}
    for number, values in table.rows:
        try:
            lesion, patient = scalar_of(values, "lesion_id"), scalar_of(values, "patient_id")
        except ValueError:
            continue  # the reading of the rows reports it
        if lesion and patient and found.setdefault(lesion, patient) != patient:
            table.fail(number, f"lesion {lesion!r} is of patient {patient!r}, in another row of {found[lesion]!r}")
    return found


def _class_of(disease: str) -> str:
    """The class of a disease or of its subtype (`melanoma in situ`), or empty."""
    return next((known for name, known in _CLASSES.items() if re.match(rf"{name}(?!\w)", disease)), "")


def read_pad_ufes(metadata: Path, images: Path) -> SourceReport:
    """The diagnosis pairs of PAD-UFES-20: `metadata.csv` and its images, in `imgs_part_1` to `_3` or in one folder.

    Group: the patient. Raises `DataError` for a file of another form, for every wrong row (together), and where not
    one image is found.
    """
    table = read_rows(existing_file(str(metadata), "PAD-UFES-20's metadata.csv"))
    table.require(("img_id", "diagnostic", "patient_id"), "PAD-UFES-20's metadata")
    folder = existing_folder(str(images), "the folder of PAD-UFES-20's images")
    files, listing = ImageFolder(folder), Listing(table, SourceReport(f"pad-ufes-20 {metadata.name}", folder))
    for number, values in table.rows:
        try:
            name = scalar_of(values, "img_id")
            listing.add(number, name, _pad_record(values, files.anywhere(name), listing.report.name))
        except ValueError as error:
            table.fail(number, str(error))
    return listing.finish()


def _pad_record(values: dict[str, Any], image: Path, origin: str) -> Record:
    code = scalar_of(values, "diagnostic").upper()
    if code not in _PAD_DIAGNOSES:
        raise ValueError(f"`diagnostic` is {code!r}; one of {', '.join(_PAD_DIAGNOSES)} was expected")
    disease = _PAD_DIAGNOSES[code]
    return replace(
        diagnosis_record(image, disease, "", origin),
        disease_class=_class_of(disease),
        group=scalar_of(values, "patient_id"),
        age=parse_age(scalar_of(values, "age")),
        sex=parse_sex(scalar_of(values, "gender")),
        site=scalar_of(values, "region").lower(),
        skin_type=parse_skin_type(scalar_of(values, "fitspatrick")),  # their spelling
        licence="CC BY 4.0",
    )
