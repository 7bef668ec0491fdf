"""Text that looks as if it named a patient: found before anything is trained on it.

A search by form, not by understanding: it finds what is written as names, dates and numbers usually are ("Mr. Smith",
"Patient: Jane Doe", "dob 12/03/1957"), and a bare "Jane" in a sentence passes. It helps a person who reads; it does
not replace one. Findings are shown with their middle masked, so that a log of them identifies nobody.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from skingpt4.vocabulary import CLASSES, CONCEPTS

NAME, BIRTH, DATE, PHONE, EMAIL, NUMBER = "name", "date of birth", "date", "phone", "e-mail", "record number"


@dataclass(frozen=True)
class Finding:
    """One suspicious piece of text. kind: one of the constants above; excerpt: with its middle masked."""

    row: int
    kind: str
    excerpt: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.kind}: {self.excerpt}"


def find_identifiers(rows: Iterable[tuple[int, str]]) -> list[Finding]:
    """What looks like a name, a date of birth (or any full date), a phone, an e-mail or a record number.

    rows: (row number, text). Findings come in the order of rows and, within a row, of the text.
    """
    return [finding for number, text in rows if text for finding in _find(number, text)]


def mask(text: str) -> str:
    """The first and the last character, `*` between; up to three characters are masked altogether."""
    return "*" * len(text) if len(text) <= 3 else f"{text[0]}{'*' * (len(text) - 2)}{text[-1]}"


@dataclass(frozen=True)
class _Span:
    """A piece of the text. label: what stands before it and says what it is; shown as it is, so it names nobody."""

    start: int
    end: int
    kind: str
    label: str = ""


def _find(number: int, text: str) -> list[Finding]:
    kept: list[_Span] = []
    for search in (_emails, _labelled_numbers, _dates, _phones, _bare_numbers, _names):  # the surer go first
        for span in search(text):
            if all(span.end <= other.start or span.start >= other.end for other in kept):
                kept.append(span)
    kept.sort(key=lambda span: span.start)
    return [Finding(number, span.kind, f"{span.label} {mask(text[span.start : span.end])}".strip()) for span in kept]


_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")


def _emails(text: str) -> Iterator[_Span]:
    return (_Span(*match.span(), EMAIL) for match in _EMAIL.finditer(text))


# --- numbers of records -----------------------------------------------------------------------------------------------

_COUNTED = (
    r"(?:medical\s+record|health\s+record|record|case|chart|file|hospital|clinic|patient|accession|admission|encounter"
    r"|visit|insurance|policy|member|specimen|biopsy|histology|pathology|sample|slide|lab|nhs|passport)"
)
_LABELLED_NUMBER = re.compile(
    rf"\b(?P<label>MRN|URN|KVNR|SSN|NHS|UHID|PID|PatID|ID(?=\s*[:#])|social\s+security(?:\s+(?:number|no\.?))?"
    rf"|{_COUNTED}[\s-]*(?:number|num\.?|no\.?|nr\.?|id|#))(?:[\s.:#=]*)(?:is\s+|no\.?\s+|number\s+)?"
    r"(?P<value>[A-Z]{0,4}[-/]?\d[\dA-Z]*(?:[-/. ]?\d+)*)",
    re.I,
)
# A word, then digits that a code book or a study gave, not a clinic.
_PUBLIC_CODE = re.compile(
    r"(?:SNOMED(?:[\s-]?CT)?|OMIM|MIM|PMID|ICD(?:-\d+)?|NCT|ORPHA|CPT|DOI|LOINC|UMLS|MeSH)\W*$", re.I
)
_QUANTITY = re.compile(r"\s*(?:%|IU\b|I\.U\.|units?\b|[mµu]?g\b|m?l\b|cells?\b|copies\b|/)", re.I)
_BARE_NUMBER = re.compile(
    r"(?<![\w.,/-])(?:\d{3}-\d{2}-\d{4}|[A-Z]{1,4}-?\d{6,}|\d{8,})(?![\w-]|[.,/]\d)"  # US social security; long runs
)


def _labelled_numbers(text: str) -> Iterator[_Span]:
    for match in _LABELLED_NUMBER.finditer(text):
        if sum(letter.isdigit() for letter in match["value"]) >= 3:
            yield _Span(*match.span("value"), NUMBER, match["label"])


def _bare_numbers(text: str) -> Iterator[_Span]:
    for match in _BARE_NUMBER.finditer(text):
        prefix = text[: match.start()] + match[0].rstrip("0123456789")
        if not _PUBLIC_CODE.search(prefix) and not _QUANTITY.match(text[match.end() :]):
            yield _Span(*match.span(), NUMBER)


# --- dates ------------------------------------------------------------------------------------------------------------

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = rf"(?P<{{0}}>{'|'.join(_MONTHS)})[a-z]*\.?"
_BORN = (
    r"(?P<label>d\.?\s?o\.?\s?b\.?|date\s+of\s+birth|birth\s?da(?:te|y)|born(?:\s+(?:on|in))?"
    r"|geb(?:oren)?\.?(?:\s+am)?)"
)
_DAY_FORMS = "|".join(
    (
        r"(?P<y1>(?:19|20)\d\d)[-/.](?P<m1>\d{1,2})[-/.](?P<d1>\d{1,2})",
        r"(?P<a>\d{1,2})(?P<sep>[-/.])\s?(?P<b>\d{1,2})(?P=sep)\s?(?P<y2>(?:19|20)?\d\d)",
        r"(?P<d3>\d{1,2})(?:st|nd|rd|th)?[\s-]+(?:of\s+)?" + _MONTH.format("m3") + r"[\s,-]+(?P<y3>(?:19|20)\d\d)",
        _MONTH.format("m4") + r"[\s-]+(?P<d4>\d{1,2})(?:st|nd|rd|th)?[\s,-]+(?P<y4>(?:19|20)\d\d)",
    )
)
_DAY = re.compile(rf"(?<![\w./-])(?:{_DAY_FORMS})(?![\w]|[-/.]\d)", re.I)
_BIRTH_LABEL = re.compile(rf"(?<!\w){_BORN}[\s:=,(*]*$", re.I)
_BIRTH_YEAR = re.compile(rf"(?<!\w){_BORN}[\s:=,(*]*(?P<year>(?:19|20)\d\d)(?![\w]|[-/.]\d)", re.I)


def _dates(text: str) -> Iterator[_Span]:
    for match in _DAY.finditer(text):
        birth = _BIRTH_LABEL.search(text[: match.start()])
        if _is_day(match, two_digit_year=bool(birth)):
            yield _Span(*match.span(), BIRTH if birth else DATE, birth["label"] if birth else "")
    for match in _BIRTH_YEAR.finditer(text):
        yield _Span(*match.span("year"), BIRTH, match["label"])


def _is_day(match: re.Match[str], two_digit_year: bool) -> bool:
    """Whether the calendar has it; a two-digit year counts only after "born", elsewhere 3-5-10 may be measures."""
    part = match.groupdict()
    if part["a"]:
        if len(part["y2"]) == 2 and not two_digit_year:
            return False
        year = int(part["y2"]) + (1900 if len(part["y2"]) == 2 else 0)
        a, b = int(part["a"]), int(part["b"])
        return _exists(year, a, b) or _exists(year, b, a)
    if part["y1"]:
        return _exists(int(part["y1"]), int(part["m1"]), int(part["d1"]))
    written_year, month, day = (part[f"{key}3"] or part[f"{key}4"] for key in "ymd")
    return _exists(int(written_year), _MONTHS.index(month[:3].lower()) + 1, int(day))


def _exists(year: int, month: int, day: int) -> bool:
    try:
        datetime.date(year, month, day)
    except ValueError:
        return False
    return True


# --- phones -----------------------------------------------------------------------------------------------------------

_LABELLED_PHONE = re.compile(
    r"\b(?P<label>tel(?:ephone|efon)?|(?:tele)?phone|mobile|cell\s?phone|mob|fax|whatsapp|call(?:\s+(?:back|him|her|at))?)"
    r"(?:\s+(?:no\.?|number|at|on))?[\s.:]*(?P<value>\+?\(?\d[\d\s()./-]{4,}\d)",
    re.I,
)


_PHONE_FORMS = (
    (None, re.compile(r"[+＋]\s?\(?\d")),
    ("US", re.compile(r"\d{3}\)?[\s./-]{0,2}\d{3}[\s./-]{0,2}\d{4}")),
)


def _phones(text: str) -> Iterator[_Span]:
    for match in _LABELLED_PHONE.finditer(text):
        if sum(letter.isdigit() for letter in match["value"]) >= 6:
            yield _Span(*match.span("value"), PHONE, match["label"])
    # International numbers of any country, and national ones in the form that needs no label to be told from measures.
    regions = [region for region, form in _PHONE_FORMS if form.search(text)]  # the matcher takes milliseconds a text
    if not regions:
        return
    from phonenumbers import PhoneNumberMatcher

    for region in regions:
        for found in PhoneNumberMatcher(text, region):
            yield _Span(found.start, found.end, PHONE)


# --- names ------------------------------------------------------------------------------------------------------------

_TITLE = r"(?P<label>[Mm]rs?|MRS|MR(?=\.)|Ms|Miss|Mx|[Dd]r|DR|Prof(?:essor)?|Doctor|Herr|Frau|Mme|Madame|Monsieur)"
_WORD = r"(?:[^\W\d_]\.\s?)*[^\W\d_][\w'’-]*"
_TITLED = re.compile(rf"\b{_TITLE}\b\.?\s+(?:(?:Dr|Prof|med|habil)\.?\s+)*(?P<value>{_WORD}(?:\s+{_WORD})?)")
_NAME_LABEL = (
    r"(?P<label>(?:patient(?:['’]s)?\s+|full\s+|first\s+|last\s+|family\s+|given\s+|maiden\s+|sur|fore|pt\.?\s+)?name"
    r"|signed(?:\s+by)?|referred\s+by|reported\s+by|dictated\s+by|examined\s+by)"
)
_LABELLED_NAME = re.compile(
    rf"(?<![\w-]){_NAME_LABEL}\s*(?:[:=]|(?<=by)\s)\s*(?P<value>{_WORD}(?:,?\s+{_WORD})?)", re.I
)
# "Patient:" introduces findings as often as names, so both first name and surname are wanted.
_PATIENT = re.compile(
    rf"\b(?P<label>[Pp]atient|PATIENT|[Pp]t\.?)(?P<colon>\s*[:=])?\s+(?P<value>{_WORD},?\s+{_WORD})(?P<next>\s+\w)?"
)
_OTHER_NAME = re.compile(  # of things: "Trade name: Dupixent"
    r"\b(?:disease|diagnosis|drug|trade|brand|generic|product|medication|medicine|lesion|condition|species|common|latin"
    r"|scientific|file|image|code|test|study)\s+$",
    re.I,
)
_COMMON_WORDS = """
a an the and or of with without in on at by for to from is are was were has had have no not none nil unknown anonymous
male female man woman boy girl child infant adult elderly white black asian african american caucasian hispanic
european indian chinese type stage grade class fitzpatrick skin dermatitis atopic contact eczema rash itch itchy
itching pruritus pain complains complaint presents presented presenting reports reported denies history diagnosis
diagnosed lesion lesions acute chronic mild moderate severe benign malignant basal squamous cell left right upper
lower face arm leg hand foot trunk back kaposi lyme wood bowen merkel spitz sweet behçet behcet education information
consent care seen treated advised first last new old year years day days id number redacted removed deidentified xxx
disease syndrome infection eruption eruptions spots spot stain bite bites edema oedema nevus naevus lentigo lupus
prurigo acne keloid milia scabies striae vitiligo porphyria paronychia livedo epidermolysis incontinentia hair nail
drug sun solid
"""
_NO_NAMES = set(_COMMON_WORDS.split()) | {
    word.lower() for name in (*CONCEPTS, *CLASSES) for word in re.findall(r"\w+", name)
}
_AFTER_EPONYMS = {"disease", "syndrome", "sign", "nevus", "naevus", "tumor", "tumour", "phenomenon", "reaction"}
_DISEASE_ENDING = re.compile(
    r"(?:itis|osis|iasis|[ae]mia|derma|plasia|pathy|ectomy|scopy|czema|thema|vulgaris|cinoma|anoma|arcoma|uloma|phoma"
    r"|gioma|broma|lipoma|denoma|ytoma|ingoma|ricoma|thoma|thomas(?<!^thomas)|phyma|edema|oses|ases|otic|ous|atic|actinic)$"
)


def _names(text: str) -> Iterator[_Span]:
    for match in _TITLED.finditer(text):
        yield from _name_in(match, needed=1)
    for match in _LABELLED_NAME.finditer(text):
        if not _OTHER_NAME.search(text[: match.start()]):
            yield from _name_in(match, needed=1)
    for match in _PATIENT.finditer(text):
        title_case = match["next"] and match["next"].strip().isupper()  # "Patient Presented With Plaques"
        if match["colon"] or not title_case:
            yield from _name_in(match, needed=2)


def _name_in(match: re.Match[str], needed: int) -> Iterator[_Span]:
    """The leading words of `value` that are written as names are; nothing where a word of the field is among them or
    follows ("Stevens Johnson syndrome").
    """
    start = end = match.start("value")
    count = 0
    for word in re.finditer(_WORD, match["value"]):
        if not word[0][0].isupper():
            break
        if _of_the_field(word[0]):
            return
        end = start + word.end()
        count += 1
    following = re.match(rf"[\s-]+({_WORD})", match.string[end:])
    eponym = following and (
        following[1] in _AFTER_EPONYMS or (following[1][0].isupper() and _of_the_field(following[1]))
    )
    if count >= needed and not eponym:
        yield _Span(start, end, NAME, match["label"])


def _of_the_field(word: str) -> bool:
    plain = word.lower().removesuffix("'s").removesuffix("’s")
    return plain in _NO_NAMES or bool(_DISEASE_ENDING.search(plain))
