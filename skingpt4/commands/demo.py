"""`skingpt4 demo`: the local web page."""

from __future__ import annotations

import argparse
import os
import sys

from skingpt4.commands.arguments import add_settings, settings_of_arguments


def add(parser: argparse.ArgumentParser) -> None:
    """The options: which model, where the page listens, and who may use it."""
    add_settings(parser)
    where = parser.add_argument_group("where the page is, and who may use it")
    where.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="default: 127.0.0.1, this computer only; 0.0.0.0: all"
    )
    where.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    who = where.add_mutually_exclusive_group()
    who.add_argument(
        "--auth", metavar="FILE", help="a file with a line user:password for each user (or user:password itself)"
    )
    who.add_argument("--no-auth", action="store_true", help="let everyone who reaches another --host use the page")
    where.add_argument(
        "--root-path", default="", metavar="ADDRESS", help="where a reverse proxy shows it: https://clinic.example/skin"
    )
    where.add_argument("--share", action="store_true", help="publish it on the internet for a while; asks first")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show the page until it is ended, and with it the process."""
    from skingpt4.demo.server.access import access_of
    from skingpt4.demo.server.launch import launch

    access = access_of(
        arguments.host, arguments.port, arguments.share, arguments.auth, arguments.no_auth, arguments.root_path
    )
    code = launch(settings_of_arguments(arguments), access)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Python would free the model part by part first: seconds in which a service's manager waits
