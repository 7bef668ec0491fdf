"""Opening a manifest of 1,000,000 records and reading any of them: time and memory, in fresh processes.

Command: python benchmarks/manifest_scale.py [--folder DIR]     It writes about 600 MB of Parquet and JSON lines to DIR.
The claim it backs: a manifest of 1,000,000 records opens in under 2 s and 300 MB on 2 cores; any record is read in
constant time. The baseline reads every row of the same records as JSON lines, as most training code does.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from skingpt4.data.manifest import open_manifest, row_of, write_manifest
from skingpt4.data.records import concept_record, diagnosis_record
from skingpt4.vocabulary import CLASSES, CONCEPT_ANSWER, CONCEPTS, DIAGNOSIS_ANSWER

SIZES = (10_000, 100_000, 1_000_000)
ACCESSES = 1_000
OPEN_SECONDS, OPEN_BYTES = 2.0, 300e6  # the limits, at 1,000,000 records
FORMS = ("parquet", "jsonl")
SITES = ("left forearm", "scalp", "trunk", "dorsum of the right foot", "face", "palms", "shin", "nape")
PHRASES = (
    "well demarcated erythematous plaque with silvery scale", "itching for three weeks", "no systemic symptoms",
    "treated with topical betamethasone without improvement", "family history of atopy", "biopsy recommended",
    "follow-up in two months", "new lesions since the last visit", "worse after exposure to the sun",
    "advised to avoid irritants and to use emollients daily", "dermoscopy shows regular dotted vessels",
    "the patient is otherwise well", "partial response to narrowband UVB", "no lymphadenopathy",
)  # fmt: skip


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Rows of step 1 and step 2 in turn: 1-5 of the 48 concepts, or a diagnosis with notes of 20-70 words."""
    draw = random.Random(0)
    forms = [
        row_of(concept_record(Path("x"), CONCEPTS[:1], "skincon"), "x"),
        row_of(diagnosis_record(Path("x"), "x", "", "notes"), "x"),
    ]
    for number in range(count):
        disease = f"{draw.choice(CLASSES).lower()}, type {draw.randrange(20)}"
        concepts = sorted(draw.sample(CONCEPTS, draw.randint(1, 5))) if number % 2 == 0 else []
        notes = ". ".join(draw.choices(PHRASES, k=draw.randint(4, 10)))
        said = (
            CONCEPT_ANSWER.format(concepts=", ".join(concepts))
            if concepts
            else DIAGNOSIS_ANSWER.format(disease=disease)
        )
        yield forms[number % 2] | {
            "image": f"{number // 5000:04d}/{draw.getrandbits(128):032x}.jpg",
            "answers": [said if concepts else f"{said} {notes}."],
            "concepts": concepts,
            "disease": disease,
            "disease_class": draw.choice(CLASSES),
            "skin_type": draw.choice((-1, 1, 2, 3, 4, 5, 6)),
            "group": f"patient-{number // 3}",
            "split": "validation" if number % 10 == 0 else "train",
            "age": draw.randint(1, 95),
            "sex": draw.choice(("female", "male")),
            "site": draw.choice(SITES),
            "licence": "CC BY 4.0",
            "sha256": f"{draw.getrandbits(256):064x}",
            "phash": f"{draw.getrandbits(64):016x}",
        }


def write_once(folder: Path, count: int) -> None:
    """Both forms of `count` records, unless they are there."""
    for suffix in FORMS:
        path = folder / f"{count}.{suffix}"
        if not path.is_file():
            started = time.process_time()
            write_manifest(path, rows(count))
            seconds = time.process_time() - started
            print(f"{path.name}: {path.stat().st_size / 1e6:.0f} MB, {seconds:.0f} s of CPU to write")


def resident_bytes() -> int:
    """Of this process, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(path: Path) -> dict[str, float]:
    """Of this fresh process: seconds to open and to the first record, bytes by then, milliseconds per access. CPU time
    stands beside the clock's, as the machine may be shared.
    """
    numbers = range(int(path.stem))
    before, started, cpu = resident_bytes(), time.perf_counter(), time.process_time()
    rows, read = _opened(path)
    opened = time.perf_counter() - started
    first_record = read(0)
    first, first_cpu = time.perf_counter() - started, time.process_time() - cpu
    grown = resident_bytes() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    assert len(rows) == len(numbers) and first_record
    chosen = random.Random(1).choices(numbers, k=ACCESSES)
    started, cpu = time.perf_counter(), time.process_time()
    for number in chosen:
        read(number)
    access, access_cpu = time.perf_counter() - started, time.process_time() - cpu
    return {
        "open_seconds": opened,
        "first_seconds": first,
        "first_cpu_seconds": first_cpu,
        "grown_bytes": grown,
        "peak_bytes": peak,
        "access_ms": access / ACCESSES * 1e3,
        "access_cpu_ms": access_cpu / ACCESSES * 1e3,
        "after_bytes": resident_bytes() - before,
    }


def _opened(path: Path) -> tuple[Any, Callable[[int], Any]]:
    if path.suffix == ".parquet":
        manifest = open_manifest(path, path.parent)
        return manifest, manifest.__getitem__
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return rows, rows.__getitem__


def report(found: dict[str, dict[str, float]]) -> tuple[str, bool]:
    """A table of Markdown, and whether the limits were kept."""
    lines = [
        "| records | read as | open, s | first record, s (of CPU) | resident then, MB | peak, MB "
        "| random access, ms (of CPU) | after 1,000, MB |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, figures in found.items():
        count, _, kind = name.partition(".")
        shown = "manifest (Parquet)" if kind == "parquet" else "every row of JSON lines"
        times = f"{figures['open_seconds']:.2f} | {figures['first_seconds']:.2f} ({figures['first_cpu_seconds']:.2f})"
        access = f"{figures['access_ms']:.3f} ({figures['access_cpu_ms']:.3f})"
        first, peak, after = (figures[f"{name}_bytes"] / 1e6 for name in ("grown", "peak", "after"))
        lines.append(f"| {int(count):,} | {shown} | {times} | {first:.0f} | {peak:.0f} | {access} | {after:.0f} |")
    largest = found[f"{SIZES[-1]}.parquet"]
    kept = largest["first_seconds"] < OPEN_SECONDS and largest["peak_bytes"] < OPEN_BYTES
    verdict = "within" if kept else "ABOVE"
    lines += [
        "",
        f"{SIZES[-1]:,} records: first record after {largest['first_seconds']:.2f} s, "
        f"{largest['peak_bytes'] / 1e6:.0f} MB more than before at most "
        f"({verdict} the limits of {OPEN_SECONDS:g} s and {OPEN_BYTES / 1e6:.0f} MB).",
    ]
    return "\n".join(lines), kept


def main() -> int:
    """Write the records, measure each form and size in a process of its own, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to write; kept for the next run (default: a temporary one)")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)  # in the fresh process
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        found = {}
        for count in SIZES:
            write_once(folder, count)
            for suffix in FORMS:
                command = [sys.executable, __file__, "--measure", str(folder / f"{count}.{suffix}")]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found[f"{count}.{suffix}"] = json.loads(done.stdout)
        text, kept = report(found)
    print(text)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
