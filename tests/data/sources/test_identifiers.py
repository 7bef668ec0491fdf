"""Both directions: what names a patient is found, and what doctors write of skin is not."""

from __future__ import annotations

import csv
import datetime
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skingpt4.data.sources.identifiers import BIRTH, DATE, EMAIL, NAME, NUMBER, PHONE, find_identifiers, mask

# text, kind, the identifying part
IDENTIFYING = [
    ("Mr. Smith has eczema.", NAME, "Smith"),
    ("mrs. O'Brien", NAME, "O'Brien"),
    ("Patient: Jane Doe, itchy", NAME, "Jane Doe"),
    ("Patient: DOE, Jane", NAME, "DOE, Jane"),
    ("patient Jane Doe presented with plaques", NAME, "Jane Doe"),
    ("Name: Müller", NAME, "Müller"),
    ("Patient name: DOE, JANE", NAME, "DOE, JANE"),
    ("Surname: Smith", NAME, "Smith"),
    ("Reviewed by Dr. Okafor", NAME, "Okafor"),
    ("Dr. X saw it", NAME, "X"),
    ("Prof. Dr. med. Schulz", NAME, "Schulz"),
    ("DR. SMITH", NAME, "SMITH"),
    ("Signed: J. Doe", NAME, "J. Doe"),
    ("referred by Anna Berg", NAME, "Anna Berg"),
    ("Mrs Thomas", NAME, "Thomas"),
    ("dob 12/03/1957", BIRTH, "12/03/1957"),
    ("D.O.B.: 1957-03-12", BIRTH, "1957-03-12"),
    ("Date of birth 12.03.57", BIRTH, "12.03.57"),
    ("born on March 12, 1957", BIRTH, "March 12, 1957"),
    ("Born in 1957.", BIRTH, "1957"),
    ("geb. am 12.03.1957", BIRTH, "12.03.1957"),
    ("seen on 2021-05-03", DATE, "2021-05-03"),
    ("12 Mar 2020: worse", DATE, "12 Mar 2020"),
    ("Tel. 06 12 34 56 78", PHONE, "06 12 34 56 78"),
    ("call back at 030 123456", PHONE, "030 123456"),
    ("reach +49 171 2345678", PHONE, "+49 171 2345678"),
    ("(415) 555-2671", PHONE, "(415) 555-2671"),
    ("write to jane.doe@example.org", EMAIL, "jane.doe@example.org"),
    ("MRN 12345", NUMBER, "12345"),
    ("MRN: 00-12-34", NUMBER, "00-12-34"),
    ("case no. 4711", NUMBER, "4711"),
    ("Patient ID: AB-99812", NUMBER, "AB-99812"),
    ("biopsy no. B19-12345", NUMBER, "B19-12345"),
    ("insurance number A123456789", NUMBER, "A123456789"),
    ("SSN 123-45-6789", NUMBER, "123-45-6789"),
    ("123-45-6789", NUMBER, "123-45-6789"),
    ("A123456789 on the label", NUMBER, "A123456789"),
    ("NHS 943 476 5919", NUMBER, "943 476 5919"),
    ("ID: 44321", NUMBER, "44321"),
]

HARMLESS = [
    "Lyme disease", "grade 2", "5 mm", "Kaposi sarcoma", "Wood lamp", "Stage III", "10 mg 2x daily",
    "Fitzpatrick type III", "Patient: Atopic Dermatitis", "Patient: Female, 45 y", "Patient: Complains of itching",
    "Patient Presented With Plaques", "Name: Psoriasis vulgaris", "Patient: Stevens Johnson syndrome",
    "Trade name: Dupixent", "MR imaging shows oedema", "Sister Mary Joseph nodule", "ICD-10 C44.91",
    "SNOMED CT 123037004", "NCT01234567 trial", "OMIM 123456", "PMID: 12345678", "penicillin 24000000 IU",
    "since 2012", "worse in 2019-2021", "12 x 15 x 3 mm", "3-5-10 mm", "titre 1:640", "SCORAD 45.2/103", "0.1% cream",
    "CD30+ in 10-20%", "newborn, 3 days", "born at 38 weeks", "born with a nevus", "Miss the margin and it recurs",
    "HLA-B27", "a 57-year-old man", "case 3", "patient no 2", "BRAF V600E", "dobutamine", "3/4 of the body",
    "May 2020", "Breslow 1.25 mm", "Clark level IV", "Mohs surgery", "Tzanck smear", "UVB 311 nm",
    "a mobile plaque, 12 mm", "MS since 2010", "the doctor said so", "Merkel cell carcinoma", "Bowen's disease",
    "Spitz nevus", "tacrolimus 0.03% 2/d for 14 days", "PASI 12.4, DLQI 18", "10-15 lesions, 2-3 cm",
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind", "part"), IDENTIFYING)
def test_what_identifies_is_found_and_masked(text: str, kind: str, part: str) -> None:
    (finding,) = find_identifiers([(7, text)])
    assert (finding.row, finding.kind) == (7, kind)
    assert finding.excerpt.endswith(mask(part))
    assert part not in finding.excerpt


@pytest.mark.parametrize("text", HARMLESS)
def test_what_doctors_write_of_skin_is_not_flagged(text: str) -> None:
    assert find_identifiers([(1, text)]) == []


def test_a_date_that_a_line_break_parts_is_found() -> None:
    """Notes are wrapped anywhere. The price: "grade 2", and "May 2020" on the next line, is asked about too."""
    assert [finding.kind for finding in find_identifiers([(1, "seen on 2\nMay 2020")])] == ["date"]


@given(st.lists(st.sampled_from(HARMLESS), min_size=1, max_size=6), st.sampled_from([". ", ", ", "; ", ".\n"]))
def test_harmless_phrases_stay_harmless_together(phrases: list[str], between: str) -> None:
    assert find_identifiers([(1, between.join(phrases))]) == []


@given(
    st.lists(st.sampled_from(HARMLESS), max_size=3),
    st.sampled_from(IDENTIFYING),
    st.lists(st.sampled_from(HARMLESS), max_size=3),
)
def test_an_identifier_is_found_among_harmless_phrases(
    before: list[str], identifying: tuple[str, str, str], after: list[str]
) -> None:
    text, kind, part = identifying
    findings = find_identifiers([(3, "; ".join([*before, text, *after]))])
    assert [finding.kind for finding in findings] == [kind]
    assert part not in findings[0].excerpt or len(part) == 1


@given(st.dates(datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)))
def test_every_day_of_the_calendar_is_found_in_every_form(day: datetime.date) -> None:
    for form in ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d %B %Y", "%b %d, %Y"):
        text = day.strftime(form)
        assert [finding.kind for finding in find_identifiers([(1, f"dob: {text}.")])] == [BIRTH], text
        assert [finding.kind for finding in find_identifiers([(1, f"worse since {text}, itchy")])] == [DATE], text


@given(st.integers(10**7, 10**15))
def test_no_finding_shows_a_whole_number(number: int) -> None:
    (finding,) = find_identifiers([(1, f"MRN {number}")])
    assert not re.search(r"\d{2}", finding.excerpt)


def test_several_findings_of_a_row_come_in_the_texts_order() -> None:
    text = "Mr. Smith, born 12/03/1957, MRN 12345, smith@example.org, +44 20 7946 0958"
    assert [finding.kind for finding in find_identifiers([(1, text)])] == [NAME, BIRTH, NUMBER, EMAIL, PHONE]
    assert str(find_identifiers([(2, "Mr. Smith")])[0]) == "row 2: name: Mr S***h"


@pytest.mark.parametrize(("text", "masked"), [("", ""), ("X", "*"), ("Lee", "***"), ("Jane Doe", "J******e")])
def test_masks(text: str, masked: str) -> None:
    assert mask(text) == masked


def test_the_diseases_of_fitzpatrick17k_name_nobody(shared_data: Path) -> None:
    with (shared_data / "fitzpatrick17k.csv").open(encoding="utf-8", newline="") as file:
        labels = sorted({row["label"] for row in csv.DictReader(file)})
    assert len(labels) == 114
    forms = ("{0}", "{1}", "Patient: {1}", "patient: {0}", "Name: {1}")
    written = [form.format(label, label.title()) for label in labels for form in forms]
    assert find_identifiers(enumerate(written)) == []
