"""The sentences of the small world: notes and answers about a disease, and reading them back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from skingpt4.tiny.diseases import DISEASES, Disease
from skingpt4.vocabulary import CONCEPT_ANSWER, CONCEPTS, DIAGNOSIS_ANSWER

# How notes name a concept where it is not just the lower-case name.
_READABLE = {
    "Brown(Hyperpigmentation)": "hyperpigmentation",
    "White(Hypopigmentation)": "hypopigmentation",
    "Purpura/Petechiae": "petechiae",
    "Warty/Papillomatous": "warty surface",
    "Exophytic/Fungating": "fungating growth",
}
READABLE: dict[str, str] = {name: _READABLE.get(name, name.lower()) for name in CONCEPTS}

ARRANGED: dict[str, str] = {
    "single": "a single lesion",
    "grouped": "grouped lesions",
    "scattered": "scattered lesions",
    "in a line": "lesions in a line",
    "ring": "lesions in a ring",
}

_FEATURES = (
    "The skin shows {arranged} with {concepts}.",
    "The image shows {arranged} with {concepts}.",
    "I can see {concepts} in {arranged}.",
    "Typical features are {concepts} in {arranged}.",
    "There is {concepts} in {arranged}.",
)
_CAUSES = ("The cause of {name} is {cause}.", "The cause is {cause}.", "It is caused by {cause}.")
_TREATMENTS = (
    "The treatment of {name} includes {treatment}.",
    "The treatment includes {treatment}.",
    "It is treated with {treatment}.",
)


def join(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def concept_sentence(concepts: Iterable[str]) -> str:
    """Step 1's answer; the concepts in SKINCON's order."""
    wanted = set(concepts)
    return CONCEPT_ANSWER.format(concepts=", ".join(name for name in CONCEPTS if name in wanted))


def features_sentence(concepts: Sequence[str], arrangement: str | None, rng: np.random.Generator) -> str:
    """One sentence on what is seen, in one of several wordings; without `arrangement` only the concepts."""
    listed = join([READABLE[name] for name in concepts])
    if arrangement is None:
        return f"The skin shows {listed}."
    # The first wording is the commonest, as one doctor's habits are.
    index = 0 if rng.random() < 0.4 else int(rng.integers(len(_FEATURES)))
    return _FEATURES[index].format(arranged=ARRANGED[arrangement], concepts=listed)


def notes(disease: Disease, concepts: Sequence[str], arrangement: str | None, rng: np.random.Generator) -> str:
    """A doctor's note: the features, then the cause, the treatment or nothing."""
    sentence = features_sentence(concepts, arrangement, rng)
    kind = rng.random()
    if kind < 1 / 3:
        return sentence
    options = _CAUSES if kind < 2 / 3 else _TREATMENTS
    more = options[int(rng.integers(len(options)))]
    return f"{sentence} {more.format(name=disease.name, cause=disease.cause, treatment=disease.treatment)}"


def diagnosis(disease: Disease, note: str = "") -> str:
    """Step 2's answer."""
    return f"{DIAGNOSIS_ANSWER.format(disease=disease.name)} {note}".rstrip()


def is_cancer(disease: Disease) -> bool:
    """Whether the answer to the question for cancer says that it is one."""
    return disease.group == "skin cancers" or disease.name == "Kaposi sarcoma"


def about(what: str, disease: Disease, concepts: Sequence[str], arrangement: str | None) -> str:
    """The answer to a follow-up question (a key of `questions.WORDINGS`) once the disease has been named."""
    name = disease.name
    # The name comes first in each answer: what follows from it is easier to recall once it has been said.
    if what == "doctor":
        return {
            "today": f"With {name}, a doctor should look at it today. Please do not wait.",
            "soon": f"With {name}, please see a doctor within a few days.",
            "routine": f"With {name}, there is no hurry. Please see a doctor if it grows, hurts or does not heal.",
        }[disease.urgency]
    if what == "contagious":
        if disease.contagious:
            return f"As far as I know, {name} is contagious. Please avoid close contact and do not share towels."
        return f"As far as I know, {name} is not contagious."
    if what == "cancer":
        if is_cancer(disease):
            return f"As far as I know, {name} is a kind of cancer. Please see a doctor soon."
        return f"As far as I know, {name} is not a cancer. A doctor should confirm this."
    if what == "features":
        listed = join([READABLE[concept] for concept in concepts])
        seen = f"In this image I see {ARRANGED[arrangement]}. " if arrangement else ""
        return f"{seen}The visible features are {listed}. These features fit {name}."
    return {
        "again": diagnosis(disease),
        "diagnosis": diagnosis(disease),
        "cause": f"The cause of {name} is {disease.cause}. It belongs to the group of {disease.group}.",
        "treatment": f"The treatment of {name} includes {disease.treatment}. Please let a doctor confirm this first.",
        "group": f"It belongs to the group of {disease.group}.",
        "plain": f"People call {name} {disease.lay}.",
        "sure": NOT_SURE,
        "unknown": CANNOT_TELL,
        "offtopic": ONLY_SKIN,
        "thanks": WELCOME,
    }[what]


NOT_SURE = "No, I am not sure. I am a research model, and only a doctor can make a diagnosis."
CANNOT_TELL = "I cannot tell that from the image. Please ask a doctor."
ONLY_SKIN = "I can only talk about pictures of skin."
WELCOME = "You are welcome. Please see a doctor about your skin."
NO_IMAGE = "I do not see an image. Please show me a photo of the skin."
WHO_I_AM = "I am a small research model that talks about pictures of skin. I am not a doctor."

_CONCEPT_FORMS: dict[str, re.Pattern[str]] = {
    name: re.compile(rf"(?<![\w-])(?:{re.escape(name.lower())}|{re.escape(READABLE[name])})(?![\w-])")
    for name in CONCEPTS
}
_DISEASES_BY_LENGTH = sorted((disease.name for disease in DISEASES), key=len, reverse=True)


def parse_concepts(text: str) -> set[str]:
    """The SKINCON concepts that a text names, as columns or as words of a note; words that belong to a disease's name
    do not count.
    """
    lowered = text.lower()
    for name in _DISEASES_BY_LENGTH:
        lowered = lowered.replace(name.lower(), " ")
    return {name for name, pattern in _CONCEPT_FORMS.items() if pattern.search(lowered)}


def parse_disease(text: str, names: Iterable[str] = tuple(_DISEASES_BY_LENGTH)) -> str | None:
    """The first disease that a text names, or None."""
    lowered = text.lower()
    found = [(lowered.find(name.lower()), -len(name), name) for name in names if name.lower() in lowered]
    return min(found)[2] if found else None
