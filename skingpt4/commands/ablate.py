"""`skingpt4 ablate`: what each fine-tuning step is worth, in figures."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from skingpt4.commands.arguments import add_settings, options_of
from skingpt4.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skingpt4.evaluation.cases import Cases
    from skingpt4.settings import Settings
    from skingpt4.tiny.dataset import SetSize

DRAWN_CASES = 400  # held-out drawings: ten models are asked about each, and 15 minutes on 2 cores are to suffice
UNWATCHED = ("run.shown_images=0", "run.trackers=[]")  # nobody looks at the answers of nine short runs as they learn


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add_settings(parser)
    parser.add_argument(
        "--data",
        type=Path,
        help="the held-out cases: a folder with a manifest, or a table of image and disease; needed with --cfg-path",
    )
    parser.add_argument("--images", default="", help="the folder that image names are relative to")
    parser.add_argument("--split", help="of the manifest (default: test, where it has one)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="trainings of every arm (default: 3)")
    parser.add_argument("--out", type=Path, default=Path("ablation"), help="the folder to fill (default: ablation)")
    parser.add_argument(
        "--allow-leaks", action="store_true", help="measure although cases are in the training data; the table says so"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, sets: Mapping[str, SetSize] | None = None) -> int:
    """Train and ask what is not done yet, then write and print the tables.

    sets: how many photographs to draw, without --cfg-path. Raises `SettingsError` and `DataError` as
    `evaluation.ablation.arms.ablate`.
    """
    if arguments.seeds < 1:
        raise SettingsError(f"--seeds is {arguments.seeds}; 1 or more trainings of every arm were expected.")
    from accelerate import PartialState

    from skingpt4.evaluation.ablation.arms import ablate
    from skingpt4.evaluation.ablation.figures import compare
    from skingpt4.evaluation.ablation.report import write_report

    started = time.perf_counter()
    steps, cases, what = _given(arguments) if arguments.cfg_path else _drawn(arguments, sets or _sets())
    seeds = [steps[0].run.seed + number for number in range(arguments.seeds)]
    found = ablate(steps, cases, seeds, arguments.out, arguments.allow_leaks)
    processes = PartialState()
    if processes.is_main_process:
        print("Comparing: 1,000 resamples of the cases for each figure …", flush=True)
        seconds = time.perf_counter() - started
        text = write_report(compare(found), found.seeds, found.remarks, what, arguments.out, seconds)
        print(
            f"\n{text}\nDone in {time.perf_counter() - started:.0f} s. Tables and picture: {arguments.out}/ablation.*"
        )
    processes.destroy_process_group()
    return 0


def _given(arguments: argparse.Namespace) -> tuple[list[Settings], Cases, str]:
    from skingpt4.config import load_settings
    from skingpt4.evaluation.cases import read_cases

    if not arguments.data:
        raise SettingsError("--cfg-path needs --data as well: the held-out cases that all arms are asked about.")
    steps = load_settings(arguments.cfg_path, options_of(arguments))
    cases = read_cases(arguments.data, arguments.images, arguments.split)
    return steps, cases, f"{arguments.cfg_path}, asked about {len(cases.test):,} cases of {arguments.data}."


def _sets() -> dict[str, SetSize]:
    from skingpt4.tiny.dataset import SETS

    chosen = {name: SETS[name] for name in ("step1", "step2", "validation")}
    return chosen | {"test": replace(SETS["test"], diseases=DRAWN_CASES)}


def _drawn(arguments: argparse.Namespace, sets: Mapping[str, SetSize]) -> tuple[list[Settings], Cases, str]:
    from skingpt4.evaluation.cases import Cases
    from skingpt4.tiny.page import HONESTY
    from skingpt4.tiny.quickstart import draw_sets, drawn_records, drawn_steps
    from skingpt4.training.devices import build_accelerator

    if arguments.data:
        raise SettingsError("--data needs --cfg-path as well: the two training steps to compare on these cases.")
    steps = drawn_steps(arguments.out, [*UNWATCHED, *options_of(arguments)])
    with build_accelerator(steps[0]).main_process_first():  # the others find the drawings there
        draw_sets(arguments.out, sets)
    test, fit = (drawn_records(arguments.out / "data" / name) for name in ("test", "validation"))
    diseases = tuple(sorted({record.disease for record in (*test, *fit)}))
    what = f"The embedded default, asked about {len(test):,} held-out drawn photographs. {HONESTY}"
    return steps, Cases(test, fit, diseases), what
