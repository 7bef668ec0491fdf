"""What `data build` noted beside the manifest, and what identifies it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from skingpt4.data.card.parts import Block, Note, Section, Table
from skingpt4.data.manifest import BUILD_NOTE, Manifest
from skingpt4.data.records import file_sha256
from skingpt4.errors import DataError


def read_note(folder: Path, name: str) -> dict[str, Any]:
    """A note as JSON; empty where there is none. Raises `DataError` for a file that holds no JSON object."""
    path = folder / name
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is no JSON: {error}. Run the command that writes it again.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__}; a JSON object was expected. Write it again.")
    return content


def built(manifest: Manifest, version: str, date: str) -> Section:
    """Where the manifest is from, and what identifies it."""
    note = read_note(manifest.path.parent, BUILD_NOTE)
    blocks: list[Block] = []
    sources = [source for source in note.get("sources", []) if isinstance(source, dict)]
    if sources:
        rows = [_source_row(source) for source in sources]
        header = ("source", "rows read", "kept", "flagged 'do not consider'", "nothing to learn", "image missing")
        blocks.append(Table(header, rows, "What was read and what was left out"))
        for source in sources:
            blocks += [Note(f"{source.get('name', 'a source')}: {remark}") for remark in source.get("remarks", [])]
    if not note:
        blocks.append(Note(f"There is no {BUILD_NOTE} beside the manifest, so how it was built is not known."))
    facts = [
        ("Manifest", f"{manifest.path.name}, {len(manifest):,} rows"),
        ("Fingerprint of the manifest (SHA-256)", file_sha256(manifest.path)),
        ("This page", f"made on {date} with skingpt4 {version}"),
    ]
    if note.get("skingpt4"):
        facts.append(("Built with", f"skingpt4 {note['skingpt4']}"))
    if note.get("command"):
        facts.append(("Command", _command(note["command"])))
    blocks.append(Table(("", ""), facts, "To find or make it again"))
    text = (
        "From which files the set was made and by which command; two sets with the same fingerprint are the same, to "
        "the letter."
    )
    return Section("How it was made", text, blocks)


def _source_row(source: dict[str, Any]) -> tuple[str, ...]:
    counts = [source.get(key, 0) for key in ("rows", "kept", "flagged", "without_answer", "missing")]
    return (str(source.get("name", "")), *(f"{count:,}" if isinstance(count, int) else str(count) for count in counts))


def _command(noted: dict[str, Any] | list[Any]) -> str:
    """The command line, or its options, without the folders of the machine: the page may be passed on."""
    if isinstance(noted, dict):
        options = {name: value for name, value in noted.items() if name != "source" and value not in ("", None, False)}
        words = [f"--{name.replace('_', '-')} {_without_folders(str(value))}" for name, value in options.items()]
        return " ".join(["skingpt4 data build", str(noted.get("source", "")), *words])
    return " ".join(_without_folders(str(word)) for word in noted)


def _without_folders(word: str) -> str:
    option, equals, path = word.rpartition("=")
    return option + equals + (f"…/{Path(path).name}" if Path(path).is_absolute() else path)
