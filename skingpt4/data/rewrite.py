"""A manifest with some of its columns filled in anew; everything else stays as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from skingpt4 import __version__
from skingpt4.data.build import READ_BY_EYE_ROWS
from skingpt4.data.manifest import BUILD_NOTE, Manifest, write_manifest
from skingpt4.data.manifest_files import JSONL, PARQUET
from skingpt4.durable import write_whole

_TOOLS = ("numpy", "scipy", "scikit-learn", "iterative-stratification", "ImageHash", "pillow")


def write_columns(manifest: Manifest, columns: Mapping[str, Sequence[Any]], out: Path) -> list[Path]:
    """Write the manifest with these columns (one value per record) into the folder `out`; returns the files written.

    In its own folder it is replaced, with the file of the other form beside it. Elsewhere `build.json` goes along, with
    the images' root as an absolute path. Each file appears whole or not at all.
    """
    home = manifest.path.parent.resolve() == out.resolve()
    pair = [out / f"{manifest.path.stem}{suffix}" for suffix in (PARQUET, JSONL)]
    if home:
        files = [path for path in pair if path.is_file()]
    else:
        files = [pair[0], *([pair[1]] if len(manifest) <= READ_BY_EYE_ROWS else [])]
        note = manifest.path.parent / BUILD_NOTE
        built = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
        write_json(out / BUILD_NOTE, {**built, "images_root": str(manifest.root.resolve())})
    for path in files:
        write_manifest(path, _rows(manifest, columns))
    return files


def _rows(manifest: Manifest, columns: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(manifest.table_rows()):
        yield row | {name: values[number] for name, values in columns.items()}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a note for people and programs; it appears whole or not at all."""
    write_whole(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def versions() -> dict[str, str]:
    """Of this package and of those that decide what a check finds and how a split falls."""
    found = {"skingpt4": __version__}
    for name in _TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
