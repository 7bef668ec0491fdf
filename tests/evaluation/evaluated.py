"""Small data sets to evaluate on, and the command that does it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from manifests import draw_data_set

from skingpt4.commands import evaluate
from skingpt4.data.manifest import row_of, write_manifest
from skingpt4.vocabulary import CLASSES

DISEASES = ("eczema", "psoriasis", "acne")
OF_SPLIT = {"train": 0, "validation": 1, "test": 2}


def write_cases(folder: Path, count: int, people: bool = False, size_px: int = 16) -> Path:
    """A manifest of `count` drawn photographs over three diseases; every fourth case is of the validation split, every
    other one of the test split, and no patient is in two of them.
    """
    rows = []
    for number, record in enumerate(draw_data_set(folder, count, size_px=size_px)):
        kind = number % len(DISEASES)
        split = {0: "train", 1: "validation"}.get(number % 4, "test")
        about = {"skin_type": number % 6 + 1, "sex": ("female", "male")[number % 2]} if people else {}
        record = replace(
            record, disease=DISEASES[kind], disease_class=CLASSES[kind], concepts=("Papule", "Plaque")[: 1 + kind % 2],
            answers=(f"This could be a skin disease image of {DISEASES[kind]}. Keep it dry.",),
            group=f"{split} {number // 8}", split=split, **about,
        )  # fmt: skip
        rows.append(row_of(record, Path(str(record.image)).relative_to(folder).as_posix()))
    write_manifest(folder / "manifest.parquet", rows)
    return folder


def run(*arguments: object) -> int:
    """`skingpt4 evaluate` in this process, errors raised."""
    parser = argparse.ArgumentParser()
    evaluate.add(parser)
    parsed = parser.parse_args([str(argument) for argument in arguments])
    return int(parsed.run(parsed))


if __name__ == "__main__":  # in a process of its own, which can be killed
    from skingpt4.evaluation import answers

    answers.LONGEST_ANSWER = 6  # a random model never stops by itself
    raise SystemExit(run(*sys.argv[1:]))
