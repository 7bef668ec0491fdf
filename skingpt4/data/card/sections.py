"""The sections of the card that a manifest alone can fill: sources, diagnoses, concepts, people, examples, splits."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from skingpt4.data.card.facts import AGE_BIN_YEARS, SKIN_TYPES, Facet, Facts, Leak
from skingpt4.data.card.parts import (
    NO_SPLIT,
    UNKNOWN,
    Bars,
    Block,
    Dots,
    HeatMap,
    Note,
    Section,
    Table,
    percent,
    plural,
)
from skingpt4.data.card.pictures import MOST_GROUPS, Gallery
from skingpt4.data.licences import licence_of
from skingpt4.data.records import few
from skingpt4.vocabulary import CONCEPTS

MOST_BARS = 40
_MOST_DOTS = 20
_FEWEST_FOR_PAIRS = 5  # images; a concept seen on fewer says little about what it comes with


def sources(facts: Facts) -> Section:
    """Where the images come from and what may be done with them."""
    rows = []
    for (source, licence), count in sorted(facts.licences.items(), key=lambda item: (-item[1], item[0])):
        known = licence_of(source, licence)
        rows.append((source or UNKNOWN, known.name, f"{count:,}", known.permits))
    return Section(
        "Sources and licences",
        "Where the photographs come from, and what their owners allow you to do with them.",
        [
            bars("Images per source", facts.source, facts),
            Bars("Images per split", list(facts.splits.items()), facts.images),
            Table(("source", "licence", "images", "what it permits"), rows, "Licences"),
        ],
    )


def diagnoses(facts: Facts) -> Section:
    """Classes and diseases."""
    return Section(
        "Diagnoses",
        "How many photographs there are of each class of skin disease and of each disease; what is rare here is "
        "hard to learn.",
        _plots(facts, {"class": ("Classes", facts.disease_class), "disease": ("Diseases", facts.disease)}),
    )


def concepts(facts: Facts) -> Section:
    """The clinical concepts, and which are seen together."""
    noted = facts.images - facts.concept.unknown.total()
    blocks: list[Block] = []
    if not noted:
        blocks.append(Note("No concept is noted for any image."))
    else:
        # All of them, however many: the rarest are those to know about.
        blocks.append(bars("Concepts", facts.concept, facts, most=len(CONCEPTS)))
        never = [name for name in CONCEPTS if not facts.concept.counts[name]]
        average = facts.concept.known / noted
        text = f"{plural(noted, 'image')} of {facts.images:,} have concepts, {average:.1f} on average."
        blocks.append(Note(text + (f" Never seen: {few(never, 48)}." if never else " Each of the 48 is seen.")))
        frequent = [
            position
            for position in np.argsort(-facts.pairs.diagonal(), kind="stable")
            if facts.pairs[position, position] >= _FEWEST_FOR_PAIRS
        ]
        if len(frequent) > 1:
            blocks.append(_heat_map(facts, frequent))
    return Section(
        "Clinical concepts",
        "What a dermatologist sees on the skin (SKINCON's words, such as papule or scale); one photograph may show "
        "several, so the shares add up to more than 100%.",
        blocks,
    )


def _heat_map(facts: Facts, frequent: list[int]) -> HeatMap:
    left_out = int((facts.pairs.diagonal() > 0).sum()) - len(frequent)
    note = (
        "Read it row by row: of the photographs that show the concept on the left (how many, in brackets), the share "
        "that also show the one above. The stronger the colour, the more."
    )
    if left_out:
        note += f" {plural(left_out, 'concept')} seen on fewer than {_FEWEST_FOR_PAIRS} images are not drawn."
    return HeatMap([CONCEPTS[position] for position in frequent], facts.pairs[np.ix_(frequent, frequent)], note)


def people(facts: Facts) -> Section:
    """Skin type, sex, age, site."""
    known = {
        "skin type": ("Skin type (Fitzpatrick)", facts.skin_type),
        "sex": ("Sex", facts.sex),
        "age": ("Age in years", facts.age),
        "site on the body": ("Site on the body", facts.site),
    }
    text = (
        "Whom the photographs show, as far as it was written down; a model may do worse for those it has seldom seen."
    )
    return Section("People", text, _plots(facts, known))


def _plots(facts: Facts, known: dict[str, tuple[str, Facet]]) -> list[Block]:
    """A plot of each property that is known for some image, and one sentence that names the others."""
    blocks: list[Block] = []
    for title, facet in known.values():
        if facet.known and facet is facts.age:
            blocks.append(_ages(title, facts))
        elif facet.known:
            blocks.append(bars(title, facet, facts, SKIN_TYPES if facet is facts.skin_type else ()))
    if absent := [name for name, (_, facet) in known.items() if not facet.known]:
        blocks.append(Note(f"Not noted for any image: {', '.join(absent)}."))
    return blocks


def _ages(title: str, facts: Facts) -> Bars:
    counts = facts.age.counts
    starts = [int(label.split("–")[0]) for label in counts]
    bins = range(min(starts), max(starts) + 1, AGE_BIN_YEARS)
    rows = [(label, counts[label]) for label in (f"{start}–{start + AGE_BIN_YEARS - 1}" for start in bins)]
    unknown = facts.age.unknown.total()
    note = "Images per ten years of age."
    if unknown:
        note += f" Unknown for {unknown:,} ({percent(unknown, facts.images)})."
    return Bars(title, rows, facts.images, note=note, upright=True)


def examples(shown: Gallery | str, per_group: int, seed: int) -> Section:
    """Small photographs, or the sentence that says why there are none."""
    blocks: list[Block] = []
    if isinstance(shown, str):
        blocks.append(Note(shown))
    else:
        for source, count in shown.left_out.items():
            text = (
                f"{plural(count, 'image')} of {source or 'an unnamed source'} {'is' if count == 1 else 'are'} not "
                "shown: the licence forbids passing them on, or none is known. If this page stays with you, "
                "--thumbnails N shows them too."
            )
            blocks.append(Note(text))
        if shown.unreadable:
            text = f"{plural(shown.unreadable, 'photograph')} drawn for this page could not be opened"
            blocks.append(Note(f"{text}; others were drawn instead where there are any.", "warning"))
        blocks += shown.groups
    return Section(
        "Examples",
        f"Up to {plural(per_group, 'photograph')} of each class, disease or concept (the {MOST_GROUPS} commonest), "
        f"drawn at random (seed {seed}) and cropped to a square: what the camera saw, no selection of good ones.",
        blocks,
    )


def splits(facts: Facts, copies: Leak | None, how: Iterable[Note]) -> Section:
    """How alike the splits are, and what must not be in two of them but is. copies: of a check, None = not checked.
    how: the set was divided.
    """
    sentence = (
        "The images are divided into parts for learning and for testing. The parts should be alike, and nobody's "
        "photographs should be in two of them: else the test is too easy."
    )
    if len(facts.splits) < 2:
        name = next(iter(facts.splits))
        text = "They are not divided yet" if name == NO_SPLIT else f"All images belong to one part: {name}"
        return Section("Splits", sentence, [Note(f"{text}.")])
    plots, rows = [], []
    for title, facet, order in _compared(facts):
        dots = _dots(title, facet, facts, order)
        if len(dots.labels) > 1:
            plots.append(dots)
            rows.append(_furthest(title, dots))
    apart = Table(
        ("property", "furthest apart", "percentage points", *facts.splits), rows, "Where the splits differ most"
    )
    leaks = Table(
        ("what should be in one split only", "known for", "in several splits"),
        [
            _leak_row("Patient or lesion", facts.group_leak, facts),
            _leak_row("The very same image file", facts.file_leak, facts),
            _leak_row("The same picture, id or patient, by data check", copies or Leak(0, 0, 0), facts),
        ],
        "Shared between splits",
    )
    return Section("Splits", sentence, [*how, apart, leaks, *plots])


def _compared(facts: Facts) -> Iterable[tuple[str, Facet, tuple[str, ...]]]:
    yield "Source", facts.source, ()
    yield "Class", facts.disease_class, ()
    yield "Disease", facts.disease, ()
    yield "Concept", facts.concept, ()
    yield "Skin type", facts.skin_type, SKIN_TYPES
    yield "Sex", facts.sex, ()
    yield "Age", facts.age, tuple(sorted(facts.age.counts, key=lambda label: int(label.split("–")[0])))


def _dots(title: str, facet: Facet, facts: Facts, order: tuple[str, ...]) -> Dots:
    """Shares of each split's images; the commonest values where there are many."""
    named = list(order) or [name for name, _ in facet.commonest_first()]
    labels = [name for name in named if facet.counts[name]]
    note = f"The {_MOST_DOTS} commonest of {len(labels):,}." if len(labels) > _MOST_DOTS else ""
    labels = labels[:_MOST_DOTS]
    shares = {split: [facet.by_split[split][label] / size for label in labels] for split, size in facts.splits.items()}
    if facet.unknown and labels:
        labels = [*labels, UNKNOWN]
        for split, size in facts.splits.items():
            shares[split].append(facet.unknown[split] / size)
    return Dots(f"{title} by split", labels, shares, note)


def _furthest(title: str, dots: Dots) -> tuple[str, ...]:
    shares = np.array(list(dots.shares.values()))
    apart = shares.max(axis=0) - shares.min(axis=0)
    row = int(apart.argmax())
    return (
        title,
        dots.labels[row],
        f"{100 * apart[row]:.1f}",
        *(f"{100 * share:.1f}%" for share in shares[:, row]),
    )


def _leak_row(what: str, leak: Leak, facts: Facts) -> tuple[str, str, str]:
    if not leak.known:
        return (what, "no image", "not known")
    found = f"{leak.values:,} ({plural(leak.images, 'image')})" if leak.values else "none"
    return (what, f"{plural(leak.known, 'image')} ({percent(leak.known, facts.images)})", found)


def bars(title: str, facet: Facet, facts: Facts, order: tuple[str, ...] = (), most: int = MOST_BARS) -> Bars:
    """One bar per value, the commonest first (or in a fixed order, zeros too); beyond `most` they are added up.
    Unknown stands apart at the end.
    """
    rows = [(name, facet.counts[name]) for name in order] or facet.commonest_first()
    muted, note = {UNKNOWN, NO_SPLIT}, ""
    if len(rows) > most + 1:
        rest = rows[most:]
        others = f"{len(rest):,} others"
        rows = [*rows[:most], (others, sum(count for _, count in rest))]
        muted.add(others)
        note = f"The {most} commonest of {len(rest) + most:,}."
    if unknown := facet.unknown.total():
        rows = [*rows, (UNKNOWN, unknown)]
    return Bars(title, rows, facts.images, frozenset(muted), note)
