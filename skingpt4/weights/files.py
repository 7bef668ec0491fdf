"""Opening weight files: safely, without a second copy in memory, and with errors that say what the file really is."""

from __future__ import annotations

import codecs
import json
import os
import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skingpt4.config import resolve_path
from skingpt4.errors import WeightsError
from skingpt4.user_settings import weights_folders

if TYPE_CHECKING:
    from torch import Tensor

# A Hugging Face directory's weights, preferred first as `transformers` does: one file, or an index of shards.
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
INDEX = ".index.json"
# Where torch.hub keeps what the original downloaded by itself.
TORCH_HUB_FOLDER = "~/.cache/torch/hub/checkpoints"
DEFAULT_FOLDER = Path("weights")  # where `weights download` puts files, and what the shipped settings name
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")  # a name on the Hugging Face Hub: OWNER/NAME


def weights_path(value: str) -> Path:
    """Where the file or folder of a setting is (`places_of`); its own path where it is nowhere."""
    name = resolve_path(value)
    return next((place for place in places_of(name) if _is_there(place)), _at_home(name))


def find_file(name: str) -> Path | None:
    """The file that a setting names, in the first of its places that has it; of a Hugging Face directory, that which
    opens its weights.
    """
    there = (place for place in places_of(name) if _is_there(place))
    found = (place if place.is_file() else weight_file(place) for place in there)
    return next((file for file in found if file), None)


def _is_there(place: Path) -> bool:
    """Raises `WeightsError` where that cannot be said: a folder that may not be read, no name that a file can have."""
    try:
        place.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        shown = str(place)[:200]
        raise WeightsError(f"{shown!r} cannot be looked at: {why}. Name a file that you may read.") from error
    return True


def _at_home(name: str) -> Path:
    """With `~` replaced; the `~` of somebody who is not known here stays."""
    return Path(os.path.expanduser(name))


def weight_file(directory: Path) -> Path | None:
    """What opens the weights of a Hugging Face directory: their one file, or the index of their shards."""
    names = (name + ending for name in WEIGHT_FILES for ending in ("", INDEX))
    return next((directory / name for name in names if (directory / name).is_file()), None)


def parts_of(file: Path) -> list[Path]:
    """The files that hold the tensors: `file` itself, or the shards that it is the index of. Raises `WeightsError` for
    an index that is none, and listing the shards that are not there.
    """
    if not file.name.endswith(INDEX):
        return [file]
    names = sorted(set(_index(file, "weight_map").values()))
    missing = [name for name in names if not (file.parent / name).is_file()]
    if missing:
        raise WeightsError(
            f"{file.parent} lacks {len(missing)} of {len(names)} shards: {', '.join(missing)}. Download them as well."
        )
    return [file.parent / name for name in names]


def _index(file: Path, part: str) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8"))[part])
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{file} is no index of shards ({error}); download it again.") from error


def places_of(name: str) -> list[Path]:
    """Every place where the file or folder of a setting is looked for.

    Its own path first. Of a URL, as upstream writes it, and of a name like `lmsys/vicuna-7b-v1.5` the last part in
    `weights/`, where `weights download` puts it; of a URL also where torch.hub keeps it. Then the last part in the
    user's folders (`skingpt4 weights use`), and what the Hugging Face cache of this computer has of a repository.
    """
    last = Path(name).name
    is_url, is_repository = "://" in name, REPOSITORY.fullmatch(name)
    own = [] if is_url else [_at_home(name)]
    downloaded = [DEFAULT_FOLDER / last] if is_url or is_repository else []
    torch_hub = [_at_home(TORCH_HUB_FOLDER) / last] if is_url else []
    users = [folder / last for folder in weights_folders() if last]
    cached = _cached_repository(name) if is_repository else []
    return list(dict.fromkeys([*own, *downloaded, *torch_hub, *users, *cached]))


def _cached_repository(name: str) -> list[Path]:
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(name, "config.json")
    return [Path(config).parent] if isinstance(config, str) else []


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` or a torch file, memory-mapped where the format allows it.

    Of an index of shards, or a Hugging Face directory, all of them. A torch file may hold the tensors themselves or
    `{"model": tensors, ...}`. Raises `WeightsError` for a missing file,
    a text or HTML file, a torn file, and a pickle that holds code: that is refused without running it.
    """
    path = (weight_file(path) if path.is_dir() else None) or path
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; a weight file was expected.")
    if not path.is_file():
        raise WeightsError(f"{path} does not exist (looked in {path.parent.resolve()}).")
    if path.name.endswith(INDEX):
        return {name: tensor for part in parts_of(path) for name, tensor in read_tensors(part).items()}
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


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes in a weight file. Of a `.safetensors` file only the header is read: a mapping of the whole of it can
    be refused where it is larger than the computer's memory. Raises `WeightsError` as `read_tensors`.
    """
    from safetensors import SafetensorError, safe_open

    if path.suffix != ".safetensors":
        return {name: tuple(tensor.shape) for name, tensor in read_tensors(path).items()}
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise _torn(path, "safetensors", error) from error


def only_tensors(values: Mapping[str, Any]) -> dict[str, Tensor]:
    """The entries that are tensors."""
    import torch

    return {str(key): value for key, value in values.items() if isinstance(value, torch.Tensor)}


def read_metadata(path: Path) -> dict[str, str]:
    """The texts in the header of a `.safetensors` file, or in the index of several; others have none. Raises
    `WeightsError` for a torn file.
    """
    from safetensors import SafetensorError, safe_open

    if path.name.endswith(INDEX):
        return {name: text for name, text in _index(path, "metadata").items() if isinstance(text, str)}
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
    return WeightsError(what_it_is(path) or f"{path} is torn or no {form} file ({error}). Download it again.")


def _read_torch(path: Path) -> Any:
    import torch

    mappable = zipfile.is_zipfile(path)  # torch's format since 1.6; older files are read at once
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mappable or None)
    except pickle.UnpicklingError as error:
        known = what_it_is(path)
        if known:
            raise WeightsError(known) from error
        reason = str(error).split("WeightsUnpickler error:")[-1].strip().splitlines()[0]
        raise WeightsError(
            f"{path} holds more than tensors and was refused before any of it ran ({reason}). "
            "A weight file needs no code: get it from its publisher, or re-save its tensors as safetensors."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, IndexError, UnicodeDecodeError) as error:
        raise _torn(path, "torch", error) from error


def what_it_is(path: Path) -> str | None:
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
