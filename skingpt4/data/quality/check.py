"""What is wrong with the images of a data set: unreadable, too small, blank, blurred, misnamed, there twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from skingpt4.data.manifest import Manifest
from skingpt4.data.quality.duplicates import gathered, shared_evidence, tied_together
from skingpt4.data.quality.hashes import Images, hashes_of, images_of_manifest, inspected
from skingpt4.data.quality.inspection import Inspection

BLANK = 2.0  # of 255: standard deviation of grey below which there is nothing to see; pale even skin has 5 and more
# `inspection.sharpness_of`: of the 120 shared dermoscopic photographs 17 are sharp (1.1 to 10) and 103 are enlarged
# thumbnails without detail (up to 0.61). Ordinary sharp photographs have 3 to 6; blurred with a Gaussian of 1 / 224
# of the longer side they have 1.5, of 2 / 224 they have 0.5.
MIN_SHARPNESS = 0.8
MIN_SIDE_PX = 64

_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jfif", ".jpe"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "HEIF": (".heic", ".heif", ".hif"),
    "AVIF": (".avif",),
    "DICOM": (".dcm", ".dicom"),
}


@dataclass(frozen=True)
class Kind:
    """A kind of finding. problem: whether something should be done about it. meaning: for people, with what to do."""

    meaning: str
    problem: bool = True


KINDS = {
    "missing": Kind("the file is not there: add it, or build the data set again"),
    "undecodable": Kind("no picture comes out of the file: copy it again, or leave it out"),
    "too small": Kind("a side has fewer pixels than --min-side"),
    "blank": Kind("one even colour"),
    "blurred": Kind("no fine detail (see --min-sharpness)"),
    "wrong suffix": Kind("the name says another format than the content; other programs may refuse it"),
    "turned by EXIF": Kind("upright only where EXIF is honoured, as it is here", problem=False),
    "exact duplicates": Kind("files with the same content"),
    "near duplicates": Kind("the same picture resized, cropped a little, or saved again"),
    "other disease": Kind("duplicates that are labelled with different diseases"),
    "across splits": Kind("the same picture, id, patient or lesion in several splits: `skingpt4 data split` mends it"),
}


@dataclass
class Check:
    """What `check_manifest` found. findings: by kind (of `KINDS`), the images with details; of duplicates one entry per
    cluster. sharpness: percentiles over the images that could be read. sha256, phash: per record, "" = unknown.
    """

    records: int
    images: int
    sha256: list[str]
    phash: list[str]
    sharpness: dict[str, float]
    findings: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    @property
    def problems(self) -> int:
        """How many findings something should be done about."""
        return sum(len(found) for kind, found in self.findings.items() if KINDS[kind].problem)


def check_manifest(
    manifest: Manifest,
    progress: Path,
    min_side: int = MIN_SIDE_PX,
    min_sharpness: float = MIN_SHARPNESS,
    workers: int = 0,
) -> Check:
    """Inspect every image of a manifest once, and judge.

    progress: the file of what is known already, from which an interrupted check goes on. workers: 0 = one per core.
    Raises `DataError` where not one image is there.
    """
    images = images_of_manifest(manifest)
    inspections = inspected(manifest, images, progress, workers)
    hashes = hashes_of(inspections)
    check = Check(
        len(manifest),
        len(images.names),
        images.per_record(hashes.sha256),
        images.per_record(hashes.phash),
        _percentiles([inspection.sharpness for inspection in inspections if not inspection.error]),
    )
    for inspection in inspections:
        for kind, detail in judge(inspection, min_side, min_sharpness):
            check.findings[kind].append({"image": inspection.image, "detail": detail})
    for kind, clusters in (("exact", hashes.duplicates.exact), ("near", hashes.duplicates.near_clusters())):
        found = [{"images": [images.names[number] for number in cluster]} for cluster in clusters]
        check.findings[f"{kind} duplicates"] = found
    _judge_clusters(check, manifest, images, images.near_records(hashes.duplicates))
    return check


def judge(inspection: Inspection, min_side: int, min_sharpness: float) -> Iterator[tuple[str, str]]:
    """(kind, detail) of what is wrong with one image."""
    if inspection.error:
        yield ("missing" if inspection.missing else "undecodable"), inspection.error
        return
    if min(inspection.width, inspection.height) < min_side:
        yield "too small", f"{inspection.width} x {inspection.height} pixels"
    if inspection.contrast < BLANK:
        yield "blank", f"contrast {inspection.contrast:.1f} of 255"
    elif inspection.sharpness < min_sharpness:
        yield "blurred", f"sharpness {inspection.sharpness:.2f}"
    suffix = PurePosixPath(inspection.image).suffix
    if suffix.lower() not in _SUFFIXES.get(inspection.format, ()):
        yield "wrong suffix", f"{suffix or 'no suffix'}, but the content is {inspection.format}"
    if inspection.turned:
        yield "turned by EXIF", "the stored pixels lie on their side"


def _judge_clusters(check: Check, manifest: Manifest, images: Images, near: np.ndarray) -> None:
    """What records that show one thing say of it: other diseases, other splits."""
    evidence = shared_evidence(manifest, [digest or None for digest in check.sha256])
    pictures = tied_together([evidence["same file"], evidence["same content"]], near)
    for kind, labels, column in (
        ("other disease", pictures, "disease"),
        ("across splits", tied_together(list(evidence.values()), near), "split"),
    ):
        values = manifest.column(column)
        for members in gathered(labels):
            found = sorted({values[number].strip().lower() for number in members} - {""})
            if len(found) > 1:
                names = list(dict.fromkeys(images.names[images.of_record[number]] for number in members))
                check.findings[kind].append({"images": names, column: found})


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    levels = (0, 10, 25, 50, 75, 90, 100) if values else ()
    return {f"{level}%": round(float(np.percentile(values, level)), 2) for level in levels}
