"""What the licences of the sources permit, in a sentence, and whether their images may be shown to others."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Licence:
    """name: as it is usually written. permits: one sentence for people who are no lawyers. pictures: whether its images
    may be shown to others.
    """

    name: str
    permits: str
    pictures: bool


_DDI = Licence(
    "DDI research use agreement",
    "Research use only, by those who signed the agreement; the images may not be passed on or shown to others.",
    False,
)
_DERMNET = Licence(
    "Dermnet, not for redistribution",
    "The photographs belong to Dermnet and may not be passed on; ask Dermnet before showing any of them.",
    False,
)
_SKINCAP = Licence(
    "SkinCAP use agreement",
    "Personal, non-commercial research only, after registration; the images may not be passed on.",
    False,
)
_NOTES = Licence(
    "private",
    "Photographs and notes of your own patients: they stay where the patients' consent allows them to be.",
    False,
)
_FITZPATRICK17K = Licence(
    "CC BY-NC-SA 3.0",
    "May be shared and adapted without payment if the authors are named, nobody earns money with it, and what is made "
    "of it carries the same licence; the photographs come from the atlases DermaAmin and Atlas Dermatologico.",
    True,
)
_PAD_UFES = Licence(
    "CC BY 4.0",
    "May be shared, adapted and used for any purpose, commercial ones too, if the authors are named.",
    True,
)
_SCIN = Licence(
    "SCIN Data Use License",
    "May be shared and adapted if the SCIN authors and this licence are named; nobody may try to find out who the "
    "people in the photographs are.",
    True,
)
_ISIC = Licence(
    "ISIC Archive, per image",
    "Each image has its own licence (CC-0, CC-BY or CC-BY-NC), which this manifest does not hold: name the ISIC "
    "Archive and earn no money with the images unless you looked theirs up.",
    True,
)
_UNKNOWN = Licence(
    "not noted",
    "Nobody noted a licence: ask those who made the photographs before passing any of them on.",
    False,
)
# By a word of the source's name; the first that fits counts. Restrictions come first.
_OF_SOURCE: tuple[tuple[str, Licence], ...] = (
    ("ddi", _DDI),
    ("dermnet", _DERMNET),
    ("skincap", _SKINCAP),
    ("notes", _NOTES),
    ("fitzpatrick17k", _FITZPATRICK17K),
    ("pad-ufes", _PAD_UFES),
    ("scin", _SCIN),
    ("isic", _ISIC),
)


def licence_of(source: str, licence: str) -> Licence:
    """What is permitted with the images of a record, from its `source` and its `licence` (both may be empty).

    A source that forbids redistribution does so whatever the record says; else the record's licence counts, else the
    one that the source is known for.
    """
    known = next(
        (found for word, found in _OF_SOURCE if re.search(rf"(?<![a-z]){word}(?![a-z])", _plain(source))), None
    )
    if known and not known.pictures:
        return known
    text = _plain(licence)
    if not text:
        return known or _UNKNOWN
    if named := next((found for _, found in _OF_SOURCE if _plain(found.name) == text), None):
        return named
    if "not-for-redistribution" in text or "private" in text:
        return Licence(licence.strip(), "The images may not be passed on or shown to others.", False)
    if re.match(r"cc-?0|public domain", text):
        return Licence(licence.strip(), "Free for any use; naming the source is good practice, not a duty.", True)
    if text.startswith("cc"):
        return Licence(licence.strip(), _creative_commons(set(re.split(r"[^a-z0-9]+", text))), True)
    return Licence(licence.strip(), "This package does not know this licence: read it before passing images on.", False)


def _creative_commons(terms: set[str]) -> str:
    """The sentence of a Creative Commons licence from its letters (by, nc, sa, nd)."""
    verb = "May be shared unchanged" if "nd" in terms else "May be shared and adapted"
    conditions = ["the authors are named"]
    if "nc" in terms:
        conditions.append("nobody earns money with it")
    if "sa" in terms:
        conditions.append("what is made of it carries the same licence")
    text = ", ".join(conditions[:-1]) + (" and " if len(conditions) > 1 else "") + conditions[-1]
    return f"{verb} if {text}."


def _plain(text: str) -> str:
    """Lower case, words joined by `-`."""
    return re.sub(r"[\s_]+", "-", text.strip().lower())
