"""The decoder alone, as a Hugging Face directory: its weights in safetensors, as they are, or in 8 or 4 bits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from skingpt4.errors import SettingsError, WeightsError
from skingpt4.weights.decoder import (
    KNOWN_LEFTOVERS,
    decoder_config,
    decoder_files,
    empty_decoder,
    load_decoder,
    stored_tensors,
)
from skingpt4.weights.files import read_tensors
from skingpt4.weights.quantize import PACKAGE_OF

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

SHARD_SIZE = "5GB"
# What stands beside a decoder's weights: its tokenizer and how it generates.
GENERATION = "generation_config.json"
BESIDE_WEIGHTS = ("tokenizer*", "*token*.json", "vocab.*", "merges.txt", "chat_template*", GENERATION)
OF_WHOLE_MODELS = ("suppress_tokens", "stop_strings")  # of that file, as `write_transformers` makes it


def write_decoder(directory: Path, folder: Path, quantization: str = "", shard_size: str = SHARD_SIZE) -> None:
    """Write the decoder of a Hugging Face directory into an empty folder, with its tokenizer.

    quantization: int8 or nf4 (`weights.quantize`), opened again without quantising anew; "" copies the tensors from
    their files, one shard in memory at a time. Raises `SettingsError` for another, and `WeightsError`.
    """
    import torch

    if quantization and quantization not in PACKAGE_OF:
        raise SettingsError(f"A decoder in {quantization!r} is unknown; it must be one of {', '.join(PACKAGE_OF)}.")
    config = decoder_config(directory)
    empty = empty_decoder(config, directory)
    folder.mkdir(parents=True, exist_ok=True)
    if quantization:
        dtype = config.dtype or torch.float16
        decoder = load_decoder(directory, dtype, torch.device("cpu"), quantization)
        decoder.config._name_or_path = ""
        decoder.save_pretrained(folder, max_shard_size=shard_size)
    else:
        config._name_or_path = ""  # a path of this machine
        config.save_pretrained(folder)
        tensors = decoder_tensors(directory, empty)
        require_room(tensors.values(), folder)
        save_tensors(tensors, folder, shard_size)
    copy_beside_weights(directory, folder)


def decoder_tensors(directory: Path, empty: PreTrainedModel) -> dict[str, Tensor]:
    """A decoder's tensors by the names in its files, memory-mapped; buffers that are computed now are left out.

    empty: that decoder, without values. Of a whole model's directory, its language model's.
    """
    opened = {file: read_tensors(file) for file in decoder_files(directory)}
    places = stored_tensors(directory, empty)
    tensors = {name: place.of(opened[place.file]) for name, place in places.items()}
    return {name: tensor for name, tensor in tensors.items() if not name.endswith(KNOWN_LEFTOVERS)}


def save_tensors(
    tensors: Mapping[str, Tensor], folder: Path, shard_size: str, metadata: dict[str, str] | None = None
) -> None:
    """Write `model.safetensors`, or its shards and their index, which holds the metadata then."""
    from huggingface_hub import save_torch_state_dict

    save_torch_state_dict(dict(tensors), folder, max_shard_size=shard_size, metadata=metadata)
    for file in folder.glob("*.safetensors"):  # which are made for their owner only
        file.chmod((folder / "config.json").stat().st_mode)


def require_room(tensors: Iterable[Tensor], folder: Path) -> None:
    """Raise `WeightsError` where the disk has no room for these, before any is written: the programs that write them
    have a dozen ways to say it, after minutes.
    """
    needed, free = sum(tensor.nbytes for tensor in tensors), shutil.disk_usage(folder).free
    if needed > free:
        raise WeightsError(
            f"{needed / 1e6:,.1f} MB are to be written and {free / 1e6:,.1f} MB are free on the disk of --out. "
            "Make room, or name a folder on another disk."
        )


def copy_beside_weights(directory: Path, folder: Path) -> None:
    """Copy the small files of a decoder's directory, but for its configuration and weights; of a whole model's how the
    decoder generates, without what an image's placeholder and this package's prompts ask for.
    """
    for pattern in BESIDE_WEIGHTS:
        for file in directory.glob(pattern):
            if file.is_file():
                shutil.copyfile(file, folder / file.name)
    generation = folder / GENERATION
    if generation.is_file():
        wanted = json.loads(generation.read_text(encoding="utf-8"))
        kept = {name: value for name, value in wanted.items() if name not in OF_WHOLE_MODELS}
        generation.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
