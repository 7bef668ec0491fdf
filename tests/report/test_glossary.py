"""What the concepts mean, for patients."""

from __future__ import annotations

import re

import pytest

from skingpt4.report.glossary import concepts_in, glossary
from skingpt4.vocabulary import CONCEPTS


def sentences(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.!?])\s+", text) if part]


def syllables(word: str) -> int:
    """Groups of vowels, a silent e at the end left out; near enough for a reading score."""
    groups = len(re.findall(r"[aeiouy]+", word.lower()))
    return max(1, groups - (word.lower().endswith("e") and not word.lower().endswith("le")))


def reading_ease(texts: list[str]) -> float:
    """Flesch's score: 60 and more is plain English, which 13-year-olds read with ease; 30 and less is for graduates."""
    words = [word for text in texts for word in re.findall(r"[A-Za-z']+", text)]
    count = sum(len(sentences(text)) for text in texts)
    return 206.835 - 1.015 * len(words) / count - 84.6 * sum(map(syllables, words)) / len(words)


def test_exactly_the_48_concepts_in_their_order() -> None:
    assert tuple(glossary()) == CONCEPTS
    assert all(name == explanation.name for name, explanation in glossary().items())


def test_each_has_one_to_three_short_sentences_of_its_own() -> None:
    explanations = [explanation.words for explanation in glossary().values()]
    assert len(set(explanations)) == 48
    for words in explanations:
        assert words.endswith(".") and words[0].isupper()
        assert 1 <= len(sentences(words)) <= 3
        assert max(len(sentence.split()) for sentence in sentences(words)) <= 22, words


def test_patients_can_read_them() -> None:
    texts = [f"{explanation.words} {explanation.note}".strip() for explanation in glossary().values()]
    assert reading_ease(texts) > 70
    assert all(reading_ease([text]) > 30 for text in texts)
    latin = re.compile(r"erythem|lesion|epiderm|dermis|cutaneous|papul|inflammat|telangi|keratin|circumscribed")
    assert [text for text in texts if latin.search(text.lower())] == []


def test_the_score_tells_plain_words_from_a_textbook_s() -> None:
    assert reading_ease(["A circumscribed, palpable epidermal elevation exhibiting parakeratotic desquamation."]) < 0


def test_anchors_are_unique_and_fit_for_html() -> None:
    anchors = [explanation.anchor for explanation in glossary().values()]
    assert len(set(anchors)) == 48
    assert all(re.fullmatch(r"concept(-[a-z]+)+", anchor) for anchor in anchors)
    assert glossary()["Purpura/Petechiae"].anchor == "concept-purpura-petechiae"
    assert glossary()["White(Hypopigmentation)"].label == "White (Hypopigmentation)"


def test_each_says_where_to_read_on() -> None:
    assert all(explanation.source_url.startswith("https://") for explanation in glossary().values())
    assert all(explanation.source_title for explanation in glossary().values())
    assert "doctor" in glossary()["Abscess"].note


@pytest.mark.parametrize(
    ("text", "concepts"),
    [
        (
            "A scaly, red plaque with hyperpigmentation.",
            ["Plaque", "Scale", "Brown(Hyperpigmentation)"],
        ),
        ("Warty surface; PETECHIAE and bullae.", ["Bulla", "Purpura/Petechiae", "Warty/Papillomatous"]),
        ("Oozing. The scalene muscle, browner.", ["Exudate"]),
        ("Nothing of the kind.", []),
    ],
)
def test_concepts_are_found_in_other_words_too(text: str, concepts: list[str]) -> None:
    assert concepts_in(text) == concepts
