"""The frozen decoder: a causal language model of `transformers` from a local directory, strictly, no second copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from skingpt4.errors import WeightsError
from skingpt4.tokenizer import why_unreadable
from skingpt4.weights.convert import LANGUAGE_MODEL
from skingpt4.weights.files import WEIGHT_FILES, parts_of, read_tensors, some, weight_file
from skingpt4.weights.quantize import finish, quantization_config, stored_quantization

LONG_BYTES = 1 << 30
DELTA_NORM = 0.1  # a LLaMA's last norm has weights of the order of 1, the difference of two of them of 0.01

# Persistent buffers of older `transformers` that are computed now: Vicuna's files of 2023 carry the first.
KNOWN_LEFTOVERS = (
    ".rotary_emb.inv_freq", ".attn.masked_bias", ".attn.bias", ".attention.masked_bias", ".attention.bias",
)  # fmt: skip


def decoder_config(directory: Path, may_be_quantised: bool = False) -> PretrainedConfig:
    """Its `config.json`, of a whole model that of its language model. Raises `WeightsError` where that is missing,
    unreadable, asks for its publisher's code, or is of a quantised decoder (with may_be_quantised: of one in another
    form than `skingpt4 export --to decoder` writes).
    """
    if not (directory / "config.json").is_file():
        raise WeightsError(
            f"{directory} has no config.json; llama_model must be a Hugging Face directory of the merged decoder."
        )
    try:
        config = AutoConfig.from_pretrained(str(directory), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever a wrong value makes the family's own class run into
        raise WeightsError(f"{directory / 'config.json'} cannot be read: {why_unreadable(error)}") from error
    if hasattr(config, "text_config"):  # a whole model, exported by this package or another's: its language model
        rows = getattr(config, "decoder_vocab_size", config.text_config.vocab_size)
        config = config.text_config
        config.vocab_size = rows  # without the image placeholder's
    if getattr(config, "quantization_config", None) and not (may_be_quantised and stored_quantization(config)):
        raise WeightsError(
            f"The decoder in {directory} is quantised already; files in fp16, bf16 or fp32 are needed. "
            "To keep those in 8 or 4 bits set model.decoder_quantization."
        )
    return config


def decoder_shape(directory: Path) -> tuple[int, int]:
    """Rows and width of its embedding: the vocabulary's size, which the tokenizer must not exceed, and what the
    projection must give. Nothing but `config.json` is read.
    """
    config = decoder_config(directory, may_be_quantised=True)
    rows, width = empty_decoder(config, directory).get_input_embeddings().weight.shape
    return int(rows), int(width)


def empty_decoder(config: PretrainedConfig, directory: Path) -> PreTrainedModel:
    """The decoder of this configuration on `meta`: names and shapes, no values. directory: for the error message.

    Raises `WeightsError` where the configuration is of no causal language model, or of one without a memory of keys
    and values, from which turns and candidates go on.
    """
    file = directory / "config.json"
    try:
        with torch.device("meta"):
            decoder = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except ValueError as error:
        raise WeightsError(
            f"{file} is of a {config.model_type!r}, which is no causal language model that "
            "transformers knows; llama_model must be one, e.g. a LLaMA."
        ) from error
    except Exception as error:  # whatever a wrong value makes the family's own class run into
        raise WeightsError(f"{file} describes no decoder that can be built: {error!r}. Download it again.") from error
    if decoder._is_stateful:
        raise WeightsError(
            f"{file} is of a {config.model_type!r}, whose state cannot be taken back to an earlier word; llama_model "
            "must be a decoder whose every layer has attention, e.g. a LLaMA."
        )
    return decoder


def require_merged(directory: Path) -> None:
    """Raise `WeightsError` where a LLaMA's directory holds differences to be added to another one's weights, as Vicuna
    v0 is published (`lmsys/vicuna-*-delta-v0`). One small tensor tells, the last norm's weights, which are near 0
    there; names do not, for merging leaves some of them as they were.
    """
    config = decoder_config(directory, may_be_quantised=True)
    if config.model_type != "llama":  # others keep their norms as differences from 1
        return
    for file in decoder_files(directory):
        norm = read_tensors(file).get("model.norm.weight")
        if norm is not None and len(norm) == config.hidden_size and norm.float().abs().mean() < DELTA_NORM:
            raise WeightsError(
                f"{directory} holds the difference between a decoder and the LLaMA that it was trained from, not a "
                "decoder: answers would be noise. Add the two with FastChat (pip install fschat): `python -m "
                "fastchat.model.apply_delta --base-model-path LLAMA --target-model-path MERGED --delta-path "
                f"{directory}`, and set llama_model to MERGED."
            )


def load_decoder(
    directory: Path, dtype: torch.dtype, device: torch.device, quantization: str = "", device_map: str = ""
) -> PreTrainedModel:
    """A causal language model of `transformers` from a local directory, strictly: no parameter stays random, none is
    left over.

    quantization: int8 or nf4 keeps its matrices so (`quantize`), each made as it is read; "" = in `dtype`, or as they
    are in a directory of `skingpt4 export --to decoder`.
    device_map: "auto" spreads its layers over all GPUs; "" = all of it on `device`. Raises `WeightsError` for a
    directory without weights, missing or torn shards, deltas, and parameters that are missing, unknown or of another
    shape.
    """
    config = decoder_config(directory, may_be_quantised=True)
    stored = stored_quantization(config)
    if quantization and stored and quantization != stored:
        raise WeightsError(f"The decoder in {directory} is in {stored} already; it cannot be made {quantization}.")
    require_merged(directory)
    quantization = quantization or stored
    made = quantization_config(quantization, dtype) if quantization else None
    empty = empty_decoder(config, directory)
    places = {} if stored else stored_tensors(directory, empty)
    tensors = {name: _ReadWhenIndexed(place, dtype) for name, place in places.items()}
    try:
        with _bar_if_long(decoder_files(directory)):
            decoder, report = type(empty).from_pretrained(
                str(directory) if stored else None, config=config, state_dict=tensors or None, dtype=dtype,
                device_map=device_map or {"": device}, output_loading_info=True, ignore_mismatched_sizes=True,
                attn_implementation=attention_implementation(dtype, device),
                quantization_config=None if stored else made,
            )  # fmt: skip
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsError(f"The decoder in {directory} cannot be loaded: {error}") from error
    _require_whole(report, directory)
    if quantization:
        finish(decoder, quantization)
    decoder.requires_grad_(False)
    return decoder.eval()


def vocabulary_names(decoder: PreTrainedModel) -> set[str]:
    """Names of the parameters that have a row per token: embedding and head."""
    embedding, head = decoder.get_input_embeddings(), decoder.get_output_embeddings()
    wide = {id(own) for part in (embedding, head) for own in part.parameters()}
    return {name for name, own in decoder.named_parameters(remove_duplicate=False) if id(own) in wide}


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor of a decoder is. rows: how many of those in the file are the decoder's; None = all."""

    file: Path
    name: str
    rows: int | None = None

    def of(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The decoder's tensor among those of its file: that one itself, or a copy of fewer rows."""
        stored = tensors[self.name]
        return stored if self.rows in (None, len(stored)) else stored[: self.rows].clone()


def stored_tensors(directory: Path, empty: PreTrainedModel) -> dict[str, StoredTensor]:
    """What the directory's files hold of the decoder, by its own names; of a whole model, its language model without
    the placeholder's rows. empty: that decoder. Raises `WeightsError` as `decoder_files`, and for torn files.
    """
    places = {name: file for file in decoder_files(directory) for name in read_tensors(file)}
    if not any(name.startswith(LANGUAGE_MODEL) for name in places):
        return {name: StoredTensor(file, name) for name, file in places.items()}
    rows = dict.fromkeys(vocabulary_names(empty), empty.config.vocab_size)
    return {
        (own := name.removeprefix(LANGUAGE_MODEL)): StoredTensor(file, name, rows.get(own))
        for name, file in places.items()
        if name.startswith(LANGUAGE_MODEL)
    }


@dataclass(frozen=True)
class _ReadWhenIndexed:
    """A tensor as `transformers` takes it from a safetensors file's slices.

    The file is opened anew each time: a mapping of a whole file keeps every page that was read, so that a decoder
    converted from fp16 to `dtype` would count twice in the process's memory until its last shard is done.
    """

    place: StoredTensor
    dtype: torch.dtype

    def __getitem__(self, index: Any) -> torch.Tensor:
        stored = self.place.of(read_tensors(self.place.file))[index]
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
    file = weight_file(directory)
    if file is None:
        raise WeightsError(
            f"{directory} holds no weights: looked for {', '.join(WEIGHT_FILES)} and for {WEIGHT_FILES[0]}.index.json, "
            f"{WEIGHT_FILES[1]}.index.json with their shards."
        )
    return parts_of(file)


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
