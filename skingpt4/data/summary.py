"""How often each concept, disease, class, skin type, split and source is in a manifest; SKINCON beside the paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from skingpt4.data.manifest import Manifest
from skingpt4.data.records import UNKNOWN_SKIN_TYPE
from skingpt4.data.sources.skincon import FITZPATRICK17K
from skingpt4.vocabulary import CONCEPTS

# SkinGPT-4, Table 1: images of SKINCON's Fitzpatrick17k part with each concept, in the order of `CONCEPTS`.
PAPER_TABLE_1: dict[str, int] = {
    "Vesicle": 46, "Papule": 1169, "Macule": 13, "Plaque": 1966, "Abscess": 5, "Pustule": 103, "Bulla": 64,
    "Patch": 149, "Nodule": 189, "Ulcer": 154, "Crust": 497, "Erosion": 200, "Excoriation": 46, "Atrophy": 69,
    "Exudate": 144, "Purpura/Petechiae": 10, "Fissure": 32, "Induration": 33, "Xerosis": 35, "Telangiectasia": 100,
    "Scale": 686, "Scar": 123, "Friable": 153, "Sclerosis": 27, "Pedunculated": 26, "Exophytic/Fungating": 42,
    "Warty/Papillomatous": 46, "Dome-shaped": 146, "Flat topped": 18, "Brown(Hyperpigmentation)": 759,
    "Translucent": 16, "White(Hypopigmentation)": 257, "Purple": 85, "Yellow": 245, "Black": 90, "Erythema": 2139,
    "Comedo": 24, "Lichenification": 25, "Blue": 5, "Umbilicated": 49, "Poikiloderma": 5, "Salmon": 10, "Wheal": 21,
    "Acuminate": 8, "Burrow": 5, "Gray": 5, "Pigmented": 5, "Cyst": 6,
}  # fmt: skip
PAPER_IMAGES = 3230

UNKNOWN = "unknown"
NOT_GIVEN = "(not given)"


@dataclass(frozen=True)
class Summary:
    """Counts of records. paper_part: those from Fitzpatrick17k that have concepts; these are counted apart."""

    records: int
    concepts: Counter[str]
    paper_part: int
    paper_part_concepts: Counter[str]
    groups: dict[str, Counter[str]]  # "disease", "class", "skin type", "split", "source"


def summarize(manifest: Manifest) -> Summary:
    """Count the records of a manifest; empty columns are counted as `NOT_GIVEN`, skin type -1 as `UNKNOWN`."""
    concepts, sources = manifest.column("concepts"), manifest.column("source")
    ours = [found for found, source in zip(concepts, sources, strict=True) if found and _of_fitzpatrick17k(source)]
    groups = {
        "disease": _counted(manifest.column("disease")),
        "class": _counted(manifest.column("disease_class")),
        "skin type": _counted(_skin_type(value) for value in manifest.column("skin_type")),
        "split": _counted(manifest.column("split")),
        "source": _counted(sources),
    }
    every = Counter(name for found in concepts for name in found)
    return Summary(len(manifest), every, len(ours), Counter(name for found in ours for name in found), groups)


def paper_verdict(summary: Summary) -> str:
    """One sentence: how many of the paper's 48 counts the Fitzpatrick17k part has, and which differ."""
    counts = summary.paper_part_concepts
    other = [name for name in CONCEPTS if counts[name] != PAPER_TABLE_1[name]]
    text = (
        f"{summary.paper_part:,} images of Fitzpatrick17k (the paper: {PAPER_IMAGES:,}); "
        f"{len(CONCEPTS) - len(other)} of {len(CONCEPTS)} concepts are as often as in the paper's Table 1"
    )
    if not other:
        return f"{text}."
    if all(abs(counts[name] - PAPER_TABLE_1[name]) == 1 for name in other) and summary.paper_part == PAPER_IMAGES:
        text = f"{text}, the others differ by one in the published annotations"
    return f"{text}: {', '.join(f'{name} {counts[name]} ({PAPER_TABLE_1[name]})' for name in other)}."


def concept_table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """(header, rows): each concept's count; the Fitzpatrick17k part, where there is one, beside the paper's Table 1."""
    if not summary.paper_part:
        return ["concept", "records"], [[name, str(summary.concepts[name])] for name in CONCEPTS]
    rows = []
    for name in CONCEPTS:
        ours, paper = summary.paper_part_concepts[name], PAPER_TABLE_1[name]
        rows.append(
            [name, str(summary.concepts[name]), str(ours), str(paper), f"{ours - paper:+d}" if ours != paper else "="]
        )
    return ["concept", "records", "Fitzpatrick17k", "paper", "difference"], rows


def group_table(name: str, counts: Counter[str], most: int) -> tuple[list[str], list[list[str]]]:
    """(header, rows): the `most` frequent values (0 = all; skin types in order), then what the others add up to."""
    ranked = sorted(counts.items(), key=lambda item: (0 if name == "skin type" else -item[1], item[0]))
    shown = ranked[:most] if most else ranked
    rows = [[value, str(count)] for value, count in shown]
    rest = ranked[len(shown) :]
    if rest:
        rows.append([f"… {len(rest):,} more", str(sum(count for _, count in rest))])
    return [name, "records"], rows


def _of_fitzpatrick17k(source: str) -> bool:
    return source.split("/")[0] == FITZPATRICK17K


def _skin_type(value: int) -> str:
    return UNKNOWN if value == UNKNOWN_SKIN_TYPE else str(value)


def _counted(values: Iterable[str] | Sequence[str]) -> Counter[str]:
    return Counter(value or NOT_GIVEN for value in values)
