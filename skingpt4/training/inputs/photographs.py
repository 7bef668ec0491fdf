"""What a run sees of its photographs: cached features or pixels, of those that can be read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from accelerate import Accelerator
from accelerate.utils import gather_object
from accelerate.utils.memory import clear_device_cache

from skingpt4.data.loading import LoadedData
from skingpt4.data.records import ImageRef
from skingpt4.data.sequences import Records
from skingpt4.errors import DataError, ImageError
from skingpt4.images import open_image
from skingpt4.settings import Settings
from skingpt4.training.inputs.features import FeatureCache, caches_features, decoding_threads, on_main
from skingpt4.training.inputs.fingerprints import Photographs
from skingpt4.training.inputs.prefetch import in_order
from skingpt4.training.inputs.views import Pixels
from skingpt4.training.samples import InputOf

SHOWN_REASONS = 5
ENDLESS = 1 << 30  # crops of a photograph that is encoded at every step: a new one each time


@dataclass(frozen=True)
class Inputs:
    """What a run learns from. data: the records whose photograph can be read; train, validation: what the objective
    sees of each of them (validation: None without any); views: how many versions of a training photograph there are.
    """

    data: LoadedData
    train: InputOf
    validation: InputOf | None
    views: int


def prepare_inputs(data: LoadedData, settings: Settings, accelerator: Accelerator) -> Inputs:
    """Compute the features that are not cached yet, and leave out photographs that cannot be read where the settings
    say `skip`, the same ones on every process; to be called by all of them.

    Raises `ImageError` for a photograph that cannot be read where they do not, `DataError` where none is left, and
    `TrainingError` as `FeatureCache.features`.
    """
    cache = FeatureCache(settings, accelerator) if caches_features(settings.data) else None
    train, train_input, reasons = _readable(data.train, settings.data.random_crop, cache, settings, accelerator)
    validation, validation_input, more = _readable(data.validation, False, cache, settings, accelerator)
    del cache
    clear_device_cache(garbage_collection=True)  # of the encoder: the decoder needs the room
    reasons += more
    if reasons:
        shown = "; ".join(reasons[:SHOWN_REASONS]) + (" …" if len(reasons) > SHOWN_REASONS else "")
        accelerator.print(f"{len(reasons):,} unreadable photographs are skipped: {shown}")
    if not train:
        raise DataError("No readable photograph is left to train on.")
    views = 1 if not settings.data.random_crop else settings.data.cached_views or ENDLESS
    readable = LoadedData(train, validation, data.reports)
    return Inputs(readable, train_input, validation_input if validation else None, views)


def _readable(
    records: Records, random_crop: bool, cache: FeatureCache | None, settings: Settings, accelerator: Accelerator
) -> tuple[Records, InputOf, list[str]]:
    """The records whose photograph can be read, what is seen of them, and why others are left out."""
    pixels = Pixels(settings.model.image_size, random_crop, settings.run.seed)
    if not records or (cache is None and settings.data.on_bad_image == "error"):
        return records, pixels, []  # an unreadable one is met when it is read
    photographs = Photographs.of(records)
    if cache is None:
        features, bad = None, _unreadable(records, photographs, settings, accelerator)
    else:
        features, bad = cache.features(records, photographs, random_crop)
    if not bad:
        return records, features or pixels, []
    kept = np.flatnonzero(~np.isin(photographs.of_record, list(bad)))
    return records.select(kept), features.select(kept) if features else pixels, [bad[number] for number in sorted(bad)]


def _unreadable(
    records: Records, photographs: Photographs, settings: Settings, accelerator: Accelerator
) -> dict[int, str]:
    """Which photographs cannot be decoded, and why; each process tries its share."""
    mine = np.arange(accelerator.process_index, len(photographs), accelerator.num_processes)
    images = records.select(photographs.first[mine]).images()
    threads = decoding_threads(settings)
    problems = in_order(_problem, images, threads, ahead=4 * threads)
    shown = on_main(accelerator, mine.tolist(), "looking for unreadable photographs", len(mine))
    found = [(number, problem) for number, problem in zip(shown, problems, strict=True) if problem]
    return dict(gather_object(found))


def _problem(image: ImageRef) -> str:
    try:
        open_image(image)
    except ImageError as error:
        return str(error)
    return ""
