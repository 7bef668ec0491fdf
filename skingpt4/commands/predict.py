"""`skingpt4 predict INPUT --out FILE`: what a model says about many pictures, as a table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from skingpt4.commands.arguments import add_settings, settings_of_arguments
from skingpt4.errors import SettingsError

if TYPE_CHECKING:
    from skingpt4.prediction.asking import Plan
    from skingpt4.settings import Settings

NO_DIAGNOSES = "none"


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.description = (
        "Ask a model about every picture of a folder, a table, a manifest or shards, and write a row for each: "
        "answers, concepts, ranked diagnoses, seconds, and why a picture could not be read. Killed and called again, "
        "it goes on where it was. `accelerate launch` or `torchrun` share the pictures between processes."
    )
    parser.add_argument(
        "input", type=Path, metavar="INPUT",
        help="a picture, or a folder of pictures; a table (CSV, JSONL, …) with a column `image`; a manifest; a tar "
        "shard, or a folder of them",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, required=True, metavar="OUT",
        help="a .jsonl or .parquet file, or a folder for Parquet files",
    )  # fmt: skip
    parser.add_argument("--images", default="", metavar="ROOT", help="the folder that image names are relative to")
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument(
        "--question", action="append", metavar="TEXT",
        help="ask this about each picture; may be given several times (default: for the disease, and for the concepts)",
    )  # fmt: skip
    asked.add_argument(
        "--clinical", action="store_true", help="ask the paper's four clinical questions, in one conversation"
    )
    parser.add_argument(
        "--diagnoses", default="", metavar="FILE",
        help="rank these: a text file with one diagnosis per line, as the model was taught to name them (default: the "
        "paper's 15 classes, for the model of this package its 38 diseases; none: rank nothing)",
    )  # fmt: skip
    parser.add_argument("--concepts", action="store_true", help="score all 48 concepts too")
    parser.add_argument("--max-new-tokens", type=int, default=300, help="the longest answer, in tokens (default: 300)")
    parser.add_argument(
        "--batch-size",
        type=int,
        default=16,
        metavar="N",
        help="pictures answered side by side (default: 16, at most 64)",
    )
    parser.add_argument("--force", action="store_true", help="begin anew where OUT holds something")
    add_settings(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask, and say how many pictures could not be read; the exit code is 1 where not one could."""
    from skingpt4.chat.notices import notices
    from skingpt4.prediction.run import Job, predict

    settings = settings_of_arguments(arguments)
    plan = _plan(arguments, settings)
    job = Job(settings, arguments.input, arguments.out, plan, arguments.images, arguments.batch_size, arguments.force)
    outcome = predict(job)
    if outcome is None:
        return 0
    for line in notices(settings):
        print(line, file=sys.stderr)
    failed = f"; {outcome.failed:,} could not be read (see `error`)" if outcome.failed else ""
    print(f"Wrote {job.out}: {outcome.asked:,} pictures{failed}.")
    return int(outcome.failed == outcome.asked)


def _plan(arguments: argparse.Namespace, settings: Settings) -> Plan:
    from skingpt4.prediction.asking import Plan
    from skingpt4.vocabulary import CLINICAL_PROMPTS

    asked = CLINICAL_PROMPTS if arguments.clinical else tuple(arguments.question or Plan.questions)
    diagnoses = _read_diagnoses(arguments.diagnoses) if arguments.diagnoses else _taught_diagnoses(settings)
    return Plan(asked, arguments.clinical, diagnoses, arguments.concepts, arguments.max_new_tokens)


def _taught_diagnoses(settings: Settings) -> tuple[str, ...]:
    """What the small model of the package was taught to name; of any other, the paper's classes."""
    from skingpt4.tiny.diseases import DISEASES
    from skingpt4.vocabulary import CLASSES

    embedded = settings.model.llama_model.startswith("embedded/")
    return tuple(disease.name for disease in DISEASES) if embedded else CLASSES


def _read_diagnoses(name: str) -> tuple[str, ...]:
    if name == NO_DIAGNOSES:
        return ()
    try:
        lines = Path(name).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"--diagnoses {name} cannot be read: {error}. A text file (UTF-8) with one diagnosis per line was "
            f"expected, or {NO_DIAGNOSES}."
        ) from error
    found = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not found:
        raise SettingsError(f"--diagnoses {name} holds no diagnosis; write one per line.")
    return found
