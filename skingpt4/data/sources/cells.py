"""What people write into a table about a patient -> the values of a `Record`. Nonsense is an error, never a guess."""

from __future__ import annotations

import re

from skingpt4.data.records import UNKNOWN_SKIN_TYPE

UNKNOWN_AGE = -1
MAX_AGE_YEARS = 120
_UNKNOWN = {"", "-", "–", "?", "-1", "n/a", "na", "nan", "none", "null", "unk", "unknown", "unspecified"}
_FEMALE = {"female", "f", "fem", "woman", "girl", "w", "weiblich"}
_MALE = {"male", "m", "man", "boy", "männlich"}
# Recorded, but neither of the two words that `Record.sex` has.
_OTHER_SEX = {"other", "diverse", "divers", "d", "intersex", "nonbinary", "non-binary", "x", "other_or_unspecified"}
_AGE = re.compile(r"(\d{1,3}(?:\.\d+)?)\s*\+?\s*(years?(?: old)?|yrs?|y/?o?|a|months?|mos?|weeks?|days?)?\.?", re.I)
_ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5, "vi": 6}
_SKIN_TYPE = re.compile(r"(?:fitzpatrick\s*)?(?:skin\s*)?(?:photo)?(?:type|fst)?\s*([1-6]|vi|iv|v|i{1,3})(?:\.0*)?")


def parse_age(text: str) -> int:
    """Whole years, 0-120, from `45`, `45.0`, `45 years`, `85+` or `6 months`; -1 for an empty or `unknown` cell.

    Raises `ValueError` for anything else.
    """
    if text.strip().lower() in _UNKNOWN:
        return UNKNOWN_AGE
    match = _AGE.fullmatch(text.strip())
    if match:
        unit = (match[2] or "y").lower()
        years = float(match[1]) / {"m": 12, "w": 52.18, "d": 365.25}.get(unit[0], 1)
        if years <= MAX_AGE_YEARS:
            return int(years)
    raise ValueError(f"the age is {text.strip()[:40]!r}; years (0-{MAX_AGE_YEARS}) or an empty cell were expected")


def parse_sex(text: str) -> str:
    """`female`, `male` or, for an empty cell, `unknown` and `other`, the empty string; in any case, F and M too.

    Raises `ValueError` for anything else.
    """
    word = text.strip().lower().rstrip(".")
    if word in _FEMALE:
        return "female"
    if word in _MALE:
        return "male"
    if word in _UNKNOWN or word in _OTHER_SEX:
        return ""
    raise ValueError(f"the sex is {text.strip()[:40]!r}; female, male, F, M, other or an empty cell was expected")


def parse_skin_type(text: str) -> int:
    """Fitzpatrick's type 1-6 from `3`, `3.0`, `III`, `FST3` or `type III`; -1 for an empty cell, `unknown` and `0`.

    Raises `ValueError` for anything else, two types (`II-III`) among it.
    """
    word = text.strip().lower()
    if word in _UNKNOWN or word in ("0", "0.0", "-1.0"):
        return UNKNOWN_SKIN_TYPE
    match = _SKIN_TYPE.fullmatch(word)
    if match:
        return _ROMAN.get(match[1]) or int(match[1])
    raise ValueError(f"the skin type is {text.strip()[:40]!r}; one of Fitzpatrick's 1 to 6 or I to VI was expected")


def plain_disease(name: str) -> str:
    """An archive's name of a disease as it stands in a sentence: `Squamous cell carcinoma, NOS` ("not otherwise
    specified") -> `squamous cell carcinoma`; acronyms keep their capitals.
    """
    words = re.sub(r",? NOS$", "", name.strip()).split()
    return " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in words)
