"""Opening weight files: safely, without a second copy in memory, and with errors that say what the file really is."""

from __future__ import annotations

import codecs
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skingpt4.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

# Where torch.hub keeps what the original downloaded by itself.
TORCH_HUB_FOLDER = Path("~/.cache/torch/hub/checkpoints")


def find_file(name: str) -> Path | None:
    """The file that a setting names: a path, or (for a URL, as upstream writes it) its last part in known folders."""
    return next((place for place in places_of(name) if place.is_file()), None)


def places_of(name: str) -> list[Path]:
    """Every place where the file of a setting is looked for."""
    if "://" not in name:
        return [Path(name).expanduser()]
    last = name.rsplit("/", 1)[-1]
    return [Path("weights") / last, TORCH_HUB_FOLDER.expanduser() / last]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` or a torch file, memory-mapped where the format allows it.

    A torch file may hold the tensors themselves or `{"model": tensors, ...}`. Raises `WeightsError` for a missing file,
    a text or HTML file, a torn file, and a pickle that holds code: that is refused without running it.
    """
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; a weight file was expected.")
    if not path.is_file():
        raise WeightsError(f"{path} does not exist (looked in {path.parent.resolve()}).")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = _read_torch(path)
    tensors = content.get("model", content) if isinstance(content, Mapping) else content
    found = only_tensors(tensors) if isinstance(tensors, Mapping) else {}
    if not found:
        held = f"a {type(tensors).__name__}" + (
            f" of {some(map(str, tensors))}" if isinstance(tensors, Mapping) else ""
        )
        raise WeightsError(f"{path} holds {held}; tensors by name were expected.")
    return found


def only_tensors(values: Mapping[str, Any]) -> dict[str, Tensor]:
    """The entries that are tensors."""
    import torch

    return {str(key): value for key, value in values.items() if isinstance(value, torch.Tensor)}


def read_metadata(path: Path) -> dict[str, str]:
    """The texts in the header of a `.safetensors` file; others have none. Raises `WeightsError` for a torn file."""
    from safetensors import SafetensorError, safe_open

    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise _torn(path, "safetensors", error) from error


def some(names: Iterable[str], shown: int = 6) -> str:
    """The first few names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - shown} more" if len(listed) > shown else ""
    return (", ".join(listed[:shown]) or "nothing") + more


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise _torn(path, "safetensors", error) from error


def _torn(path: Path, form: str, error: Exception) -> WeightsError:
    return WeightsError(_what_it_is(path) or f"{path} is torn or no {form} file ({error}). Download it again.")


def _read_torch(path: Path) -> Any:
    import torch

    mappable = zipfile.is_zipfile(path)  # torch's format since 1.6; older files are read at once
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mappable or None)
    except pickle.UnpicklingError as error:
        known = _what_it_is(path)
        if known:
            raise WeightsError(known) from error
        reason = str(error).split("WeightsUnpickler error:")[-1].strip().splitlines()[0]
        raise WeightsError(
            f"{path} holds more than tensors and was refused before any of it ran ({reason}). "
            "A weight file needs no code: get it from its publisher, or re-save its tensors as safetensors."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, IndexError, UnicodeDecodeError) as error:
        raise _torn(path, "torch", error) from error


def _what_it_is(path: Path) -> str | None:
    """A sentence for files that are plainly something else."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(512)
    head = start.lstrip().lower()
    if size == 0:
        return f"{path} is empty. Download it again."
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        return (
            f"{path} is an HTML page, not weights: the link gave a web page (a log-in or a warning). "
            "Download the file itself."
        )
    if head.startswith(b"version https://git-lfs"):
        return f"{path} is a Git LFS pointer, not weights. Run `git lfs pull` where it came from."
    if not _is_text(start):
        return None
    return f"{path} is a text file ({size:,} bytes), not weights; it begins {start[:40]!r}. Download the file itself."


def _is_text(start: bytes) -> bool:
    if any(byte < 32 and byte not in b"\t\n\f\r" for byte in start):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return True
