from __future__ import annotations

from pathlib import Path

import pytest

from skingpt4.data.records import concept_record, diagnosis_record
from skingpt4.data.sources.names import (
    DERMNET_CLASSES_FILE,
    OTHERS,
    disease_of_file,
    key,
    read_classes,
    read_synonyms,
)
from skingpt4.errors import DataError
from skingpt4.vocabulary import CLASSES


@pytest.mark.parametrize(
    ("stem", "disease"),
    [
        ("acne-cystic-12", "acne cystic"),
        ("07PerioralDermatitis", "perioral dermatitis"),
        ("07Rhinophyma1", "rhinophyma"),
        ("03DermatitisLids1", "dermatitis lids"),
        ("08Atopic060307", "atopic"),
        ("hidradenitis-suppurativa-3 (1)", "hidradenitis suppurativa"),
        ("1IMG003", ""),
        ("DSC00012", ""),
        ("0003", ""),
    ],
)
def test_files_are_named_after_diseases(stem: str, disease: str) -> None:
    assert disease_of_file(stem) == disease


@pytest.mark.parametrize(
    ("name", "one_name"),
    [
        ("urticaria hives", "urticaria (hives)"),
        ("Hives", "urticaria"),
        ("becker naevus", "Becker nevus"),
        ("erythema annulare centrifigum", "erythema annulare centrifugum"),
        ("superficial_spreading-melanoma ssm", "superficial spreading melanoma"),
        ("cholinergic uriticaria", "cholinergic urticaria"),
        ("behcets disease", "Behçet's disease"),
        ("stevens johnson syndrome", "Stevens-Johnson syndrome"),
        ("Herpes HPV and other STDs", "herpes, HPV and other STDs"),
        ("Sjögren syndrome", "Sjögren syndrome"),
        ("moles", "moles"),
        ("", ""),
    ],
)
def test_synonyms_and_spellings_have_one_name(name: str, one_name: str) -> None:
    assert read_synonyms().canonical(name) == one_name


def test_the_shipped_synonyms_lead_to_names_that_stay() -> None:
    synonyms = read_synonyms()
    assert len(synonyms.names) > 50
    for name in (*synonyms.names.values(), *synonyms.words.values()):
        assert synonyms.canonical(name) == name


def test_a_disease_is_renamed_in_its_answer() -> None:
    record = diagnosis_record(Path("a.jpg"), "hives", "The hives itch.", "x")
    renamed = read_synonyms().rename(record)
    assert renamed.disease == "urticaria"
    assert renamed.answers == ("This could be a skin disease image of urticaria. The hives itch.",)
    known = concept_record(Path("a.jpg"), ["Wheal"], "x", "urticaria")
    assert read_synonyms().rename(known) is known


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "synonyms.yaml"
    path.write_text("names:\n  Nesselsucht: urticaria\nwords:\n  Ekzem: eczema\n", encoding="utf-8")
    synonyms = read_synonyms(path)
    assert [synonyms.canonical(name) for name in ("nesselsucht", "Hand-Ekzem", "hives")] == [
        "urticaria",
        "Hand-eczema",
        "hives",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("synonyms:\n  a: b\n", "`synonyms` is not known here; `words` and `names`"),
        ("names:\n  hives: 3\n", "`hives: 3` is not text for text"),
        ("names:\n  no: yes\n", "is not text for text; put quotes"),
        ("names:\n  hives: a\n  Hives: b\n", "names: 'Hives' is there twice, as 'a' and as 'b'"),
        ("names:\n  hives: a\n  hives: b\n", "not a readable YAML file"),
        ("words:\n  two words: a\n", "'two words' is no single word"),
        ("- a\n", "must hold lines of the form"),
        ("names: [", "not a readable YAML file"),
    ],
)
def test_other_tables_of_synonyms_are_errors(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "synonyms.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_synonyms(path)
    assert message in str(caught.value)


def test_dermnets_23_folders_are_the_papers_15_classes_and_others() -> None:
    classes = read_classes(DERMNET_CLASSES_FILE)
    assert len(classes.names) == 23
    assert {classes.of(name) for name in classes.names} == {*CLASSES, OTHERS}
    members = {wanted: [name for name in classes.names if classes.of(name) == wanted] for wanted in (*CLASSES, OTHERS)}
    assert members["Dermatitis"] == [
        "Atopic Dermatitis Photos",
        "Eczema Photos",
        "Exanthems and Drug Eruptions",
        "Poison Ivy Photos and other Contact Dermatitis",
    ]
    assert members["Fungal Infections"] == [
        "Nail Fungus and other Nail Disease",
        "Tinea Ringworm Candidiasis and other Fungal Infections",
    ]
    assert members[OTHERS] == [
        "Hair Loss Photos Alopecia and other Hair Diseases",
        "Systemic Disease",
        "Vasculitis Photos",
        "Warts Molluscum and other Viral Infections",
    ]
    assert [len(names) for names in members.values()].count(1) == 13


def test_unknown_classes_are_reported_together_with_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "classes.yaml"
    path.write_text("Eczema: dermatitis\nTinea: Fungal Infection\nAcne: Pimples\nWarts: Others\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_classes(path)
    message = str(caught.value)
    assert "3 unknown classes" in message
    assert "Eczema: 'dermatitis', did you mean 'Dermatitis'?" in message
    assert "Tinea: 'Fungal Infection', did you mean 'Fungal Infections'?" in message
    assert "Acne: 'Pimples'; the classes are Acne and Rosacea, " in message
    path.write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="is empty"):
        read_classes(path)
    with pytest.raises(DataError, match=r"none\.yaml does not exist"):
        read_classes(tmp_path / "none.yaml")


def test_a_class_is_given_by_the_disease_where_there_is_none_yet(tmp_path: Path) -> None:
    path = tmp_path / "classes.yaml"
    path.write_text("eczema: Dermatitis\n", encoding="utf-8")
    classes = read_classes(path)
    found = [classes.classify(diagnosis_record(Path("a"), name, "", "x")) for name in ("Eczema", "vitiligo")]
    assert [record.disease_class for record in found] == ["Dermatitis", ""]


def test_spellings_are_alike() -> None:
    assert (
        key(" Light_Diseases and-Disorders ") == key("light diseases AND disorders.") == "light diseases and disorders"
    )
