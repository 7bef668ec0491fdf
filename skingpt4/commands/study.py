"""`skingpt4 study new | collect | report`: a clinical study of the answers, offline."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from skingpt4.commands.arguments import (
    add_sampling,
    add_settings,
    options_of,
    sampling_of_arguments,
    settings_of_arguments,
)
from skingpt4.errors import SettingsError, SkinGPTError

if TYPE_CHECKING:
    from skingpt4.data.records import SourceReport
    from skingpt4.settings import Settings
    from skingpt4.study.new import Arm

MODEL = "model"  # the arm of --cfg-path
STRATA = ("class", "disease", "skin-type", "sex", "site", "source")  # as `study.sampling.STRATA`, heavy to import
_TEXT_SUFFIXES = (".csv", ".tsv", ".xlsx", ".xlsm", ".jsonl", ".ndjson", ".parquet")


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of the three commands."""
    parser.description = (
        "What the paper did on 150 cases, for anyone to do: draw cases, let raters judge blinded texts on their own "
        "computers, and count."
    )
    steps = parser.add_subparsers(title="steps", metavar="STEP", required=True)
    _add_new(steps.add_parser("new", help="draw cases, ask the model, write a form for each rater"))
    collect = steps.add_parser("collect", help="check and merge the files that the raters sent")
    collect.add_argument("dir", type=Path, metavar="DIR", help="the study's folder")
    collect.add_argument("files", type=Path, nargs="+", metavar="FILE", help="raters' files, or folders of them")
    collect.set_defaults(run=run_collect)
    report = steps.add_parser("report", help="the figures, as a page, pictures and tables")
    report.add_argument("dir", type=Path, metavar="DIR", help="the study's folder")
    report.set_defaults(run=run_report)


def _add_new(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="a folder with a manifest, or a table (CSV, JSONL) of image and disease",
    )
    parser.add_argument(
        "--split", metavar="NAME", help='of the manifest (default: test, if there is one; "": all of it)'
    )
    parser.add_argument("--images", default="", help="the folder that image names are relative to")
    parser.add_argument("--out", type=Path, default=Path("study"), metavar="DIR", help="default: study")
    parser.add_argument("--title", default="Judging texts about photographs of skin", help="stands above the form")
    parser.add_argument("--by", nargs="*", choices=STRATA, default=["class"], help="draw from each (default: class)")
    parser.add_argument("--each", type=int, default=10, metavar="N", help="cases of each (default: 10)")
    parser.add_argument("--balance", choices=STRATA, default="", help="of these, take turns inside each")
    parser.add_argument("--raters", type=int, default=3, metavar="N", help="dermatologists: seven items (default: 3)")
    parser.add_argument("--lay-raters", type=int, default=0, metavar="N", help="lay users: items 3 and 5 (default: 0)")
    parser.add_argument(
        "--arm",
        action="append",
        default=[],
        metavar="NAME=SOURCE",
        help="a second arm beside the model: a YAML file or checkpoint of another model, or a table (CSV, XLSX) of "
        "image and text, e.g. dermatologist=texts.csv",
    )
    parser.add_argument("--allow-leaks", action="store_true", help="draw from photographs that a model was trained on")
    add_settings(parser)
    add_sampling(parser)
    parser.set_defaults(run=run_new)


def run_new(arguments: argparse.Namespace) -> int:
    """Draw, ask, write the forms; run again with the same options it goes on where it was stopped."""
    from skingpt4.study.folder import Folder
    from skingpt4.study.new import Design, new_study

    sampling = sampling_of_arguments(arguments)
    arms, models = _arms(arguments)
    source = _source(arguments)
    remarks = _leaks(source, models, arguments.allow_leaks)
    design = Design(
        arguments.title,
        tuple(arguments.by),
        arguments.each,
        arguments.balance,
        arguments.seed,
        max(0, arguments.raters),
        max(0, arguments.lay_raters),
    )
    study = new_study(source.records, source.folder, arms, design, arguments.out, sampling, remarks)
    for line in remarks:
        print(line, file=sys.stderr)
    for line in study.short:
        print(f"Fewer than wanted: {line}", file=sys.stderr)
    print(f"{len(study.cases)} cases, {len(study.texts)} texts to judge, {len(study.raters)} raters.")
    print(
        f"In {Folder(arguments.out).forms}, for each rater a web page, or the same as XLSX, or CSV with the pictures:"
    )
    print(f"  {', '.join(f'rater-{rater.id}.html' for rater in study.raters)}")
    print(f"Keep {arguments.out / 'leader'} to yourself: it says who wrote which text. When the files are back:")
    print(f"  skingpt4 study collect {arguments.out} FILE…")
    return 0


def run_collect(arguments: argparse.Namespace) -> int:
    """Every problem is told, everything good is kept; the exit code is 2 where there was a problem."""
    from skingpt4.study.collect import collect, find_files, write_collected
    from skingpt4.study.folder import Folder

    folder = Folder(arguments.dir)
    study = folder.read()
    found = collect(study, find_files(arguments.files))
    ratings, problems = write_collected(folder, study, found)
    for problem in found.problems:
        print(problem, file=sys.stderr)
    whom = len({rating.rater for rating in found.ratings})
    print(f"{len(found.ratings)} judgements of {whom} of {len(study.raters)} raters were kept in {ratings}.")
    if found.problems:
        print(f"{len(found.problems)} problems are listed in {problems}.", file=sys.stderr)
    print(f"The figures:\n  skingpt4 study report {arguments.dir}")
    return SkinGPTError.exit_code if found.problems else 0


def run_report(arguments: argparse.Namespace) -> int:
    """Write the report and print the shares that agree."""
    from skingpt4.commands.tables import print_table
    from skingpt4.study.figures import topic_of
    from skingpt4.study.report import write_report
    from skingpt4.study.tables import share

    figures, page = write_report(arguments.dir)
    rows = [(topic_of(each.item), each.group, each.arm, *map(str, each.counts), share(each)) for each in figures.items]
    print_table(("item", "raters", "texts", "1", "2", "3", "4", "5", "agree (95 % interval)"), rows, texts=(0, 1, 2))
    print(f"\nPage, pictures and tables: {page}")
    return 0


def _arms(arguments: argparse.Namespace) -> tuple[list[Arm], list[Settings]]:
    """The arms, and the settings of those that are models."""
    from skingpt4.chat.load import load_chat
    from skingpt4.chat.notices import notices
    from skingpt4.study.new import Arm
    from skingpt4.study.texts import read_texts
    from skingpt4.weights.build import settings_of

    settings = settings_of_arguments(arguments)
    for line in notices(settings):
        print(line, file=sys.stderr)
    source = " ".join([arguments.cfg_path or "embedded", *arguments.options])
    arms, models = [Arm(MODEL, source, load=partial(load_chat, settings))], [settings]
    for given in arguments.arm:
        name, equals, place = given.partition("=")
        name = name.strip()
        if not (name and equals and place) or name in [arm.name for arm in arms]:
            raise SettingsError(
                f"--arm {given!r}: a new name and what the texts come from were expected, e.g. dermatologist=texts.csv "
                f"(the name {MODEL!r} is that of --cfg-path)."
            )
        if Path(place).suffix.lower() in _TEXT_SUFFIXES:
            arms.append(Arm(name, place, texts=read_texts(Path(place), name)))
        else:
            device = [option for option in options_of(arguments) if option.startswith("run.device=")]
            models.append(settings_of(place, device))
            arms.append(Arm(name, place, load=partial(load_chat, models[-1])))
    return arms, models


def _source(arguments: argparse.Namespace) -> SourceReport:
    from skingpt4.config import resolve_path
    from skingpt4.data.loading import read_source
    from skingpt4.data.manifest import PARQUET, open_manifest
    from skingpt4.data.records import existing_folder
    from skingpt4.evaluation.cases import TEST
    from skingpt4.settings import SourceSettings

    data: Path = arguments.data
    is_manifest = data.is_dir() or data.suffix == PARQUET
    if arguments.split and not is_manifest:
        raise SettingsError(f"{data} is a table and has no splits; a folder of `skingpt4 data split` has them.")
    kind, split = "manifest" if is_manifest else "table", arguments.split
    if split is None:
        root = existing_folder(resolve_path(arguments.images), "the images' root") if arguments.images else None
        split = TEST if is_manifest and TEST in open_manifest(data, root).column("split") else ""
    source = SourceSettings(source=kind, path=str(data), images=arguments.images, split=split)
    return read_source(source, on_bad_image="error", seed=0)


def _leaks(source: SourceReport, models: Sequence[Settings], allow: bool) -> list[str]:
    """Raise `DataError` where a model was trained on photographs that may be drawn, unless `allow`; returns remarks."""
    from skingpt4.evaluation.cases import Cases, refuse_leaks

    cases = Cases(source.records, (), ())
    return list(dict.fromkeys(line for model in models for line in refuse_leaks(cases, model, allow)))
