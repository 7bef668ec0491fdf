"""The command line: parse, load, call. Every command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from skingpt4.commands.arguments import (
    add_sampling,
    add_settings,
    options_of,
    sampling_of_arguments,
    settings_of_arguments,
)
from skingpt4.errors import SkinGPTError

# Each is a module `commands.NAME`.
COMMANDS = {
    "runs": "compare training runs in a table",
    "export": "a model for other programs: transformers, MiniGPT-4, llama.cpp",
    "report": "a report about a photograph: HTML, PDF, Markdown, JSON, FHIR",
    "demo": "the local web page",
    "serve": "the model for other programs, over HTTP, in the manner of OpenAI's interface",
    "predict": "what a model says about many pictures, as JSONL or Parquet",
    "evaluate": "what a model gets right on a data set, in figures with intervals, tables and plots",
    "ablate": "what each fine-tuning step is worth: all four models trained and compared",
    "study": "a clinical study: blinded forms for raters, their answers collected, a report",
    "weights": "which weight files there are, which are here, and getting the others",
    "doctor": "what is wrong with this installation or these weights, and what to do",
}
# Each is a module `commands.data_NAME`.
DATA_COMMANDS = {
    "build": "a source (SKINCON, Dermnet, notes, ...) -> a manifest",
    "check": "look at every photograph: unreadable, blurred, duplicates; or leaks between two manifests",
    "split": "training, validation and test parts without leaks, with equal shares of labels",
    "summary": "what a manifest holds, in numbers",
    "card": "what a manifest holds, as a page with plots and thumbnails",
    "pack": "photographs and manifest -> tar shards for clusters and object stores",
    "stand-ins": "SKINCON annotations -> one drawn photograph per row, under the row's file name",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. An error that the user can mend is one message on stderr and exit code
    2; a training that a signal asked to stop ends with 75.
    """
    # Where torchao is installed, transformers imports it, and torch warns of its own plans.
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except SkinGPTError as error:
        print(f"skingpt4: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\nskingpt4: stopped.", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    from skingpt4 import __version__

    parser = argparse.ArgumentParser(
        prog="skingpt4", description="Interactive dermatology with a visual language model. Not a doctor."
    )
    parser.add_argument("--version", action="version", version=f"skingpt4 {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_quickstart(
        commands.add_parser("quickstart", help="the main job on the small model of this package: train, compare, show")
    )
    _add_train(commands.add_parser("train", help="run the fine-tuning steps of a YAML file"))
    _add_chat(commands.add_parser("chat", help="a conversation about a photograph, in the terminal"))
    _add_data(commands.add_parser("data", help="prepare training data"))
    for name, summary in COMMANDS.items():
        importlib.import_module(f"skingpt4.commands.{name}").add(commands.add_parser(name, help=summary))
    _add_verify(commands.add_parser("verify", help="compare with the original's numbers in a reference directory"))
    return parser


def _add_quickstart(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("quickstart"), help="the folder to fill (default: quickstart)")
    parser.add_argument("--force", action="store_true", help="replace what an earlier quickstart left there")

    def run(arguments: argparse.Namespace) -> int:
        from skingpt4.tiny.quickstart import quickstart

        return quickstart(arguments.out, arguments.force)

    parser.set_defaults(run=run)


def _add_train(parser: argparse.ArgumentParser) -> None:
    add_settings(parser, required=True)
    parser.add_argument("--resume", action="store_true", help="go on where the run in run.output_dir stands")
    parser.add_argument("--estimate", action="store_true", help="print the memory that the run needs; train nothing")
    parser.add_argument("--device-memory", default="", metavar="32GB", help="estimate for a GPU of this size")
    parser.set_defaults(run=_run_train)


def _run_train(arguments: argparse.Namespace) -> int:
    from accelerate import PartialState

    from skingpt4.config import load_settings

    steps = load_settings(arguments.cfg_path, options_of(arguments))
    if arguments.estimate or arguments.device_memory:
        from skingpt4.training.estimate import print_estimates

        return 0 if print_estimates(steps, arguments.device_memory) else 1
    from skingpt4.training.runner import train

    folder = train(steps, arguments.resume)
    processes = PartialState()
    processes.print(f"Done. Talk to it:\n  skingpt4 chat --cfg-path {folder} --image PHOTO")
    processes.destroy_process_group()
    return 0


def _add_chat(parser: argparse.ArgumentParser) -> None:
    add_settings(parser)
    add_sampling(parser)
    parser.add_argument("--image", help="a photograph; without it the conversation asks for one")
    parser.add_argument("--question", action="append", help="ask this and end; may be given several times")

    def run(arguments: argparse.Namespace) -> int:
        from skingpt4.commands import terminal

        return terminal.run(
            settings_of_arguments(arguments), arguments.image, arguments.question, sampling_of_arguments(arguments)
        )

    parser.set_defaults(run=run)


def _add_data(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(title="kinds", metavar="KIND", required=True)
    for name, summary in DATA_COMMANDS.items():
        module = importlib.import_module(f"skingpt4.commands.data_{name.replace('-', '_')}")
        module.add(kinds.add_parser(name, help=summary))


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "directory", type=Path, help="a folder with expected.json, expected.safetensors and small checkpoints"
    )
    parser.set_defaults(run=_run_verify)


def _run_verify(arguments: argparse.Namespace) -> int:
    from skingpt4.verify import verify

    failed = 0
    print(f"{'stage':44} {'difference':>12} {'limit':>8}")
    for check in verify(arguments.directory):
        limit = f"{check.limit:.0e}" if check.limit else "exact"
        outcome = "ok" if check.passed else "FAILED"
        print(f"{check.stage:44} {check.difference:12.2e} {limit:>8}  {outcome}", flush=True)
        failed += not check.passed
    print("All stages agree with the original." if not failed else f"{failed} stage(s) differ from the original.")
    return 1 if failed else 0
