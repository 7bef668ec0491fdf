"""The frozen decoder: a causal language model of `transformers` from a local directory, strictly, no second copy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from skingpt4.errors import WeightsError
from skingpt4.weights.files import read_tensors, some
from skingpt4.weights.quantize import finish, quantization_config

LONG_BYTES = 1 << 30

# Preferred first, as `transformers` does; each may be one file or an index of shards.
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
# Persistent buffers of older `transformers` that are computed now: Vicuna's files of 2023 carry the first.
KNOWN_LEFTOVERS = ("rotary_emb.inv_freq", "attn.masked_bias", "attn.bias", "attention.masked_bias", "attention.bias")


def decoder_config(directory: Path) -> PretrainedConfig:
    """Its `config.json`. Raises `WeightsError` where that is missing, unreadable, or of a quantised decoder."""
    if not (directory / "config.json").is_file():
        raise WeightsError(
            f"{directory} has no config.json; llama_model must be a Hugging Face directory of the merged decoder."
        )
    try:
        config = AutoConfig.from_pretrained(str(directory), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{directory / 'config.json'} cannot be read: {error}") from error
    if getattr(config, "quantization_config", None):
        raise WeightsError(
            f"The decoder in {directory} is quantised already; files in fp16, bf16 or fp32 are needed. "
            "To keep those in 8 or 4 bits set model.decoder_quantization."
        )
    return config


def decoder_width(directory: Path) -> int:
    """The width of its embeddings, which the projection must have; nothing but `config.json` is read."""
    return int(empty_decoder(decoder_config(directory), directory).get_input_embeddings().weight.shape[1])


def empty_decoder(config: PretrainedConfig, directory: Path) -> PreTrainedModel:
    """The decoder of this configuration on `meta`: names and shapes, no values. directory: for the error message.

    Raises `WeightsError` where the configuration is of no causal language model.
    """
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config)
    except ValueError as error:
        raise WeightsError(
            f"{directory / 'config.json'} is of a {config.model_type!r}, which is no causal language model that "
            "transformers knows; llama_model must be one, e.g. a LLaMA."
        ) from error


def load_decoder(
    directory: Path, dtype: torch.dtype, device: torch.device, quantization: str = "", device_map: str = ""
) -> PreTrainedModel:
    """A causal language model of `transformers` from a local directory, strictly: no parameter stays random, none is
    left over.

    quantization: int8 or nf4 keeps its matrices so (`quantize`), each made as it is read; "" = in `dtype`.
    device_map: "auto" spreads its layers over all GPUs; "" = all of it on `device`. Raises `WeightsError` for a
    directory without weights, missing or torn shards, and parameters that are missing, unknown or of another shape.
    """
    config = decoder_config(directory)
    decoder_class = type(empty_decoder(config, directory))
    tensors: dict[str, _StoredTensor] = {}
    for file in decoder_files(directory):
        tensors |= {name: _StoredTensor(file, name, dtype) for name in read_tensors(file)}
    try:
        with _bar_if_long(decoder_files(directory)):
            decoder, report = decoder_class.from_pretrained(
                None, config=config, state_dict=tensors, dtype=dtype, device_map=device_map or {"": device},
                output_loading_info=True, ignore_mismatched_sizes=True,
                attn_implementation=attention_implementation(dtype, device),
                quantization_config=quantization_config(quantization, dtype) if quantization else None,
            )  # fmt: skip
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsError(f"The decoder in {directory} cannot be loaded: {error}") from error
    _require_whole(report, directory)
    if quantization:
        finish(decoder, quantization)
    decoder.requires_grad_(False)
    return decoder.eval()


@dataclass(frozen=True)
class _StoredTensor:
    """A tensor that is read when it is indexed, as `transformers` does with a safetensors file's slices.

    The file is opened anew each time: a mapping of a whole file keeps every page that was read, so that a decoder
    converted from fp16 to `dtype` would count twice in the process's memory until its last shard is done.
    """

    file: Path
    name: str
    dtype: torch.dtype

    def __getitem__(self, index: Any) -> torch.Tensor:
        stored = read_tensors(self.file)[self.name][index]
        return stored if stored.dtype == self.dtype else stored.clone()


@contextmanager
def _bar_if_long(files: list[Path]) -> Iterator[None]:
    """`transformers`' progress bar for gigabytes only; beside a short answer of the small model it is noise."""
    if logging.is_progress_bar_enabled() and sum(file.stat().st_size for file in files) < LONG_BYTES:
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.enable_progress_bar()
    else:
        yield


def attention_implementation(dtype: torch.dtype, device: torch.device) -> str | None:
    """Plain attention for bf16 on a CPU, where the fused kernel takes 1.48 times as long
    (`benchmarks/cpu_attention.py`); elsewhere the decoder's own choice, torch's fused kernel.
    """
    return "eager" if device.type == "cpu" and dtype == torch.bfloat16 else None


def decoder_files(directory: Path) -> list[Path]:
    """The weight files of a Hugging Face directory: one file, or the shards of its index.

    Raises `WeightsError` when there are none, or listing the shards that the index names and that are not there.
    """
    for name in WEIGHT_FILES:
        if (directory / name).is_file():
            return [directory / name]
        index = directory / f"{name}.index.json"
        if index.is_file():
            return _shards(index)
    raise WeightsError(
        f"{directory} holds no weights: looked for {', '.join(WEIGHT_FILES)} and for {WEIGHT_FILES[0]}.index.json, "
        f"{WEIGHT_FILES[1]}.index.json with their shards."
    )


def _shards(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise WeightsError(f"{index} is no index of shards ({error}); download it again.") from error
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise WeightsError(
            f"{index.parent} lacks {len(missing)} of {len(names)} shards: {', '.join(missing)}. Download them as well."
        )
    return [index.parent / name for name in names]


def _require_whole(report: dict[str, set], directory: Path) -> None:
    faults = {
        "missing": sorted(report["missing_keys"]),
        "unknown": sorted(key for key in report["unexpected_keys"] if not key.endswith(KNOWN_LEFTOVERS)),
        "of another shape": [str(entry[0]) for entry in sorted(report["mismatched_keys"])],
    }
    listed = [f"{len(names)} {what}: {some(names)}" for what, names in faults.items() if names]
    if listed:
        raise WeightsError(
            f"The decoder in {directory} is not what its config.json says. Parameters {'; '.join(listed)}. "
            "Download it again."
        )
