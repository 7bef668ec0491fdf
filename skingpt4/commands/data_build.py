"""`skingpt4 data build SOURCE … --out DIR`: from what can be downloaded or lies in a clinic's folder to a manifest."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skingpt4.errors import DataError

if TYPE_CHECKING:
    from skingpt4.data.records import Record, SourceReport
    from skingpt4.data.sources.notes import NoteColumns

# What `notes` calls its columns, and their default names; an empty name = not used.
_COLUMNS = {
    "image": "image", "disease": "disease", "notes": "notes", "group": "", "age": "", "sex": "", "site": "",
    "skin_type": "", "concepts": "",
}  # fmt: skip


def add(parser: argparse.ArgumentParser) -> None:
    """One sub-command per source."""
    sources = parser.add_subparsers(title="sources", metavar="SOURCE", dest="source", required=True)

    def source(
        name: str, what: str, read: Callable[[argparse.Namespace], list[SourceReport]]
    ) -> argparse.ArgumentParser:
        added = sources.add_parser(name, help=what, description=what)
        added.set_defaults(read=read, licence="", template=None)
        return added

    _add_skincon(source("skincon", "SKINCON's annotations and the images of Fitzpatrick17k and DDI", _skincon))
    _add_dermnet(source("dermnet", "Kaggle's Dermnet: train/ and test/ with 23 folders", _dermnet))
    _add_notes(source("notes", "a table of images, diseases and doctors' notes", _notes))
    _add_folder(source("folder", "a folder of images per disease", _folder))
    _add_minigpt4(source("minigpt4", "MiniGPT-4's filter_cap.json and image/", _minigpt4))
    _add_metadata(source("isic", "the ISIC archive's metadata and images", _isic))
    _add_metadata(source("pad-ufes-20", "PAD-UFES-20's metadata and images", _pad_ufes))
    _add_scin(source("scin", "SCIN's cases, labels and images", _scin))
    for added in sources.choices.values():
        _add_common(added)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read the source, give every disease its one name and its class, write the manifest, and say what was left out."""
    from skingpt4.data.build import check_out
    from skingpt4.data.sources.names import read_classes, read_synonyms
    from skingpt4.data.sources.template import fill, read_template

    check_out(arguments.out, arguments.force)
    synonyms = read_synonyms(arguments.synonyms)
    classes = arguments.class_table = read_classes(arguments.classes) if arguments.classes else None
    template = read_template(arguments.template) if arguments.template else None

    def finish(record: Record) -> Record:
        record = synonyms.rename(record)
        record = classes.classify(record) if classes else record
        if template and arguments.source != "notes":  # that source needs the text of its notes to fill it
            return replace(record, answers=(fill(template, record.disease, "", record.concepts),))
        return record

    reports = arguments.read(arguments)
    for report in reports:
        report.records = [finish(record) for record in report.records]
    note = _write(reports, arguments)
    for report in reports:
        print(report.summary())
    print(f"Wrote {note['records']:,} records into {arguments.out}; image names are relative to {note['images_root']}.")
    print(f"Next: skingpt4 data summary {arguments.out}")
    return 0


def _write(reports: list[SourceReport], arguments: argparse.Namespace) -> dict[str, Any]:
    """The manifest into OUT; with --pack, its images as well."""
    from skingpt4.data.build import write_build
    from skingpt4.data.manifest import open_manifest
    from skingpt4.data.pack import pack

    if not arguments.pack:
        return write_build(reports, arguments.out, _noted(arguments), arguments.licence, arguments.force)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.out.parent, prefix=".build-") as unpacked:
        note = write_build(reports, Path(unpacked), _noted(arguments), arguments.licence)
        pack(open_manifest(Path(unpacked)), arguments.out)
    return {**note, "images_root": str(arguments.out)}


def _noted(arguments: argparse.Namespace) -> dict[str, object]:
    """The options as they were given, for `build.json`."""
    given = {name: value for name, value in vars(arguments).items() if isinstance(value, (str, bool, Path)) and value}
    return {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to fill with the manifest")
    written = parser.add_mutually_exclusive_group()
    written.add_argument("--force", action="store_true", help="replace the manifest that is there")
    written.add_argument("--pack", action="store_true", help="copy the images into DIR too, as tar shards (WebDataset)")
    parser.add_argument("--classes", type=Path, metavar="FILE", help="YAML table: name of a folder or disease -> class")
    parser.add_argument(
        "--synonyms", type=Path, metavar="FILE", help="YAML table of diseases' other names, in place of the package's"
    )


def _add_licence(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--licence", default="", metavar="TEXT", help="the images' licence, e.g. 'CC BY 4.0'")


def _add_template(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--template", type=Path, metavar="FILE", help="text file of the answer, with {disease}, {notes}, {concepts}"
    )


def _add_skincon(parser: argparse.ArgumentParser) -> None:
    for name, part in (("fitzpatrick", "Fitzpatrick17k"), ("ddi", "DDI")):
        parser.add_argument(f"--{name}-annotations", type=Path, metavar="CSV", help=f"SKINCON's annotations of {part}")
        parser.add_argument(
            f"--{name}-images", type=Path, metavar="DIR", help=f"the images of {part}; default: beside the CSV"
        )
    parser.add_argument(
        "--fitzpatrick-csv", type=Path, metavar="CSV", help="fitzpatrick17k.csv: adds disease, skin type and atlas"
    )
    parser.add_argument(
        "--keep-flagged-ddi",
        action="store_true",
        help="keep DDI's 20 rows 'Do not consider this image', as the paper does; they have no concepts",
    )


def _skincon(arguments: argparse.Namespace) -> list[SourceReport]:
    from skingpt4.data.sources.skincon import DDI, FITZPATRICK17K, read_annotated_images, read_fitzpatrick17k

    fitzpatrick, ddi = arguments.fitzpatrick_annotations, arguments.ddi_annotations
    if not fitzpatrick and not ddi:
        raise DataError("Give --fitzpatrick-annotations, --ddi-annotations, or both.")
    if not fitzpatrick and (arguments.fitzpatrick_images or arguments.fitzpatrick_csv):
        raise DataError("--fitzpatrick-images and --fitzpatrick-csv need --fitzpatrick-annotations.")
    if not ddi and (arguments.ddi_images or arguments.keep_flagged_ddi):
        raise DataError("--ddi-images and --keep-flagged-ddi need --ddi-annotations.")
    labels = read_fitzpatrick17k(arguments.fitzpatrick_csv) if arguments.fitzpatrick_csv else None
    reports: list[SourceReport] = []
    errors: list[str] = []
    for csv, images, source in (
        (fitzpatrick, arguments.fitzpatrick_images, FITZPATRICK17K),
        (ddi, arguments.ddi_images, DDI),
    ):
        if csv:
            of_ddi = source == DDI
            try:
                reports.append(
                    read_annotated_images(
                        csv,
                        images or csv.parent,
                        source,
                        None if of_ddi else labels,
                        of_ddi and arguments.keep_flagged_ddi,
                    )
                )
            except DataError as error:  # what is wrong with both files is said at once
                errors.append(str(error))
    if errors:
        raise DataError("\n".join(errors))
    return reports


def _add_dermnet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder that holds train/ and test/")
    parser.add_argument(
        "--disease-from",
        choices=("folder", "file"),
        default="folder",
        help="name the disease after the folder (default), or after the file: finer, as acne-cystic-12.jpg",
    )
    _add_template(parser)


def _dermnet(arguments: argparse.Namespace) -> list[SourceReport]:
    from skingpt4.data.sources.dermnet import read_dermnet

    from_file = arguments.disease_from == "file"
    return [read_dermnet(arguments.folder, arguments.class_table, from_file)]


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="holds a folder of images per disease")
    _add_template(parser)
    _add_licence(parser)


def _folder(arguments: argparse.Namespace) -> list[SourceReport]:
    from skingpt4.data.sources.folder import read_disease_folders

    return [read_disease_folders(arguments.folder, arguments.class_table)]


def _add_minigpt4(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="holds filter_cap.json and image/")
    parser.add_argument("--images", type=Path, metavar="DIR", help="the images' folder, where it is not image/")
    parser.add_argument(
        "--task", choices=("diagnosis", "concepts"), default="diagnosis", help="which questions the captions answer"
    )
    _add_licence(parser)


def _minigpt4(arguments: argparse.Namespace) -> list[SourceReport]:
    from skingpt4.data.sources.minigpt4 import read_captions

    return [read_captions(arguments.folder, arguments.images, arguments.task)]


def _add_notes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", type=Path, metavar="TABLE", help="CSV, JSONL, Parquet or XLSX")
    parser.add_argument("--images", type=Path, metavar="DIR", help="the images' folder; default: beside the table")
    for name, default in _COLUMNS.items():
        shown = f"default: {default}" if default else "default: not used"
        parser.add_argument(
            f"--{name.replace('_', '-')}-column",
            default=default,
            metavar="NAME",
            help=f"the column of {name} ({shown})",
        )
    parser.add_argument(
        "--check-identifiers",
        action="store_true",
        help="stop where the text looks like a name tag, date of birth, phone, e-mail or record number",
    )
    _add_template(parser)
    _add_licence(parser)


def _notes(arguments: argparse.Namespace) -> list[SourceReport]:
    from skingpt4.data.sources.notes import NoteColumns, read_notes

    columns = NoteColumns(**{name: getattr(arguments, f"{name}_column") for name in _COLUMNS})
    if arguments.check_identifiers:
        _check_identifiers(arguments.table, columns)
    return [read_notes(arguments.table, arguments.images or arguments.table.parent, columns, arguments.template)]


def _check_identifiers(table: Path, columns: NoteColumns) -> None:
    """Raise `DataError` listing every text that looks as if it named a patient."""
    from skingpt4.data.rows import SHOWN_ERRORS
    from skingpt4.data.sources.notes import find_note_identifiers

    findings = find_note_identifiers(table, columns)
    if findings:
        more = [f"… and {len(findings) - SHOWN_ERRORS:,} more"] if len(findings) > SHOWN_ERRORS else []
        head = (
            f"{table}: text that looks as if it named a patient ({len(findings):,}). Remove what does; when you have "
            "looked at everything here, leave out --check-identifiers:"
        )
        raise DataError("\n  ".join([head, *map(str, findings[:SHOWN_ERRORS]), *more]))


def _add_metadata(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--metadata", type=Path, required=True, metavar="CSV", help="the archive's metadata file")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="the images' folder")


def _isic(arguments: argparse.Namespace) -> list[SourceReport]:
    from skingpt4.data.sources.archives import read_isic

    return [read_isic(arguments.metadata, arguments.images)]


def _pad_ufes(arguments: argparse.Namespace) -> list[SourceReport]:
    from skingpt4.data.sources.archives import read_pad_ufes

    return [read_pad_ufes(arguments.metadata, arguments.images)]


def _add_scin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", type=Path, required=True, metavar="CSV", help="scin_cases.csv")
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help="scin_labels.csv")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="the images' folder")


def _scin(arguments: argparse.Namespace) -> list[SourceReport]:
    from skingpt4.data.sources.scin import read_scin

    return [read_scin(arguments.cases, arguments.labels, arguments.images)]
