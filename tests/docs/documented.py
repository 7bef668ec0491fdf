"""The commands that README and documentation tell people to type."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "docs/**/*.md")
PROGRAMS = (
    "skingpt4", "python", "accelerate", "torchrun", "make", "pip", "sbatch", "srun", "docker", "systemctl", "git",
    "journalctl", "curl", "export", ".",
)  # fmt: skip
FENCE = re.compile(r"^```(\w*)")


@dataclass(frozen=True)
class Command:
    """One line that somebody would type. place: page and line."""

    place: str
    words: str


def documented_commands() -> list[Command]:
    """All of them, in order of pages and lines, without comments."""
    return [
        command
        for pattern in PAGES
        for page in sorted(ROOT.glob(pattern))
        for command in _of_page(page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8"))
    ]


def _of_page(name: str, text: str) -> list[Command]:
    found: list[Command] = []
    fence: str | None = None
    unfinished = ""
    for number, line in enumerate(text.splitlines(), 1):
        if opened := FENCE.match(line):
            fence = None if fence is not None else opened[1]
            continue
        is_code = fence in ("", "sh", "bash", "console") if fence is not None else line.startswith("    ")
        if not is_code:
            unfinished = ""
            continue
        words = unfinished + re.split(r"\s+#\s", line.strip())[0].removeprefix("$ ").strip()
        unfinished = ""
        if words.endswith("\\"):
            unfinished = words[:-1]
        elif words.split(" ")[0] in PROGRAMS:
            found.append(Command(f"{name}:{number}", words))
    return found
