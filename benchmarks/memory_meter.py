"""Time and peak memory of named stages of one process, read from `/proc/self/status` (Linux)."""

from __future__ import annotations

import json
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

FIELDS = ("VmRSS", "RssAnon", "RssFile")
SAMPLE_SECONDS = 0.01
GIB = 1 << 30


@dataclass
class Stage:
    """Peaks while it ran, in bytes. anonymous: memory of the process's own; file: pages of mapped files."""

    name: str
    seconds: float
    peak_resident: int
    peak_anonymous: int
    peak_file: int


def resident() -> tuple[int, int, int]:
    """Resident, anonymous and file-backed bytes of this process now."""
    found = {}
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        key, _, value = line.partition(":")
        if key in FIELDS:
            found[key] = int(value.split()[0]) * 1024
    return found[FIELDS[0]], found[FIELDS[1]], found[FIELDS[2]]


class Meter:
    """`with meter.stage("load"): …` samples memory from a thread while the block runs."""

    def __init__(self) -> None:
        self.start = resident()
        self.stages: list[Stage] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        peaks, stop = list(resident()), threading.Event()

        def sample() -> None:
            while not stop.wait(SAMPLE_SECONDS):
                peaks[:] = map(max, peaks, resident())

        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        begun = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - begun
            stop.set()
            thread.join()
        peaks[:] = map(max, peaks, resident())
        self.stages.append(Stage(name, seconds, *peaks))
        print(f"{name}: {seconds:.1f} s, peak {peaks[0] / GIB:.2f} GiB", flush=True)


def report(figures: dict[str, Any], meter: Meter) -> tuple[str, bool]:
    """A page of Markdown, and whether loading kept the limit (of models that outweigh Python itself)."""
    weights = sum(figures["weight_bytes"].values())
    load = next(stage for stage in meter.stages if stage.name == "load")
    ratio = load.peak_resident / weights
    parts = ", ".join(f"{name} {size / GIB:.2f}" for name, size in figures["weight_bytes"].items())
    lines = [
        f"# Rehearsal at true size: decoder {figures['decoder']}, {figures['format']} shards, {figures['precision']}",
        "",
        f"{date.today().isoformat()}, {machine()}. Random weights in the published formats; "
        "`python benchmarks/true_size.py --help` says how.",
        "",
        f"Weights in their target precision: **{weights / GIB:.2f} GiB** ({parts}).",
        f"Resident before the first stage (Python, torch): {meter.start[0] / GIB:.2f} GiB.",
        "",
        "| stage | seconds | peak resident, GiB | of it anonymous at most | mapped files at most | peak / weights |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for stage in meter.stages:
        lines.append(
            f"| {stage.name} | {stage.seconds:.1f} | {stage.peak_resident / GIB:.2f} "
            f"| {stage.peak_anonymous / GIB:.2f} | {stage.peak_file / GIB:.2f} | {stage.peak_resident / weights:.3f} |"
        )
    within = weights < GIB or ratio <= figures["limit"]
    verdict = "not judged: Python outweighs them" if weights < GIB else "within" if within else "ABOVE"
    lines += [
        "",
        f"Loading peaks at **{ratio:.3f}** times the weights ({verdict}; the limit is {figures['limit']}).",
        f"Loss of the training step {figures['loss']:.3f}; answer of {figures['answer_tokens']} tokens.",
    ]
    return "\n".join(lines), within


def machine() -> str:
    """CPU, cores, memory and versions, in words."""
    import timm
    import torch
    import transformers

    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, timm {timm.__version__}"
    python = f"Python {platform.python_version()}"
    return f"{cpu}, {torch.get_num_threads()} threads, {memory / GIB:.1f} GiB, {python}, {versions}"


def save_results(folder: Path, name: str, text: str, figures: dict[str, Any], meter: Meter) -> None:
    """`NAME.md` for people and `NAME.json` for programs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text + "\n", encoding="utf-8")
    stages = [asdict(stage) for stage in meter.stages]
    content = {"date": date.today().isoformat(), "machine": machine(), **figures, "stages": stages}
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
