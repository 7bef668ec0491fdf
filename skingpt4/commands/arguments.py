"""Options that several commands share: which model, on which device, and how its words are picked."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skingpt4.engines.sampling import Sampling
    from skingpt4.settings import Settings


def add_settings(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """`--cfg-path`, `--options`, `--device`, `--gpu-id`, `--engine` and what it needs."""
    what = (
        "a YAML file"
        if required
        else "a YAML file, or a checkpoint's folder; without it the small model of this package"
    )
    parser.add_argument("--cfg-path", metavar="FILE", required=required, help=what)
    parser.add_argument(
        "--options",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="settings laid over the file, e.g. run.init_lr=1e-3",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    where.add_argument("--gpu-id", type=int, metavar="N", help="the GPU to use, counted from 0; as --device cuda:N")
    if not required:  # training needs the decoder as a module
        parser.add_argument("--engine", help="who runs the decoder: transformers (default), llamacpp or vllm")
        parser.add_argument("--gguf", metavar="FILE", help="the decoder as a GGUF file, for --engine llamacpp")
        parser.add_argument("--engine-url", metavar="URL", help="a vLLM server, for --engine vllm")


def options_of(arguments: argparse.Namespace) -> list[str]:
    """`--options`, and device and engine as some of them."""
    device = arguments.device or (f"cuda:{arguments.gpu_id}" if arguments.gpu_id is not None else None)
    engine = [
        f"model.{name}={value}"
        for name in ("engine", "gguf", "engine_url")
        if (value := getattr(arguments, name, None))
    ]
    return [*arguments.options, *engine, *([f"run.device={device}"] if device else [])]


def settings_of_arguments(arguments: argparse.Namespace) -> Settings:
    """The settings of the model to load. Raises `SettingsError`."""
    from skingpt4.weights.build import settings_of

    return settings_of(arguments.cfg_path, options_of(arguments))


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """How an answer's words are picked."""
    parser.add_argument("--temperature", type=float, default=0.0, help="0 = always the likeliest word (default)")
    parser.add_argument("--top-p", type=float, default=1.0, help="below 1: only the likeliest words (default: 1)")
    parser.add_argument("--max-new-tokens", type=int, default=300, help="the longest answer, in tokens (default: 300)")
    parser.add_argument(
        "--repetition-penalty", type=float, default=1.0, help="above 1: fewer words that were said before (default: 1)"
    )
    parser.add_argument("--num-beams", type=int, default=1, help="above 1: beam search; the answer comes whole")
    parser.add_argument("--seed", type=int, default=0, help="makes a temperature above 0 repeatable")


def sampling_of_arguments(arguments: argparse.Namespace) -> Sampling:
    """Raises `SettingsError` for values out of range."""
    from skingpt4.engines.sampling import Sampling

    return Sampling(
        arguments.max_new_tokens,
        arguments.temperature,
        arguments.top_p,
        arguments.repetition_penalty,
        arguments.seed,
        arguments.num_beams,
    )
