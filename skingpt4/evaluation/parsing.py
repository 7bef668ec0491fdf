"""What a text answer says: the concepts it lists, the disease it names."""

from __future__ import annotations

import re
from collections.abc import Iterable

from skingpt4.vocabulary import CONCEPTS


def named_concepts(text: str) -> set[str]:
    """The SKINCON concepts that a text names, whole words, upper or lower case, plural allowed ("papules" names
    Papule).
    """
    lowered = text.lower()
    return {concept for concept in CONCEPTS if _pattern(concept).search(lowered)}


def named_disease(text: str, diseases: Iterable[str]) -> str | None:
    """The one disease of `diseases` that a text names; None when it names none or several.

    A name inside a longer one that is named too does not count ("lichen planus" inside "hypertrophic lichen planus").
    """
    found = {disease for disease in diseases if re.search(rf"\b{re.escape(disease.lower())}\b", text.lower())}
    outermost = {
        disease
        for disease in found
        if not any(disease != other and disease.lower() in other.lower() for other in found)
    }
    return outermost.pop() if len(outermost) == 1 else None


def _pattern(concept: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(concept.lower())}(?:s|es)?(?!\w)")
