"""`skingpt4 evaluate --data DIR`: the figures of a model on a data set, as a report."""

from __future__ import annotations

import argparse
from pathlib import Path

from skingpt4.commands.arguments import add_settings, settings_of_arguments


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.description = (
        "Ask a model about every photograph of a split, score every diagnosis and concept, and write what came out: "
        "metrics.json, report.html with plots and tables beside it, and predictions.parquet. Killed and called again, "
        "it goes on where it was. `accelerate launch` or `torchrun` share the photographs between processes."
    )
    add_settings(parser)
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR",
        help="a folder with a manifest, or a table (CSV, JSONL, …) of image and disease",
    )  # fmt: skip
    parser.add_argument("--images", default="", metavar="ROOT", help="the folder that image names are relative to")
    parser.add_argument(
        "--split",
        metavar="NAME",
        help='measure on this split of the manifest (default: test, if there is one; "": all)',
    )
    parser.add_argument(
        "--fit-on", metavar="NAME", help='fit temperature and thresholds on this split (default: validation; "": none)'
    )
    parser.add_argument(
        "--out", type=Path, default=Path("evaluation"), metavar="DIR", help="the folder to fill (default: evaluation)"
    )
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="sampled answers per case (default: 10)")
    parser.add_argument(
        "--repeat-cases", type=int, default=100, metavar="N", help="ask so many cases again (default: 100)"
    )
    parser.add_argument(
        "--repeat-temperature", type=float, default=1.0, metavar="T", help="of the sampled answers (default: 1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the samples and of the bootstrap")
    parser.add_argument("--compare", type=Path, metavar="OUT", help="paired tests against another evaluation's folder")
    parser.add_argument("--bertscore-model", type=Path, metavar="DIR", help="a folder with an encoder for BERTScore")
    parser.add_argument(
        "--negatives", type=Path, metavar="DIR",
        help="pictures without skin or of poor quality: how well does the photo check find them?",
    )  # fmt: skip
    parser.add_argument("--allow-leaks", action="store_true", help="measure although the model saw some of the cases")
    parser.add_argument("--force", action="store_true", help="begin anew where DIR holds another evaluation")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate; the last line that is printed says how many diagnoses are right."""
    from skingpt4.errors import SettingsError
    from skingpt4.evaluation.run import METRICS, PREDICTIONS, REPORT, Job, evaluate

    if arguments.repeats < 0 or arguments.repeats == 1 or arguments.repeat_cases < 0:
        raise SettingsError(
            f"--repeats {arguments.repeats} --repeat-cases {arguments.repeat_cases}: two or more repeats were expected "
            "(0 = none), and 0 or more cases."
        )
    job = Job(
        settings_of_arguments(arguments), arguments.data, arguments.out, arguments.images, arguments.split,
        arguments.fit_on, arguments.repeats, arguments.repeat_cases, arguments.repeat_temperature, arguments.seed,
        arguments.compare, arguments.bertscore_model, arguments.negatives, arguments.allow_leaks, arguments.force,
    )  # fmt: skip
    said = evaluate(job)
    if said:
        print(f"Wrote {', '.join(str(job.out / name) for name in (REPORT, METRICS, PREDICTIONS))}.")
        print(said)
    return 0
