"""What a run leaves for others to look at while it goes on: lines of JSON that grow, and files replaced whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from skingpt4.durable import replacing

METRICS_FILE = "metrics.jsonl"  # in a run's folder: figures by step
ANSWERS_FILE = "answers.jsonl"  # the answers of the page, by step and photograph
ANSWERS_PAGE = "answers.html"
CURVES_FILE = "curves.png"
RECORD_FILE = "run.json"
# What it says of a run's state. A killed one never wrote its end.
RUNNING, FINISHED, STOPPED, FAILED, KILLED = "running", "finished", "stopped", "failed", "killed"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file, none where it is absent. A line that a killed process left torn is passed over."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def keep_until(path: Path, step: int) -> list[dict[str, Any]]:
    """Drop the lines after `step`, and torn ones: a run that goes on there writes them again. Returns the rest."""
    if not path.is_file():
        return []
    kept = [line for line in read_lines(path) if line.get("step", 0) <= step]
    with replacing(path) as partial:
        partial.write_text("".join(json_line(line) for line in kept), encoding="utf-8")
    return kept


def json_line(values: dict[str, Any]) -> str:
    """One line of a JSONL file."""
    return json.dumps(values, ensure_ascii=False) + "\n"


def read_record(folder: Path) -> dict[str, Any]:
    """A run's `run.json`; empty where it is absent or damaged."""
    try:
        record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def duration(seconds: float) -> str:
    """`h:mm:ss`, or `m:ss` below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
