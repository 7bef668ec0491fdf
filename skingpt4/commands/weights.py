"""`skingpt4 weights list | download | use`: which weight files there are, which are here, and getting the others."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from skingpt4.commands.arguments import options_of
from skingpt4.errors import SettingsError

if TYPE_CHECKING:
    from skingpt4.weights.catalogue import Published


def add(parser: argparse.ArgumentParser) -> None:
    """Three commands of their own."""
    kinds = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    listing = kinds.add_parser(
        "list", help="what is published; with --cfg-path: what a settings file needs, and where it is"
    )
    download = kinds.add_parser("download", help="fetch files; a call that was interrupted is continued")
    use = kinds.add_parser("use", help="say once where the weights are; no settings file needs a change")
    for kind in (listing, download):
        kind.add_argument("--cfg-path", metavar="FILE", help="a YAML file: what it needs")
        kind.add_argument("--options", nargs="*", default=[], metavar="KEY=VALUE", help="settings laid over the file")
        kind.set_defaults(device=None, gpu_id=None)
    download.add_argument(
        "names", nargs="*", metavar="NAME", help="names of `weights list`, or a decoder as OWNER/NAME"
    )
    download.add_argument(
        "--to", type=Path, default=Path("weights"), metavar="DIR", help="the folder (default: weights)"
    )
    use.add_argument(
        "folders", nargs="*", type=Path, metavar="DIR", help="folders to look in; none: print those in use"
    )
    listing.set_defaults(run=_list)
    download.set_defaults(run=_download)
    use.set_defaults(run=_use)


def _list(arguments: argparse.Namespace) -> int:
    from skingpt4.commands.tables import print_table
    from skingpt4.weights.catalogue import PUBLISHED, table_of

    if arguments.cfg_path is None:
        if arguments.options:
            raise SettingsError("--options are laid over a settings file: give it as --cfg-path FILE.")
        print_table(
            ("name", "what it is", "size", "licence", "fits", "from"), table_of([*PUBLISHED.values()]), (0, 1, 3, 4, 5)
        )
        return 0
    rows = [(f"model.{key}", value or "(not set)", *_state(key, value)) for key, value in _needed(arguments).items()]
    print_table(("setting", "value", "", "where, or how to get it"), rows, (0, 1, 2, 3))
    return 0


def _state(key: str, value: str) -> tuple[str, str]:
    from skingpt4.weights.catalogue import advice
    from skingpt4.weights.files import weights_path

    path = weights_path(value)
    return ("there", str(path)) if value and path.exists() else ("missing", advice(key, value))


def _needed(arguments: argparse.Namespace) -> dict[str, str]:
    from skingpt4.doctor.examine import settings_to_examine
    from skingpt4.weights.catalogue import needed_to_talk

    return needed_to_talk(settings_to_examine(arguments.cfg_path, options_of(arguments)).model)


def _download(arguments: argparse.Namespace) -> int:
    from skingpt4.weights.files import weights_path
    from skingpt4.weights.hub import download

    wanted, unknown = _wanted(arguments)
    for published in wanted.values():
        about = (
            f"{published.name}: {published.what} ({published.size}). Licence: {published.licence}. {published.remark}"
        )
        print(about.rstrip(), flush=True)
        print(f"  in {download(published, arguments.to)}", flush=True)
    for line in unknown:
        print(line)
    if not wanted and not unknown:
        print("Everything is there.")
    if not all(weights_path(value).exists() for value in wanted):
        print(f"Settings find it there after: skingpt4 weights use {arguments.to}")
    return 1 if unknown else 0


def _wanted(arguments: argparse.Namespace) -> tuple[dict[str, Published], list[str]]:
    """What to fetch, by what settings call it, and a line for everything that a settings file needs and that is
    published nowhere.
    """
    from skingpt4.weights.catalogue import PUBLISHED, named, published_as
    from skingpt4.weights.files import DEFAULT_FOLDER

    if not arguments.names and arguments.cfg_path is None:
        raise SettingsError(
            "Say what to fetch: a settings file (--cfg-path FILE), or names of `skingpt4 weights list`."
        )
    wanted: dict[str, Published] = {}
    unknown = []
    for name in arguments.names:
        published = named(name)
        if published is None:
            raise SettingsError(
                f"{name!r} is not published. Known: {', '.join(PUBLISHED)}; or a decoder as OWNER/NAME."
            )
        wanted[str(DEFAULT_FOLDER / published.name)] = published
    for key, value in _needed(arguments).items() if arguments.cfg_path is not None else ():
        state, how = _state(key, value)
        published = named(value) if key == "llama_model" else published_as(value)
        if state == "missing" and published is None:
            unknown.append(f"model.{key}: {value or '(not set)'} is in no table of published files. It is {how}.")
        elif state == "missing" and published is not None:
            wanted[value] = published
    return wanted, unknown


def _use(arguments: argparse.Namespace) -> int:
    from skingpt4.user_settings import use_weights, user_settings_file, weights_folders
    from skingpt4.weights.catalogue import PUBLISHED

    file = use_weights(arguments.folders) if arguments.folders else user_settings_file()
    folders = weights_folders()
    print(f"{file}: {', '.join(map(str, folders)) or 'names no folder'}")
    for folder in folders:
        found = [name for name in PUBLISHED if (folder / name).exists()]
        print(f"  {folder} has {', '.join(found) or 'none of the published files'}")
    return 0
