"""`skingpt4 report IMAGE…`: a report about each photograph, in the formats wanted."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from skingpt4.commands.arguments import add_sampling, add_settings, sampling_of_arguments, settings_of_arguments
from skingpt4.errors import SettingsError, SkinGPTError

if TYPE_CHECKING:
    from rich.progress import Progress

    from skingpt4.chat.conversation import Chat
    from skingpt4.engines.sampling import Sampling
    from skingpt4.report.content import Report
    from skingpt4.report.red_flags import Rule
    from skingpt4.settings import Settings

FORMATS = ("html", "pdf", "md", "json", "fhir")  # as `report.files.FORMATS`, which is heavy to import
PROBE_BYTES = 1 << 20  # about a report with its pictures
# What a system says about a place that cannot be written to, in words that say what to do.
_REASONS = {
    errno.EEXIST: "is there, but is a file and no folder",
    errno.ENOTDIR: "lies below something that is a file and no folder",
    errno.EISDIR: "is there, but is a folder",
    errno.EACCES: "may not be written to by you",
    errno.EPERM: "may not be written to by you",
    errno.EROFS: "is on a disk that can only be read",
    errno.ENOSPC: "is on a disk that is full; make room there",
    errno.EDQUOT: "is on a disk where your share is used up; make room there",
    errno.ENAMETOOLONG: "is too long a name",
}


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="a photograph; the report about arm.jpg is called arm-report"
    )
    parser.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="the folder to write to, made if absent (default: here)"
    )
    parser.add_argument(
        "--format",
        default="html",
        metavar="LIST",
        help="html (web page), pdf, md (text with Markdown), json (data), fhir (medical record); several with commas, "
        "e.g. html,pdf (default: html)",
    )
    parser.add_argument(
        "--red-flags", type=Path, metavar="FILE", help="a YAML file: your signs that need a doctor, instead of ours"
    )
    parser.add_argument("--force", action="store_true", help="replace reports that are there (default: leave them)")
    add_settings(parser)
    add_sampling(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the reports. What is wrong with one photograph is told, and the others are made; the exit code is 2 then."""
    formats = _formats(arguments.format)
    _check_folder(arguments.out)
    sampling, settings = sampling_of_arguments(arguments), settings_of_arguments(arguments)
    flags = None
    if arguments.red_flags:
        from skingpt4.report.red_flags import load_red_flags

        flags = load_red_flags(arguments.red_flags)
    jobs = plan(arguments.images, arguments.out, formats)
    good = [job for job in jobs if _can_be_made(job, arguments.force)]  # told before minutes of loading
    made = _make(good, settings, sampling, flags) if good else 0
    if made < len(jobs):
        print(f"{made} of {len(jobs)} reports were made.", file=sys.stderr)
    return 0 if made == len(jobs) else SkinGPTError.exit_code


@dataclass(frozen=True)
class Job:
    """files: format -> the file to write."""

    image: str
    files: dict[str, Path]


def plan(images: Sequence[str], out: Path, formats: Sequence[str]) -> list[Job]:
    """Which files each photograph's report goes to; photographs of one name are numbered."""
    from skingpt4.report import files

    taken: set[str] = set()
    jobs = []
    for image in images:
        stem, number = Path(image).stem, 1
        while (name := f"{stem}-{number}" if number > 1 else stem) in taken:
            number += 1
        taken.add(name)
        jobs.append(Job(image, {each: out / f"{name}-report{files.FORMATS[each].suffix}" for each in formats}))
    return jobs


def _formats(text: str) -> list[str]:
    wanted = list(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    unknown = [name for name in wanted if name not in FORMATS]
    if unknown or not wanted:
        raise SettingsError(f"--format {text!r}: one or several of {', '.join(FORMATS)} were expected, with commas.")
    return wanted


def _check_folder(out: Path) -> None:
    """Make the folder and try to write there, so that minutes of work are not lost at their end."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as probe:
            probe.write(bytes(PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())  # some disks say only now that they are full
    except OSError as error:
        raise SettingsError(
            f"--out: {out} {_reason(error)}. A folder that reports can be written to was expected; "
            "mend that, or name another folder with --out."
        ) from error


def _reason(error: OSError) -> str:
    """What is wrong with a place, to follow its name."""
    return _REASONS.get(error.errno or 0, f"cannot be written to ({error.strerror or error})")


def _can_be_made(job: Job, force: bool) -> bool:
    from skingpt4.images import open_image

    for file in job.files.values():
        try:
            if file.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if file.exists() and not force:
                _tell(job, f"{file} is there already; give --force to replace it, or another --out.")
                return False
        except OSError as error:  # also a name that is too long with what we add to it
            _tell(job, f"{file} {_reason(error)}; the report would be written there.")
            return False
    try:
        open_image(job.image)
    except SkinGPTError as error:
        _tell(job, str(error))
        return False
    return True


def _make(jobs: Sequence[Job], settings: Settings, sampling: Sampling, flags: Sequence[Rule] | None) -> int:
    """Returns how many were made."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from skingpt4.chat.load import load_chat
    from skingpt4.chat.notices import notices

    for line in notices(settings):
        print(line, file=sys.stderr)
    chat = load_chat(settings)
    made = 0
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        for job in jobs:
            try:
                report = _with_bar(bar, job, chat, settings, sampling, flags)
                _write(job, report)
                made += 1
            except (SkinGPTError, OSError) as error:
                _tell(job, str(error))
    return made


def _with_bar(
    bar: Progress, job: Job, chat: Chat, settings: Settings, sampling: Sampling, flags: Sequence[Rule] | None
) -> Report:
    from skingpt4.images import open_image
    from skingpt4.report.make import report_steps

    task = bar.add_task(job.image)
    report = None
    for step in report_steps(chat, open_image(job.image), settings, sampling, flags=flags):
        bar.update(task, total=step.sections, completed=step.section - 1, description=f"{job.image}: {step}")
        report = step.report
    bar.remove_task(task)
    assert report is not None
    return report


def _write(job: Job, report: Report) -> None:
    """Red flags are said before anything else, then why a better photograph is needed."""
    from skingpt4.durable import write_whole
    from skingpt4.report.content import ReportError
    from skingpt4.report.files import report_bytes

    for line in _alarms(report):
        print(f"{job.image}: {line}")
    for line in report.photo_advice:
        _tell(job, line)
    for name, file in job.files.items():
        content = report_bytes(report, name)
        try:
            write_whole(file, content)
        except OSError as error:
            raise ReportError(f"{job.image}: {file} {_reason(error)}. The report was not written there.") from error
        print(f"{job.image}: wrote {file}", flush=True)


def _alarms(report: Report) -> Iterator[str]:
    from skingpt4.report.red_flags import URGENCIES

    for flag in report.red_flags:
        words = "; ".join(f"“{each.words}”" for each in flag.evidence)
        yield f"{URGENCIES[flag.urgency].upper()}. {flag.sign} ({words}). {flag.advice}"


def _tell(job: Job, message: str) -> None:
    print(message if job.image in message else f"{job.image}: {message}", file=sys.stderr)
