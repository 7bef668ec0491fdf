"""Fills a feature cache in a process of its own, for the tests: `python fill_cache.py SETTINGS IMAGES MODE`.

MODE: killed (in the middle), compare (the sum of all features is printed) or skip (the names of the readable ones are
printed, without a cache and with one).
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from accelerate import Accelerator

from skingpt4.config import load_settings
from skingpt4.data.loading import LoadedData
from skingpt4.data.records import diagnosis_record
from skingpt4.data.sequences import Records
from skingpt4.training.inputs import features
from skingpt4.training.inputs.features import FeatureCache
from skingpt4.training.inputs.fingerprints import Photographs
from skingpt4.training.inputs.photographs import prepare_inputs
from skingpt4.training.inputs.shards import ShardWriter


class DyingCache(FeatureCache):
    """Is killed while it computes its fourth batch."""

    batches = 0

    def _encode(self, photographs):  # type: ignore[no-untyped-def]
        self.batches += 1
        if self.batches == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._encode(photographs)


def main() -> None:
    settings = load_settings(Path(sys.argv[1]))[0]
    kind = FeatureCache
    if sys.argv[3] == "killed":
        features.BATCH_VIEWS["cpu"], ShardWriter.rows_per_file, kind = 6, 2, DyingCache
    images = sorted(Path(sys.argv[2]).rglob("*.png"), key=lambda path: int(path.stem))
    records = Records([[diagnosis_record(image, "eczema", "", "drawn") for image in images]])
    if sys.argv[3] == "skip":
        for settings.data.cached_views in (0, 2):
            inputs = prepare_inputs(LoadedData(records, Records(), []), settings, Accelerator(cpu=True))
            sys.stdout.write(f"kept {' '.join(image.stem for image in inputs.data.train.images())}.\n")
        return
    found, _ = kind(settings, Accelerator(cpu=True)).features(records, Photographs.of(records), random_crop=True)
    views = range(settings.data.cached_views)
    total = sum(found(n, record.image, v).double().abs().sum() for n, record in enumerate(records) for v in views)
    sys.stdout.write(f"features {float(total)}.\n")  # in one piece: two processes may share the pipe


if __name__ == "__main__":
    main()
