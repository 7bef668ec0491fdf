"""`skingpt4 train --estimate`: the memory that a run needs, per part, before anything is loaded, and what to change."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import psutil
import torch
from rich.console import Console
from rich.table import Table

from skingpt4.device import resolve_device, resolve_dtype, resolve_vit_dtype
from skingpt4.errors import SettingsError
from skingpt4.settings import Settings
from skingpt4.training import memory
from skingpt4.training.inputs.features import caches_features
from skingpt4.weights.quantize import PACKAGE_OF

GIB = 1 << 30
FREE_SHARE = 0.03  # of a device's memory stays free: fragments, and cards that offer less than their name says
CUDA_CONTEXT = 640 << 20  # context, kernels and the workspaces of the matrix library; an assumption
PYTHON = 820 << 20  # resident before the first weight (benchmarks/results/true_size.md)
TRAINED_BYTES = 16  # of a trained number: float32 value, gradient and Adam's two moments
LOSS_BYTES = 8  # per answer token and vocabulary entry, beside what is kept: two float32 copies of the logits
KINDS = ("", *PACKAGE_OF)  # of quantisation, from large to small
SHARDED_LAYERS = 2  # of a sharded decoder that are whole at once: the one that computes and the one that is fetched


@dataclass(frozen=True)
class Device:
    """What a run is to fit in. memory_bytes: 0 = not known; count: how many share the decoder."""

    is_gpu: bool
    memory_bytes: int
    name: str
    count: int = 1


@dataclass(frozen=True)
class Part:
    """One line of an estimate."""

    name: str
    size_bytes: int
    how: str


@dataclass(frozen=True)
class Change:
    """A way to need less. options: as `--options` takes them."""

    options: str
    total_bytes: int
    fits: bool


def print_estimates(steps: Sequence[Settings], device_memory: str = "") -> bool:
    """Print what each step needs, per part, against the memory of its device; returns whether all of them fit.

    device_memory: e.g. "32GB", a GPU that need not be here; "" = the device of the settings. Raises `SettingsError`
    and `WeightsError`.
    """
    console = Console()
    fit = True
    for settings in steps:
        device = device_of(settings, device_memory)
        parts = estimate(settings, device)
        console.print(_table(settings, device, parts))
        if not fits(parts, device):
            fit = False
            console.print(_advice(changes(settings, device), device))
    console.print("Computed from the sizes, not measured; the largest moment of a step, with the longest answers.")
    return fit


def device_of(settings: Settings, device_memory: str) -> Device:
    """The device of these settings, or a GPU of `device_memory`, which need not be here."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if device_memory:
        count = processes if settings.run.shard_decoder else 1
        return Device(True, _parse_memory(device_memory), f"a GPU of {device_memory}", count)
    device = resolve_device(settings.run.device)
    if device.type == "cpu":
        return Device(False, psutil.virtual_memory().total, "the CPU of this machine (a GPU: --device-memory 32GB)")
    spread = torch.cuda.device_count() if settings.model.device_map else 1
    properties = torch.cuda.get_device_properties(device)
    count = processes if settings.run.shard_decoder else spread
    return Device(True, properties.total_memory, properties.name, count)


def estimate(settings: Settings, device: Device) -> list[Part]:
    """The parts that one process needs at the largest moment of a training step."""
    model, run = settings.model, settings.run
    plan = memory.plan_decoder(model.llama_model)
    dtype, kind = _dtype(model.precision, device), plan.kind(model)
    decoder = memory.decoder_bytes(plan, dtype, kind)
    whole = SHARDED_LAYERS * decoder.layer if run.shard_decoder and device.count > 1 else 0
    stated = f" ({plan.statement})" if plan.statement else ""
    shared = f", a {device.count}th of it on each device" if device.count > 1 else ""
    trained = (model.qformer_width + 1) * decoder.width
    return [
        Part(
            "decoder", decoder.weights // device.count + whole,
            f"{plan.name}{stated}, {decoder.parameters / 1e6:,.0f} million numbers in {kind or _short(dtype)}{shared}",
        ),
        Part("projection", trained * TRAINED_BYTES, f"{trained:,} numbers with gradient and Adam's moments, float32"),
        *_encoder(settings, device, dtype),
        *_step(settings, plan, dtype, decoder.widest, device),
        Part("context", CUDA_CONTEXT, "CUDA, kernels; assumed") if device.is_gpu else Part("Python, torch", PYTHON, ""),
    ]  # fmt: skip


def fits(parts: Sequence[Part], device: Device) -> bool:
    """Whether an estimate leaves `FREE_SHARE` of the device free; of an unknown device nothing is said (True)."""
    return not device.memory_bytes or sum(part.size_bytes for part in parts) <= device.memory_bytes * (1 - FREE_SHARE)


def changes(settings: Settings, device: Device) -> Iterator[Change]:
    """What makes a run smaller, cheapest first: cached features, a smaller batch with as many samples per step,
    matrices in 8 and 4 bits, and several devices. Each with the largest batch that fits then.
    """
    cached = deepcopy(settings)
    given = []
    if not caches_features(settings.data) and settings.model.freeze_vit and settings.model.freeze_qformer:
        cached.data.cached_views = 4
        given.append("data.cached_views=4")
    plan = memory.plan_decoder(settings.model.llama_model)
    now = plan.kind(settings.model)
    for kind in (now,) if plan.stored_kind else KINDS[KINDS.index(now) :]:
        tried = deepcopy(cached)
        tried.model.decoder_quantization = kind
        yield _largest_batch(tried, device, [*given, *([f"model.decoder_quantization={kind}"] if kind != now else [])])
    for count in () if now else (2, 4, 8):  # a quantised decoder is not sharded
        tried = deepcopy(cached)
        tried.run.shard_decoder = True
        named = [*given, "run.shard_decoder=true", f"(accelerate launch --num_processes {count})"]
        change = _largest_batch(tried, replace(device, count=count), named)
        yield change
        if change.fits:
            return


def _largest_batch(settings: Settings, device: Device, named: list[str]) -> Change:
    """The settings with their batch halved until they fit (or the batch is 1), and gradients accumulated instead."""
    run = settings.run
    samples = run.batch_size_train * run.accum_grad_iters
    before = run.batch_size_train
    while not fits(estimate(settings, device), device) and run.batch_size_train > 1:
        run.batch_size_train //= 2
        run.batch_size_eval = min(run.batch_size_eval, max(1, 2 * run.batch_size_train))
        run.accum_grad_iters = -(-samples // run.batch_size_train)
    names = ("batch_size_train", "batch_size_eval", "accum_grad_iters") if run.batch_size_train < before else ()
    options = [*named, *(f"run.{name}={getattr(run, name)}" for name in names)]
    parts = estimate(settings, device)
    return Change(" ".join(options), sum(part.size_bytes for part in parts), fits(parts, device))


def _encoder(settings: Settings, device: Device, decoder_dtype: torch.dtype) -> list[Part]:
    """Nothing, where training reads cached features."""
    model = settings.model
    if caches_features(settings.data):
        return []
    if device.is_gpu:
        vit_dtype = decoder_dtype if model.vit_precision == "auto" else _dtype(model.vit_precision, device)
    else:
        vit_dtype = resolve_vit_dtype(model.vit_precision, decoder_dtype, torch.device("cpu"))
    encoder = memory.encoder_bytes(model, vit_dtype)
    trained = encoder.trained * (TRAINED_BYTES - 4)
    kept = memory.encoder_step_bytes(model, settings.run.batch_size_train) if encoder.trained else 0
    work = encoder.pass_through * max(settings.run.batch_size_train, settings.run.batch_size_eval)
    how = "vision transformer and Q-Former; cached features would save it" if not trained else "trained, with Adam"
    return [Part("encoder", encoder.weights + trained + kept + work, how)]


def _step(settings: Settings, plan: memory.DecoderPlan, dtype: torch.dtype, widest: int, device: Device) -> list[Part]:
    """What a step keeps for its backward pass, and what it works with at its largest moment."""
    model, run = settings.model, settings.run
    samples = run.batch_size_train
    traced = torch.float16 if device.is_gpu and dtype.itemsize == 2 else dtype
    kept = memory.step_bytes(plan, traced, samples, model.max_txt_len, model.num_query_token, model.qformer_width)
    spread = device.count if model.device_map and not run.shard_decoder else 1
    kept //= spread
    logits = model.max_txt_len * int(plan.config.vocab_size)  # of one sample
    # Gradients of what a layer kept are as large as that; the loss works while nothing is freed yet.
    layer = kept * spread // samples // max(1, int(plan.config.num_hidden_layers))
    work = max(LOSS_BYTES * logits * samples, layer * samples + 2 * widest)
    validates = settings.data.validation or settings.data.validation_fraction
    seen = (logits * (LOSS_BYTES + dtype.itemsize) + layer) * run.batch_size_eval + widest if validates else 0
    tokens = memory.BEFORE_IMAGE + memory.AFTER_IMAGE
    how = f"{samples} x ({model.max_txt_len} answer + {model.num_query_token} image + {tokens} question) tokens"
    return [
        Part("kept for backward", kept, how),
        Part("working memory", max(work, seen - kept), "logits and loss, or one layer's gradients"),
    ]


def _dtype(precision: str, device: Device) -> torch.dtype:
    """As `device.resolve_dtype`, but of a GPU that need not be here: its 16-bit kinds are of one size."""
    if not device.is_gpu:
        return resolve_dtype(precision, torch.device("cpu"))
    return torch.float32 if precision == "fp32" else torch.float16


def _short(dtype: torch.dtype) -> str:
    return {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}[dtype]


def _parse_memory(text: str) -> int:
    """Bytes of "32GB", "32G" or "31.5GiB": cards are named in units of 2^30."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*gi?b?\s*", text.lower())
    if found is None or not float(found[1]):
        raise SettingsError(f"--device-memory {text!r} is no amount of memory; write it as 32GB.")
    return int(float(found[1]) * GIB)


def _table(settings: Settings, device: Device, parts: Sequence[Part]) -> Table:
    total = sum(part.size_bytes for part in parts)
    table = Table(title=f"Memory of {settings.run.output_dir}", title_justify="left", caption_justify="left")
    for column, justify in (("part", "left"), ("GiB", "right"), ("of what", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for part in parts:
        table.add_row(part.name, f"{part.size_bytes / GIB:.2f}", part.how)
    table.add_section()
    table.add_row("together", f"{total / GIB:.2f}", "")
    if device.memory_bytes:
        verdict = "fits" if fits(parts, device) else "does NOT fit"
        table.add_row(
            verdict, f"{device.memory_bytes / GIB:.2f}", f"{device.name}; {FREE_SHARE:.0%} of it must stay free"
        )
    return table


def _advice(offered: Iterator[Change], device: Device) -> Table:
    table = Table(title="What to change, cheapest first", title_justify="left")
    for column in ("--options", "GiB", "fits"):
        table.add_column(column, overflow="fold")
    for change in offered:
        table.add_row(change.options, f"{change.total_bytes / GIB:.2f}", "yes" if change.fits else "no")
    return table
