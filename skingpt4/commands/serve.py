"""`skingpt4 serve`: the model for other programs, over HTTP."""

from __future__ import annotations

import argparse
import os

from skingpt4.commands.arguments import add_settings, settings_of_arguments
from skingpt4.errors import SettingsError


def add(parser: argparse.ArgumentParser) -> None:
    """The options: which model, where it listens, and how much it takes on at one time."""
    add_settings(parser)
    where = parser.add_argument_group("where it listens, and how much it takes on")
    where.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="default: 127.0.0.1, this computer only; any other needs a key in SKINGPT4_API_KEY",
    )
    where.add_argument("--port", type=int, default=8000, help="default: 8000; 0: any free one")
    where.add_argument("--model-name", default="skingpt4", metavar="NAME", help="what programs call the model")
    where.add_argument(
        "--batch-size", type=int, default=16, metavar="N", help="answers that are made together (default: 16)"
    )
    where.add_argument(
        "--queue", type=int, default=64, metavar="N", help="requests that may wait; more are sent away (default: 64)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until it is ended."""
    from skingpt4.serving.launch import KEY, address_of, serve

    for name, value in (("--batch-size", arguments.batch_size), ("--queue", arguments.queue)):
        if value < 1:
            raise SettingsError(f"{name} is {value}; it must be at least 1.")
    key = os.environ.get(KEY, "").strip()
    at = address_of(arguments.host, arguments.port, key)
    settings = settings_of_arguments(arguments)
    return serve(settings, at, key, arguments.model_name, arguments.batch_size, arguments.queue)
