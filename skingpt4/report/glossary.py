"""What the concepts of dermatology mean, in words that a patient understands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from skingpt4.evaluation.parsing import mentioned_concepts
from skingpt4.vocabulary import CONCEPTS

GLOSSARY_FILE = Path(__file__).with_name("glossary.yaml")


@dataclass(frozen=True)
class Explanation:
    """One concept. name: SKINCON's; label: the same for reading ("White (Hypopigmentation)"); words: the explanation;
    note: what a reader should know besides, may be empty; anchor: fit for an HTML id; source: where to read on.
    """

    name: str
    label: str
    words: str
    note: str
    anchor: str
    source_title: str
    source_url: str


def concepts_in(text: str) -> list[str]:
    """The concepts that a text mentions, by name or in other words ("scaly", "hyperpigmentation"), in SKINCON's order.
    The clinical word forms are those of `evaluation.parsing`; `also` adds lay words.
    """
    lowered = text.lower()
    named = mentioned_concepts(text)
    return [name for name in CONCEPTS if name in named or ((also := _also().get(name)) and also.search(lowered))]


@cache
def _also() -> Mapping[str, re.Pattern[str]]:
    return {
        name: re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)")
        for name, words in _content()["also"].items()
    }


@cache
def _content() -> dict[str, Any]:
    import yaml

    return yaml.safe_load(GLOSSARY_FILE.read_text(encoding="utf-8"))


@cache
def glossary() -> Mapping[str, Explanation]:
    """All 48 concepts of `skingpt4.vocabulary.CONCEPTS`, in their order."""
    content = _content()
    words, notes, source = content["concepts"], content["notes"], content["source"]
    unknown = (set(words) | set(notes) | set(content["also"])) ^ set(CONCEPTS)
    if unknown:
        raise ValueError(f"{GLOSSARY_FILE.name} and the vocabulary differ: {', '.join(sorted(unknown))}")
    return MappingProxyType(
        {
            name: Explanation(
                name=name,
                label=name.replace("(", " ("),
                words=words[name],
                note=notes.get(name, ""),
                anchor="concept-" + "-".join(re.findall(r"[a-z]+", name.lower())),
                source_title=source["title"],
                source_url=source["url"],
            )
            for name in CONCEPTS
        }
    )
