"""The frozen encoder's output, computed once per photograph and view and kept on disk. With it, training does not load
the encoder at all.

FOLDER/<hash of what the numbers depend on>/ holds shards of features, found by the SHA-256 of the photograph: a new
photograph costs one, a changed one is another, an interrupted computation goes on, and any number of runs, steps and
processes share the folder. Features are kept in float16 where the encoder computes in 16 bits (its own rounding is as
coarse, and half the bytes are read), in float32 where it computes in float32 (training on them is then training on it).
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from skingpt4.config import resolve_path
from skingpt4.data.records import ImageRef, few
from skingpt4.data.sequences import Records
from skingpt4.device import resolve_device, resolve_dtype, resolve_vit_dtype
from skingpt4.errors import ImageError, TrainingError
from skingpt4.settings import DataSettings, Settings
from skingpt4.training.inputs.fingerprints import UNREAD, Fingerprints, Photographs
from skingpt4.training.inputs.prefetch import in_order
from skingpt4.training.inputs.shards import DIGEST, Shards, ShardWriter
from skingpt4.training.inputs.views import Viewer, normalised
from skingpt4.training.reports.log import with_progress
from skingpt4.weights.build import build_encoder
from skingpt4.weights.files import find_file, parts_of

if TYPE_CHECKING:
    from skingpt4.model.qformer import QFormer
    from skingpt4.model.vision import VisionEncoder

FORMAT = 2  # counts up when a view or a feature is computed otherwise: older ones are then not read
BATCH_VIEWS = {"cpu": 32, "cuda": 128}  # encoded at once
VISIBLE_AFTER_SECONDS = 60  # a network drive may show what another machine wrote only after some time


def caches_features(data: DataSettings) -> bool:
    """Whether features are kept on disk; else every photograph is encoded at every step."""
    return data.cached_views > 0


def decoding_threads(settings: Settings) -> int:
    """Threads of this process that read photographs before the training starts."""
    return max(1, settings.run.num_workers, torch.get_num_threads())


def on_main(accelerator: Accelerator, items: Iterable[int], what: str, count: int) -> Iterable[int]:
    """Iterate, on the main process with a progress bar where it is worth one."""
    return with_progress(items, what, count) if accelerator.is_main_process and count > 1 else items


@dataclass(frozen=True)
class Features:
    """The input of an objective that does not encode: float[Q, W] of one view of a record's photograph. rows: int64[N],
    where the features of each record's photograph are.
    """

    shards: Shards
    rows: np.ndarray

    def __call__(self, number: int, image: ImageRef, view: int) -> Tensor:
        return self.shards.read("features", int(self.rows[number]), view)

    def select(self, numbers: np.ndarray) -> Features:
        """Those of the records of these numbers (int[m])."""
        return Features(self.shards, self.rows[numbers])


class FeatureCache:
    """The features of a run's photographs; those that are missing are computed by all processes together."""

    def __init__(self, settings: Settings, accelerator: Accelerator):
        self._settings, self._accelerator = settings, accelerator
        self._folder = Path(resolve_path(settings.data.feature_cache) or Path(settings.run.output_dir) / "features")
        self._fingerprints = Fingerprints(self._folder / "fingerprints", decoding_threads(settings))
        self._device, model = resolve_device(settings.run.device), settings.model
        decoder_dtype = resolve_dtype(model.precision, self._device)
        self._dtype = resolve_vit_dtype(model.vit_precision, decoder_dtype, self._device)
        self._stored_dtype = torch.float32 if self._dtype == torch.float32 else torch.float16

    def features(
        self, records: Records, photographs: Photographs, random_crop: bool
    ) -> tuple[Features, dict[int, str]]:
        """The features of all records, and why a photograph (by its number) has none.

        random_crop: `data.cached_views` crops per photograph, else the whole picture. Raises `ImageError` for one that
        cannot be read (unless `data.on_bad_image` is `skip`), and `TrainingError` for a full disk or an encoder that
        gives no finite numbers.
        """
        views = self._settings.data.cached_views if random_crop else 1
        made_from = self._made_from(f"{views} crops, seed {self._settings.run.seed}" if random_crop else "whole")
        shards = Shards(self._folder / hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:24])
        digests = self._digests(records, photographs)
        missing = _to_compute(digests, shards)
        bad: dict[int, str] = {}
        if len(missing):
            self._require_room(shards.folder, len(missing) * views)
            viewer = Viewer(self._settings.model.image_size, random_crop, self._settings.run.seed)
            with ShardWriter(shards, made_from) as writer:
                mine = self._compute(records, photographs, missing, viewer, views, writer)
            bad = _with_copies(dict(gather_object(list(mine.items()))), digests)
            self._wait_for(shards, np.delete(digests, list(bad)))
        return Features(shards, shards.find(digests)[photographs.of_record]), bad

    def _digests(self, records: Records, photographs: Photographs) -> np.ndarray:
        """S32[U]: SHA-256 of each photograph's file, or `UNREAD`. Each process reads its share."""
        mine = np.arange(self._accelerator.process_index, len(photographs), self._accelerator.num_processes)
        images = records.select(photographs.first[mine]).images()
        found = self._fingerprints.of(images, len(mine), self._progress)
        digests = np.zeros(len(photographs), DIGEST)
        for part, values in gather_object([(mine, found)]):
            digests[part] = values
        return digests

    def _compute(
        self,
        records: Records,
        photographs: Photographs,
        missing: np.ndarray,
        viewer: Viewer,
        views: int,
        writer: ShardWriter,
    ) -> dict[int, str]:
        """Write this process's share of the missing features, every n-th; returns which could not be read, and why.

        Batches are the same ones after an interruption: what was written before it ended with a batch.
        """
        ranks = self._accelerator.num_processes
        mine = missing[self._accelerator.process_index :: ranks]
        batch = max(1, BATCH_VIEWS.get(self._device.type, 32) // views)
        threads = decoding_threads(self._settings)
        images = records.select(photographs.first[mine]).images()
        seen = in_order(lambda image: _seen(viewer, image, views), images, threads, ahead=2 * batch + threads)
        steps = math.ceil(math.ceil(len(missing) / ranks) / batch)  # of the process that has most
        bad: dict[int, str] = {}
        for step in self._progress(range(steps), f"encoding {len(missing):,} photographs", steps):
            decoded: list[_Seen] = []
            for number, found in zip(mine[step * batch : (step + 1) * batch].tolist(), seen, strict=False):
                if isinstance(found, _Seen):
                    decoded.append(found)
                elif self._settings.data.on_bad_image == "error":
                    raise found
                else:
                    bad[number] = str(found)
            if decoded:
                writer.add(np.array([photograph.digest for photograph in decoded], DIGEST), self._encode(decoded))
            # Processes wait for one another now and then, not hours at the end: a collective wait has a time limit.
            if (step + 1) % math.ceil(writer.rows_per_file / batch) == 0:
                self._accelerator.wait_for_everyone()
        return bad

    def _encode(self, photographs: list[_Seen]) -> dict[str, Tensor]:
        """Their features [n, views, Q, W] in the stored dtype, on the CPU."""
        vision, qformer = self._encoder
        pixels = torch.from_numpy(np.stack([photograph.pixels for photograph in photographs]))
        with torch.inference_mode():
            values = normalised(pixels.to(self._device).flatten(0, 1))
            features = qformer(vision(values)).to(self._stored_dtype).cpu().unflatten(0, pixels.shape[:2])
        finite = torch.isfinite(features).flatten(1).all(dim=1).tolist()
        if not all(finite):
            names = [seen.name for seen, is_finite in zip(photographs, finite, strict=True) if not is_finite]
            raise TrainingError(
                f"The encoder, which computes in {str(self._dtype).removeprefix('torch.')}, gave numbers that are not "
                f"finite for {few(names, 5)}. Set model.vit_precision=fp32 (or bf16, where the device has it); if that "
                "does not help, model.vit_weights or model.q_former_model is damaged."
            )
        return {"features": features}

    @cached_property
    def _encoder(self) -> tuple[VisionEncoder, QFormer]:
        return build_encoder(self._settings.model, self._dtype, self._device)

    @cached_property
    def _weights(self) -> list[str]:
        """SHA-256 of the encoder's files."""
        model = self._settings.model
        names = [resolve_path(name) for name in (model.vit_weights, model.q_former_model)]
        files = [part for name in names for part in parts_of(find_file(name) or Path(name))]
        return [digest.hex() for digest in self._fingerprints.of(files, len(files), self._progress).tolist()]

    def _made_from(self, view: str) -> dict[str, str]:
        """Everything that the features depend on, beside the photograph."""
        model = self._settings.model
        not_numbers = ("vit_weights", "vit_precision")  # their content and their outcome count
        sizes = {
            name: value
            for name, value in vars(model).items()
            if name.startswith(("vit_", "qformer_")) and name not in not_numbers
        }
        return {
            "format": f"skingpt4-features-{FORMAT}",
            "view": view,
            "pixels": f"{model.image_size} x {model.image_size}"
            + ("" if model.vit_model == "eva_clip_g" else ", normalised as the encoder was trained"),
            "sizes": json.dumps(sizes | {"num_query_token": model.num_query_token}),
            "weights": " ".join(self._weights),
            "computed_in": str(self._dtype),
        }

    def _require_room(self, folder: Path, count: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        values = count * self._settings.model.num_query_token * self._settings.model.qformer_width
        needed, free = values * self._stored_dtype.itemsize, shutil.disk_usage(folder).free
        if needed > free:
            raise TrainingError(
                f"The features need {needed / 1e9:,.1f} GB in {self._folder}, and {free / 1e9:,.1f} GB are free. Set "
                "data.feature_cache to a folder on a larger disk, lower data.cached_views, or encode at every step: "
                "data.cached_views=0."
            )

    def _wait_for(self, shards: Shards, digests: np.ndarray) -> None:
        """Take in what all processes have written. Raises `TrainingError` where features are missing still."""
        for _ in range(VISIBLE_AFTER_SECONDS if self._accelerator.num_processes > 1 else 1):
            shards.refresh()
            absent = int((shards.find(digests) < 0).sum())
            if not absent:
                return
            time.sleep(1)
        raise TrainingError(
            f"The features of {absent:,} photographs are not in {self._folder} although they were computed. Either the "
            "photographs changed meanwhile: start again. Or not all machines see this folder: set data.feature_cache "
            "to one on a drive that they share."
        )

    def _progress(self, items: Iterable[int], what: str, count: int) -> Iterable[int]:
        return on_main(self._accelerator, items, what, count)


@dataclass(frozen=True)
class _Seen:
    """A decoded photograph. pixels: uint8[views, S, S, 3]."""

    name: str
    digest: bytes
    pixels: np.ndarray


def _seen(viewer: Viewer, image: ImageRef, views: int) -> _Seen | ImageError:
    try:
        return _Seen(str(image), *viewer.see(image, range(views)))
    except ImageError as error:
        return error


def _to_compute(digests: np.ndarray, shards: Shards) -> np.ndarray:
    """int64[m]: photographs without features, one of each content. One that could not be read is tried at every start:
    there are few, and it may have been mended, or the decoder.
    """
    absent = np.flatnonzero(shards.find(digests) < 0)
    first = np.unique(digests[absent], return_index=True)[1]
    return np.union1d(absent[first], np.flatnonzero(digests == UNREAD))


def _with_copies(bad: dict[int, str], digests: np.ndarray) -> dict[int, str]:
    """The same of photographs with the content of one that cannot be read."""
    why = {digests[number]: reason for number, reason in bad.items() if digests[number] != UNREAD}
    copies = np.flatnonzero(np.isin(digests, np.array(list(why), DIGEST)))
    return {**{number: why[digests[number]] for number in copies.tolist()}, **bad}
