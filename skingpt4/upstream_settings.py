"""MiniGPT-4's and the first SkinGPT-4's YAML files, read as they are.

Keys that mean the same keep their name (see `config`). Here: those that are spelt otherwise, those with only one value
that makes sense, and the `datasets` block.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skingpt4.errors import SettingsError

ARCHITECTURES = ("skingpt4", "skin_gpt4", "mini_gpt4", "minigpt4")

# Upstream keys that decide nothing here -> the values that we can honour (None: any).
ONE_MEANING: dict[str, tuple[Any, ...] | None] = {
    "model.model_type": None,  # picked one of upstream's default files; says which chat template (below), no more
    "model.drop_path_rate": (0, 0.0),  # a frozen encoder drops nothing
    "model.use_grad_checkpoint": None,  # no gradient flows through the frozen encoder
    "model.prompt": ("",),
    "model.has_qformer": (True,),
    "run.task": ("image_text_pretrain",),
    "run.lr_sched": ("linear_warmup_cosine_lr",),
    "run.evaluate": (False,),
    "run.train_splits": (["train"],),
    "run.valid_splits": None,
    "run.world_size": None,  # the launcher (accelerate, torchrun) decides these three
    "run.dist_url": None,
    "run.distributed": None,
}

SECTIONS = ("model", "data", "run")

RENAMED = {"model.llm_model": "llama_model", "run.warmup_start_lr": "warmup_lr"}

DATASETS = ("cc_sbu_align", "skin_align", "skin_concept")  # each a folder of filter_cap.json and image/


def translate_upstream(values: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Plain values of a YAML file with upstream's spellings replaced by ours.

    Raises `SettingsError` where a value asks for something that this package does not do.
    """
    result = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    for section in SECTIONS:  # a section without a line in it
        if section in result and result[section] is None:
            result[section] = {}
    _translate_model(result, origin)
    for dotted, allowed in ONE_MEANING.items():
        section, key = dotted.split(".")
        if key in _section(result, section):
            value = result[section].pop(key)
            if allowed is not None and value not in allowed:
                supported = " or ".join(map(repr, allowed))
                raise SettingsError(f"{origin}: {dotted} is {value!r}; only {supported} is supported.")
    for dotted, name in RENAMED.items():
        section, key = dotted.split(".")
        if key in _section(result, section):
            if name in result[section]:
                raise SettingsError(f"{origin}: {dotted} and {section}.{name} are the same setting; give one of them.")
            result[section][name] = result[section].pop(key)
    _translate_run(result)
    _translate_datasets(result, origin)
    return result


def _section(values: dict[str, Any], name: str) -> dict[str, Any]:
    section = values.get(name)
    return section if isinstance(section, dict) else {}


def _translate_model(values: dict[str, Any], origin: str) -> None:
    model = _section(values, "model")
    if "arch" in model:
        if model["arch"] not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise SettingsError(f"{origin}: model.arch is {model['arch']!r}; it must be one of {known}.")
        model["arch"] = "skingpt4"
    # MiniGPT-4's demo picks the conversation by the model type (`conv_dict`); its Llama-2 files end answers with </s>.
    if str(model.get("model_type", "")).startswith("pretrain_llama2") and model.get("end_sym") == "</s>":
        model.setdefault("chat_template", "llama2")
    for key in ("prompt_path", "ckpt", "vit_weights"):  # `null` means "none"
        if key in model and model[key] is None:
            model[key] = ""


def _translate_run(values: dict[str, Any]) -> None:
    run = _section(values, "run")
    if "amp" in run and not run.pop("amp"):  # upstream's mixed precision; without it everything is float32
        values.setdefault("model", {}).setdefault("precision", "fp32")
    for key in ("resume_ckpt_path", "iters_per_epoch", "max_grad_norm"):
        if key in run and run[key] is None:
            del run[key]


def _translate_datasets(values: dict[str, Any], origin: str) -> None:
    """`datasets.cc_sbu_align.{vis_processor, text_processor, build_info}` -> `data.train` and `model.image_size`."""
    values.pop("preprocess", None)  # upstream's defaults for the block below
    datasets = values.pop("datasets", None)
    if datasets is None:
        return
    if not isinstance(datasets, Mapping):
        raise SettingsError(f"{origin}: `datasets` must hold one of {', '.join(DATASETS)}; new files use `data`.")
    sources = []
    for name, block in datasets.items():
        if name not in DATASETS:
            known = ", ".join(DATASETS)
            raise SettingsError(f"{origin}: datasets.{name} is unknown; upstream's are {known}. New files use `data`.")
        processor = _inner(_inner(block, "vis_processor"), "train")
        if "image_size" in processor:
            values.setdefault("model", {}).setdefault("image_size", processor["image_size"])
        if processor.get("name") == "blip2_image_eval":
            values.setdefault("data", {}).setdefault("random_crop", False)
        storage = _inner(block, "build_info").get("storage")
        if storage:
            sources.append({"source": "minigpt4", "path": str(storage)})
    if sources:
        values.setdefault("data", {}).setdefault("train", sources)


def _inner(block: Any, key: str) -> Mapping[str, Any]:
    """A block inside a block of upstream's; empty where either is absent."""
    inner = block.get(key) if isinstance(block, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}
