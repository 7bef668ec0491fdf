"""The memory that talking and training need, per part, against what there is; and what to change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import psutil
import torch

from skingpt4.device import resolve_dtype, resolve_vit_dtype
from skingpt4.doctor.finding import FAULT, GOOD, WARNING, Finding
from skingpt4.errors import SettingsError, SkinGPTError
from skingpt4.settings import Settings
from skingpt4.training import memory
from skingpt4.training.estimate import (
    CUDA_CONTEXT,
    GIB,
    KINDS,
    PYTHON,
    Device,
    Part,
    changes,
    device_of,
    estimate,
    fits,
)
from skingpt4.weights.files import weights_path

CONVERSATION_TOKENS = 2048  # what LLaMA and Vicuna v0 remember at most
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def examine_memory(settings: Settings, device_memory: str = "") -> Iterator[Finding]:
    """Talking with this model; training it, where the settings name training data. device_memory: e.g. "24GB", a GPU
    that need not be here.
    """
    try:
        device = _limited(device_of(settings, device_memory))
        yield _judge("memory to talk", parts_to_talk(settings, device), device, _ways_to_talk(settings, device))
        if settings.data.train:
            ways = (f"--options {change.options}" for change in changes(settings, device) if change.fits)
            yield _judge("memory to train", estimate(settings, device), device, ways)
    except SettingsError as error:  # device_memory is no amount
        yield Finding("memory", FAULT, str(error))
    except SkinGPTError as error:  # a device or a decoder that is not there, which has a line of its own
        yield Finding("memory", WARNING, f"cannot be estimated: {error}")


def parts_to_talk(settings: Settings, device: Device) -> list[Part]:
    """What one process needs while it answers, at the end of a long conversation."""
    model = settings.model
    plan = memory.plan_decoder(str(weights_path(model.llama_model)))
    dtype, vit_dtype = _dtypes(settings, device)
    decoder = memory.decoder_bytes(plan, dtype, plan.kind(model))
    encoder = memory.encoder_bytes(model, vit_dtype)
    config = plan.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    tokens = min(CONVERSATION_TOKENS, getattr(config, "max_position_embeddings", CONVERSATION_TOKENS))
    cache = 2 * config.num_hidden_layers * heads * head_width * tokens * dtype.itemsize
    weights = _decoder_here(settings, decoder.weights)
    start = Part("CUDA", CUDA_CONTEXT, "") if device.is_gpu else Part("Python, torch", PYTHON, "")
    return [
        Part("decoder", weights, plan.name),
        Part("encoder", encoder.weights + encoder.pass_through, ""),
        Part("projection", (model.qformer_width + 1) * decoder.width * 4, ""),
        Part("conversation", cache, f"{tokens} tokens"),
        start,
    ]


def _decoder_here(settings: Settings, whole: int) -> int:
    """Bytes of the decoder in this process: an engine may have a file of its own, or run it elsewhere."""
    model = settings.model
    if model.engine == "llamacpp":
        file = weights_path(model.gguf)
        return file.stat().st_size if file.is_file() else whole
    return 0 if model.engine == "vllm" and model.engine_url else whole


def _dtypes(settings: Settings, device: Device) -> tuple[torch.dtype, torch.dtype]:
    """Of the decoder and of the vision transformer; a GPU's 16-bit kinds are of one size."""
    model = settings.model
    if device.is_gpu:
        decoder = torch.float32 if model.precision == "fp32" else torch.float16
        return decoder, {"auto": decoder, "fp32": torch.float32}.get(model.vit_precision, torch.float16)
    cpu = torch.device("cpu")
    decoder = resolve_dtype(model.precision, cpu)
    return decoder, resolve_vit_dtype(model.vit_precision, decoder, cpu)


def _limited(device: Device) -> Device:
    """A container may have less memory than its computer."""
    if device.is_gpu:
        return device
    limits = [Path(file).read_text().strip() for file in CGROUP_LIMITS if Path(file).is_file()]
    return replace(device, memory_bytes=min([device.memory_bytes, *(int(text) for text in limits if text.isdigit())]))


def _judge(check: str, parts: Sequence[Part], device: Device, ways: Iterator[str]) -> Finding:
    """ways: what would make it fit, cheapest first; asked for only where it does not."""
    total = sum(part.size_bytes for part in parts)
    listed = ", ".join(f"{part.name} {part.size_bytes / GIB:.1f}" for part in parts if part.size_bytes >= GIB / 20)
    name = device.name.split(" (")[0]
    found = f"{total / GIB:.1f} GiB ({listed}) of {device.memory_bytes / GIB:.1f} GiB: {name}"
    if not fits(parts, device):
        advised = next(ways, "") or "no setting is enough: take a smaller decoder (7B), or another device"
        return Finding(check, FAULT, f"{found}: it does not fit", advised)
    if not device.is_gpu and total > psutil.virtual_memory().available:
        return Finding(check, WARNING, found, "It fits once other programs give memory back: close some.")
    return Finding(check, GOOD, found)


def _ways_to_talk(settings: Settings, device: Device) -> Iterator[str]:
    plan = memory.plan_decoder(str(weights_path(settings.model.llama_model)))
    for kind in () if plan.stored_kind else KINDS[KINDS.index(plan.kind(settings.model)) + 1 :]:
        tried = deepcopy(settings)
        tried.model.decoder_quantization = kind
        parts = parts_to_talk(tried, device)
        if fits(parts, device):
            size = sum(part.size_bytes for part in parts) / GIB
            yield f"Quantise the decoder: --options model.decoder_quantization={kind} ({size:.1f} GiB)"
    if settings.model.engine == "transformers":
        yield (
            "Let llama.cpp run it from a GGUF file on the CPU (`skingpt4 export --to gguf --quantization q4_k_m`, "
            "--engine llamacpp), take a smaller decoder (7B), or a device with more memory (try sizes: --device-memory)"
        )
