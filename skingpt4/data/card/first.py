"""What somebody should know before training on a set, sharing it or quoting a result from it."""

from __future__ import annotations

from collections.abc import Iterator

from skingpt4.data.card.facts import Facts
from skingpt4.data.card.parts import NO_SPLIT, Kind, Note, Section, percent, plural
from skingpt4.data.licences import licence_of
from skingpt4.data.records import few

RARE = 10  # images of a disease
_ORDER: tuple[Kind, ...] = ("warning", "plain", "good")


def first_things(facts: Facts, health: list[Note]) -> Section:
    """The points that matter, the worst first. health: what a check found."""
    notes = [*_files(facts), *health, *_splits(facts), *_people(facts), *_diseases(facts), *_licences(facts)]
    return Section(
        "What to know first",
        "The points that matter most before somebody trains on this set, passes it on or quotes a result from it.",
        [*sorted(notes, key=lambda note: _ORDER.index(note.kind))],
    )


def _files(facts: Facts) -> Iterator[Note]:
    if facts.missing is None:
        yield Note("The photographs are not on this computer: this page counts what the manifest says of them.")
    elif facts.missing:
        text = f"{plural(facts.missing, 'image file')} of {facts.images:,} cannot be found."
        yield Note(text, "warning")
    else:
        yield Note(f"All {facts.images:,} image files are where the manifest says.", "good")


def _splits(facts: Facts) -> Iterator[Note]:
    divided = len(set(facts.splits) - {NO_SPLIT}) > 1
    if not divided:
        yield Note("The images are not divided into training and test yet: skingpt4 data split does it.")
    leaks = (
        (facts.group_leak, "patient or lesion", "patients or lesions"),
        (facts.file_leak, "image file", "image files"),
    )
    for leak, one, many in leaks:
        if leak.values:
            are = "is" if leak.values == 1 else "are"
            text = f"{plural(leak.values, one, many)} ({plural(leak.images, 'image')}) {are} in more than one split."
            yield Note(f"{text} Results on the test images will look better than they are.", "warning")
    if not facts.groups:
        kind: Kind = "warning" if divided else "plain"
        text = "It is not noted which photographs show the same patient or lesion"
        yield Note(f"{text}{', so the same person may be in several splits' if divided else ''}.", kind)
    elif divided and not facts.group_leak.values:
        yield Note("No patient or lesion is in more than one split.", "good")
    if "train" in facts.splits:
        learned = facts.disease.by_split["train"]
        new = sorted(name for name in facts.disease.counts if not learned[name])
        if new:
            what = plural(len(new), "disease is", "diseases are")
            yield Note(f"{what} in no training image but elsewhere: {few(new, 5)}.", "warning")


def _people(facts: Facts) -> Iterator[Note]:
    known = facts.skin_type.known
    unknown = facts.images - known
    if not known:
        yield Note("Skin type is not noted for any image: fairness between skin types cannot be judged.", "warning")
        return
    counts = facts.skin_type.counts
    dark = counts["V"] + counts["VI"]
    text = (
        f"Dark skin (types V and VI): {plural(dark, 'image')}, {percent(dark, known)} of those whose skin type is known"
    )
    text += f"; it is unknown for {unknown:,} ({percent(unknown, facts.images)})." if unknown else "."
    yield Note(text, "warning" if dark < 0.1 * known else "plain")


def _diseases(facts: Facts) -> Iterator[Note]:
    counts = facts.disease.counts
    if rare := sorted(name for name, count in counts.items() if count < RARE):
        are = plural(len(rare), "disease has", "diseases have")
        yield Note(f"{are} fewer than {RARE} images: {few(rare, 5)}.")


def _licences(facts: Facts) -> Iterator[Note]:
    kept = sum(count for pair, count in facts.licences.items() if not licence_of(*pair).pictures)
    if kept:
        are = "is" if kept == 1 else "are"
        yield Note(
            f"{plural(kept, 'image')} ({percent(kept, facts.images)}) {are} not for passing on; see the licences."
        )
