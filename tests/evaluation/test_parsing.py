"""What a text says: concepts in their usual word forms, one disease under any of its names."""

from __future__ import annotations

import pytest

from skingpt4.data.sources.names import read_synonyms
from skingpt4.evaluation.parsing import WORD_FORMS, mentioned_concepts, named_concepts, named_disease, names_of
from skingpt4.vocabulary import CLASSES, CONCEPT_ANSWER, CONCEPTS, DIAGNOSIS_ANSWER

DISEASES = ("lichen planus", "hypertrophic lichen planus", "eczema", "basal cell carcinoma", "melanoma",
            "melanocytic nevus", "seborrheic keratosis", "tinea", "tinea pedis")  # fmt: skip


def test_every_concept_is_found_by_its_own_name_and_no_other_with_it() -> None:
    assert set(WORD_FORMS) <= set(CONCEPTS)
    for concept in CONCEPTS:
        assert named_concepts(CONCEPT_ANSWER.format(concepts=concept)) == {concept}
    assert named_concepts(CONCEPT_ANSWER.format(concepts=", ".join(CONCEPTS))) == set(CONCEPTS)


@pytest.mark.parametrize(
    ("text", "concepts"),
    [
        ("PAPULES, plaques and bullae; ulcers", {"Papule", "Plaque", "Bulla", "Ulcer"}),
        ("hyperpigmentation", {"Brown(Hyperpigmentation)"}),
        ("a hyper-pigmented macule", {"Brown(Hyperpigmentation)", "Macule"}),  # and not Pigmented
        ("pigmented, non-pigmented", {"Pigmented"}),
        ("depigmented areas", {"White(Hypopigmentation)"}),
        ("purpura", {"Purpura/Petechiae"}),
        ("petechiae", {"Purpura/Petechiae"}),
        ("a warty surface, dome shaped", {"Warty/Papillomatous", "Dome-shaped"}),
        ("scaly, crusted, erythematous", {"Scale", "Crust", "Erythema"}),
        ("grey and greyish", {"Gray"}),
        ("a patchwork; browner; the scalene muscle; scarlet; ulcerous", set()),
        ("", set()),
    ],
)
def test_concepts_in_their_usual_word_forms(text: str, concepts: set[str]) -> None:
    assert named_concepts(text) == concepts


@pytest.mark.parametrize(
    ("text", "concepts"),
    [
        ("A plaque without scale, crust or ulcer.", {"Plaque"}),
        ("No vesicles, but papules.", {"Papule"}),
        ("There is no erythema. There is scale.", {"Scale"}),
        ("Without scale and with crust", {"Crust"}),
        ("The nodule is not friable; it is dome-shaped.", {"Nodule", "Dome-shaped"}),
        ("A nodule, known for years", {"Nodule"}),
    ],
)
def test_what_is_denied_is_not_named(text: str, concepts: set[str]) -> None:
    assert named_concepts(text) == concepts
    assert named_concepts(text) <= mentioned_concepts(text)


def test_the_name_of_a_disease_is_no_list_of_concepts() -> None:
    text = DIAGNOSIS_ANSWER.format(disease="epidermoid cyst") + " The skin shows a nodule."
    assert named_concepts(text, ["epidermoid cyst"]) == {"Nodule"}
    assert named_concepts(text) == {"Nodule", "Cyst"}


@pytest.mark.parametrize(
    ("text", "disease"),
    [
        ("This could be a skin disease image of Eczema.", "eczema"),
        ("It is hypertrophic lichen planus.", "hypertrophic lichen planus"),
        ("Eczema or lichen planus.", None),
        ("No idea.", None),
        ("I think of a BCC", "basal cell carcinoma"),
        ("It may be a basal cell cancer.", "basal cell carcinoma"),
        ("malignant melanoma", "melanoma"),
        ("melanocytic naevi", "melanocytic nevus"),  # British, and more than one
        ("moles", "melanocytic nevus"),
        ("Seborrhoeic keratoses", "seborrheic keratosis"),
        ("ringworm", "tinea"),
        ("athlete’s foot", "tinea pedis"),
        ("tinea of the foot, tinea-pedis", "tinea pedis"),
        ("This is not melanoma but a mole.", "melanocytic nevus"),
        ("This could be a skin disease image of melanoma. It can look like a mole.", "melanoma"),
        ("The patient is eczematous; amelanoma", None),
    ],
)
def test_one_disease_is_named_or_none(text: str, disease: str | None) -> None:
    assert named_disease(text, DISEASES) == disease


def test_every_synonym_of_the_table_is_read_as_its_disease() -> None:
    names = read_synonyms().names
    assert len(names) > 50
    labels = sorted(set(names.values()))
    for other, label in names.items():
        assert named_disease(DIAGNOSIS_ANSWER.format(disease=other), labels) == label, other


def test_a_label_that_the_data_spells_otherwise_is_still_that_label() -> None:
    assert named_disease("basal cell carcinoma", ["BCC", "eczema"]) == "BCC"
    assert named_disease("seborrheic keratosis", ["seborrhoeic keratosis"]) == "seborrhoeic keratosis"


def test_classes_are_named_by_their_diseases() -> None:
    members = {"Benign Tumors": ["seborrheic keratosis"], "Herpes": ["herpes zoster", "herpes labialis"]}
    assert named_disease("shingles", CLASSES, members) == "Herpes"
    assert named_disease("shingles, not a cold sore", CLASSES, members) == "Herpes"
    assert named_disease("Shingles or a cold sore", CLASSES, members) == "Herpes"  # two diseases, one class
    assert named_disease("Shingles or a seborrheic keratosis", CLASSES, members) is None
    for label in CLASSES:
        assert named_disease(DIAGNOSIS_ANSWER.format(disease=label), CLASSES) == label


def test_no_name_belongs_to_two_labels() -> None:
    members = {"Dermatitis": ["eczema", "nummular eczema"], "Herpes": ["eczema", "zoster"]}
    names = names_of(CLASSES, members)
    assert list(names) == list(CLASSES) and all(label == found[0] for label, found in names.items())
    every = [name.lower() for found in names.values() for name in set(map(str.lower, found))]
    assert len(every) == len(set(every))
    assert "eczema" in names["Dermatitis"] and "eczema" not in names["Herpes"]
    assert {"herpes zoster", "shingles"} <= set(names["Herpes"])
    assert names_of(["melanoma", "malignant melanoma"]) == {
        "melanoma": ("melanoma",),
        "malignant melanoma": ("malignant melanoma",),
    }
