"""What a text answer says: the concepts it lists, the disease it names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from skingpt4.data.sources.names import (
    DERMNET_CLASSES_FILE,
    Synonyms,
    disease_name,
    key,
    read_classes,
    read_synonyms,
)
from skingpt4.vocabulary import CONCEPTS, DIAGNOSIS_ANSWER

# Clinical word forms of SKINCON's concepts (regular expressions) besides the name itself and its plural.
WORD_FORMS: dict[str, str] = {
    "Vesicle": "vesicular",
    "Papule": "papular",
    "Macule": "macular",
    "Pustule": "pustular",
    "Bulla": "bullae|bullous",
    "Nodule": "nodular",
    "Ulcer": "ulcerations?|ulcerated",
    "Crust": "crusted|crusting",
    "Erosion": "eroded|erosive",
    "Excoriation": "excoriated",
    "Atrophy": "atrophic",
    "Exudate": "exudation|exudative",
    "Purpura/Petechiae": "purpura|purpuric|petechiae?|petechial",
    "Fissure": "fissured|fissuring",
    "Induration": "indurated",
    "Xerosis": "xerotic|dry skin",
    "Telangiectasia": "telangiectases|telangiectatic",
    "Scale": "scaly|scaling",
    "Scar": "scarred|scarring",
    "Friable": "friability",
    "Sclerosis": "sclerotic",
    "Exophytic/Fungating": "exophytic|fungating",
    "Warty/Papillomatous": "warty|verrucous|papillomatous",
    "Dome-shaped": "dome shaped",
    "Flat topped": "flat-topped",
    "Brown(Hyperpigmentation)": "brown(?:ish)?|hyperpigment(?:ed|ation)",
    "Translucent": "translucency",
    "White(Hypopigmentation)": "white|whitish|(?:hypo|de)pigment(?:ed|ation)",
    "Purple": "purplish|violaceous",
    "Yellow": "yellowish",
    "Black": "blackish",
    "Erythema": "erythematous",
    "Comedo": "comedones|comedonal",
    "Lichenification": "lichenified",
    "Blue": "bluish",
    "Umbilicated": "umbilication",
    "Poikiloderma": "poikilodermatous",
    "Gray": "gr[ae]y(?:ish)?",
    "Cyst": "cystic",
}

# A denial reaches to the end of its clause, or to a word that turns the sentence (after NegEx, Chapman et al. 2001).
_DENIED = re.compile(
    r"\b(?:no|not|without|neither|nor|never|absence of|absent|lack(?:s|ing)?(?: of)?|free of|rather than|instead of)\b"
    r"[^.;:!?\n]*?(?=\b(?:but|however|although|though|except|with|shows?|there (?:is|are)|it is)\b|[.;:!?\n]|$)",
    re.IGNORECASE,
)


_PREFIXED = re.compile(r"\b(hyper|hypo|de|non)-(?=pigment)", re.IGNORECASE)  # so that these are not "pigmented"
_STATED = re.compile(re.escape(DIAGNOSIS_ANSWER.split("{disease}")[0]) + r"([^.]*)", re.IGNORECASE)

Members = Mapping[str, Sequence[str]]


def named_concepts(text: str, diseases: Iterable[str] = ()) -> set[str]:
    """The SKINCON concepts that a text says are there: whole words in any case, with plurals and the usual word forms
    ("hyperpigmentation", "scaly"), and not denied ("without scale").

    diseases: names that are not searched for concepts, so that an epidermoid cyst is no Cyst.
    """
    affirmed = _DENIED.sub(" ", text)
    for name in sorted(diseases, key=len, reverse=True):
        affirmed = _name_pattern(name).sub(" ", affirmed)
    return mentioned_concepts(affirmed)


def mentioned_concepts(text: str) -> set[str]:
    """The same, whether a concept is said to be there or not."""
    joined = _PREFIXED.sub(r"\1", text)
    return {concept for concept in CONCEPTS if _concept_pattern(concept).search(joined)}


def named_disease(text: str, diseases: Iterable[str], members: Members | None = None) -> str | None:
    """The one of `diseases` (or classes) that a text names, also by another name of the table of synonyms or in British
    spelling; None when it names none or several.

    Where a text has the sentence that step 2 trains, that sentence counts and not the notes after it. What is denied
    ("not melanoma") is not named. A name inside a longer one that is named too does not count ("lichen planus" inside
    "hypertrophic lichen planus"). members: as `names_of` takes them.
    """
    stated = _STATED.search(text)
    spelled = _spelling().canonical(_DENIED.sub(" ", stated[1] if stated else text))
    found = {
        name: label
        for label, names in names_of(diseases, members).items()
        for name in names
        if _name_pattern(name).search(spelled)
    }
    outermost = {
        label
        for name, label in found.items()
        if not any(len(name) < len(other) and _name_pattern(name).search(other) for other in found)
    }
    return outermost.pop() if len(outermost) == 1 else None


def names_of(labels: Iterable[str], members: Members | None = None) -> dict[str, tuple[str, ...]]:
    """Every name that an answer may give each label (a disease, or one of `vocabulary.CLASSES`), its own first.

    A disease has its other names from the table of synonyms, a class the names of its folders in Kaggle's Dermnet.
    members: further diseases of a label, e.g. those that the data has of a class. A name that two labels could have
    belongs to the label of that name, else to the first.
    """
    wanted = tuple(dict.fromkeys(labels))
    owner = {key(label): label for label in wanted}
    found = {}
    for label in wanted:
        names: list[str] = []
        for member in (label, *(members or {}).get(label, ())):
            canonical = _synonyms().canonical(member)
            for name in (member, canonical, *_other_names().get(key(canonical), ())):
                if owner.setdefault(key(name), label) == label:
                    names.append(name)
        found[label] = tuple(dict.fromkeys(names))
    return found


@cache
def _other_names() -> dict[str, tuple[str, ...]]:
    """`key` of a disease or class -> its other names."""
    others: dict[str, list[str]] = {}
    for other, name in _synonyms().names.items():
        others.setdefault(key(name), []).append(other)
    classes = read_classes(DERMNET_CLASSES_FILE)
    for folder in classes.names:
        name = _synonyms().canonical(disease_name(folder))
        others.setdefault(key(classes.of(folder)), []).append(name)
    return {name: tuple(found) for name, found in others.items()}


@cache
def _synonyms() -> Synonyms:
    return read_synonyms()


@cache
def _spelling() -> Synonyms:
    return Synonyms(_synonyms().words)


@cache
def _concept_pattern(concept: str) -> re.Pattern[str]:
    forms = [re.escape(concept) + "(?:s|es)?", *filter(None, [WORD_FORMS.get(concept)])]
    return re.compile(rf"(?<!\w)(?:{'|'.join(forms)})(?!\w)", re.IGNORECASE)


# How a name ends, and how it may end too: nevus and nevi, keratosis and keratoses, xanthomas and xanthoma.
_ENDINGS = (("us", "(?:us|uses|i)"), ("is", "(?:is|es)"), ("um", "(?:um|a)"), ("ss", "ss(?:es)?"), ("s", "s?"))


@cache
def _name_pattern(name: str) -> re.Pattern[str]:
    """A name as a text may write it: any case, hyphens or spaces, one or many."""
    words = key(_spelling().canonical(name))
    ending, forms = next(((old, new) for old, new in _ENDINGS if words.endswith(old)), ("", "(?:s|es)?"))
    stem = re.escape(words.removesuffix(ending)).replace(r"\ ", r"[\s_\-]+").replace("'", "['’]")
    return re.compile(rf"(?<!\w){stem}{forms}(?!\w)", re.IGNORECASE)
