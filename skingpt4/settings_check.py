"""What settings must fulfil beyond their types: ranges, choices, and no two that contradict each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from skingpt4.errors import SettingsError

if TYPE_CHECKING:
    from skingpt4.settings import DataSettings, ModelSettings, RunSettings, Settings

CHOICES: dict[str, tuple[str, ...]] = {
    "model.precision": ("auto", "fp32", "fp16", "bf16"),
    "model.vit_precision": ("auto", "fp32", "fp16", "bf16"),
    "model.decoder_quantization": ("", "int8", "nf4"),
    "model.device_map": ("", "auto"),
    "model.engine": ("transformers", "llamacpp", "vllm"),
    "data.on_bad_image": ("error", "skip"),
    "run.on_nonfinite_loss": ("stop", "skip"),
    "source": ("skincon", "folder", "table", "minigpt4", "manifest"),
    "task": ("concepts", "diagnosis"),
    "split": ("", "train", "validation", "test"),
}

_POSITIVE_SIZES = (
    "image_size", "vit_patch_size", "vit_width", "vit_depth", "vit_heads", "vit_mlp_ratio",
    "num_query_token", "qformer_width", "qformer_layers", "qformer_heads", "qformer_intermediate_width",
    "qformer_cross_attention_frequency",
)  # fmt: skip
_AT_LEAST_ONE = ("max_epoch", "batch_size_train", "batch_size_eval", "accum_grad_iters", "log_every_steps")
_NOT_NEGATIVE = (
    "min_lr", "warmup_lr", "warmup_steps", "iters_per_epoch", "num_workers", "threads", "weight_decay", "max_grad_norm",
    "early_stopping_epochs", "save_every_steps", "keep_checkpoints", "show_every_steps", "shown_images",
)  # fmt: skip


def check(settings: Settings, origin: str) -> None:
    """Raise `SettingsError` for values out of range and settings that contradict each other."""
    _check_model(settings.model, origin)
    _check_data(settings.data, origin)
    _check_run(settings.run, origin)
    _check_together(settings, origin)


def _check_together(settings: Settings, origin: str) -> None:
    model, data, run = settings.model, settings.data, settings.run
    _require(
        (model.freeze_vit and model.freeze_qformer) or not data.cached_views,
        origin,
        "features of a trained encoder cannot be cached: with freeze_vit or freeze_qformer false, "
        "set data.cached_views=0.",
    )
    _require(
        not (model.device_map and run.shard_decoder),
        origin,
        "model.device_map spreads the decoder over the GPUs of one process, run.shard_decoder over many processes; "
        "give one.",
    )
    _require(
        not (run.shard_decoder and (model.decoder_quantization or model.low_resource or model.compile)),
        origin,
        "run.shard_decoder goes with neither model.decoder_quantization (low_resource) nor model.compile; a quantised "
        "decoder is small enough to be whole on every GPU.",
    )
    _require(
        not run.early_stopping_epochs or bool(data.validation or data.validation_fraction),
        origin,
        "run.early_stopping_epochs needs validation pairs: give data.validation or data.validation_fraction.",
    )


def _check_model(model: ModelSettings, origin: str) -> None:
    _choice("model.precision", model.precision, "model.precision", origin)
    _choice("model.vit_precision", model.vit_precision, "model.vit_precision", origin)
    for name in _POSITIVE_SIZES:
        value = getattr(model, name)
        _require(value > 0, origin, f"model.{name} is {value}; it must be above 0.")
    eva = (("image_size", "vit_patch_size"), ("vit_width", "vit_heads")) if model.vit_model == "eva_clip_g" else ()
    for name, part in (*eva, ("qformer_width", "qformer_heads")):
        value, divisor = getattr(model, name), getattr(model, part)
        _require(value % divisor == 0, origin, f"model.{name} {value} is no multiple of {part} {divisor}.")
    once = model.prompt_template == "auto" or model.prompt_template.count("{}") == 1
    _require(once, origin, "model.prompt_template must hold `{}` once, for image and question, or be auto.")
    _require(bool(model.end_sym), origin, "model.end_sym must not be empty: answers would never learn to stop.")
    long_enough = model.max_txt_len > 8
    _require(long_enough, origin, f"model.max_txt_len is {model.max_txt_len}; an answer needs more than 8 tokens.")
    _choice("model.decoder_quantization", model.decoder_quantization, "model.decoder_quantization", origin)
    _choice("model.device_map", model.device_map, "model.device_map", origin)
    _choice("model.engine", model.engine, "model.engine", origin)
    _require(
        model.engine == "transformers" or not (model.decoder_quantization or model.compile),
        origin,
        "model.decoder_quantization and model.compile are of model.engine=transformers; the engine is "
        f"{model.engine!r}, which takes a decoder that is quantised already.",
    )
    for name, engine in (("gguf", "llamacpp"), ("engine_url", "vllm")):
        wrong = bool(getattr(model, name)) and model.engine != engine
        _require(not wrong, origin, f"model.{name} is for model.engine={engine}; the engine is {model.engine!r}.")
    _require(
        model.engine != "llamacpp" or bool(model.gguf),
        origin,
        "model.engine=llamacpp needs model.gguf, the decoder as a GGUF file; `skingpt4 export --to gguf` writes one.",
    )


def _check_data(data: DataSettings, origin: str) -> None:
    _choice("data.on_bad_image", data.on_bad_image, "data.on_bad_image", origin)
    for name, sources in (("train", data.train), ("validation", data.validation)):
        for index, source in enumerate(sources):
            where = f"data.{name}[{index}]"
            _choice("source", source.source, f"{where}.source", origin)
            _choice("task", source.task, f"{where}.task", origin)
            _choice("split", source.split, f"{where}.split", origin)
            of_manifest = source.source == "manifest"
            _require(
                of_manifest or not source.split,
                origin,
                f"{where}.split is {source.split!r}, but only a manifest has splits; `skingpt4 data build` makes one.",
            )
            _require(
                not of_manifest or source.task == "diagnosis",
                origin,
                f"{where}.task is {source.task!r}, but a manifest's records bring their own answers; leave it out.",
            )
            _require(bool(source.path), origin, f"{where}.path must not be empty.")
            _require(source.limit >= 0, origin, f"{where}.limit is {source.limit}; it must not be negative (0 = all).")
    fraction = data.validation_fraction
    _require(0 <= fraction < 1, origin, f"data.validation_fraction is {fraction}; it must be in [0, 1).")
    _require(
        not (data.validation and fraction),
        origin,
        "data.validation and data.validation_fraction are two answers to one question; give one.",
    )
    _require(
        data.cached_views >= 0,
        origin,
        f"data.cached_views is {data.cached_views}; it must not be negative (0 = encode every image at every step).",
    )


def _check_run(run: RunSettings, origin: str) -> None:
    _choice("run.on_nonfinite_loss", run.on_nonfinite_loss, "run.on_nonfinite_loss", origin)
    for name in _AT_LEAST_ONE:
        value = getattr(run, name)
        _require(value >= 1, origin, f"run.{name} is {value}; it must be at least 1.")
    for name in _NOT_NEGATIVE:
        value = getattr(run, name)
        _require(value >= 0 and math.isfinite(value), origin, f"run.{name} is {value}; it must not be negative.")
    ordered = run.min_lr <= run.init_lr < math.inf
    _require(ordered, origin, f"run.min_lr {run.min_lr} must lie between 0 and run.init_lr {run.init_lr}.")


def _require(ok: bool, origin: str, message: str) -> None:
    if not ok:
        raise SettingsError(f"{origin}: {message}")


def _choice(key: str, value: str, name: str, origin: str) -> None:
    choices = ", ".join(choice or "empty" for choice in CHOICES[key])
    _require(value in CHOICES[key], origin, f"{name} is {value!r}; it must be one of {choices}.")
