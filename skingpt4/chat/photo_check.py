"""Whether a photograph is good enough to be asked about: skin, sharp, bright enough, near enough.

Two sources of evidence, each for what it can tell. Whether there is skin at all, and near enough, is told from the
features of the frozen encoder (their mean over the queries); whether the picture is blurred or dark, from simple
statistics of its grey values, which mean the same for any picture. All are linear, fitted by
`skingpt4.evaluation.photo_check.fit` on photographs of the kind that the model is used on, and kept in one small file
beside the projection. A check belongs to the encoder that it was fitted with.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from skingpt4.config import resolve_path
from skingpt4.data.quality.inspection import reduced, sharpness_of
from skingpt4.durable import write_whole
from skingpt4.errors import WeightsError
from skingpt4.weights.checkpoint import find_checkpoint
from skingpt4.weights.files import find_file, read_metadata, read_tensors

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from skingpt4.settings import Settings

FILE_NAME = "photo_check.safetensors"
SILENT = "none"  # the setting that asks for no check
_FORMAT = "skingpt4-photo-check-1"
_ADVICE_ON_FILE = f"Set model.photo_check={SILENT}; with that, `skingpt4 evaluate --negatives DIR` fits one."

# What can be wrong with a photograph, with what to do about it; in the order in which it is said.
ADVICE: dict[str, str] = {
    "no skin": "This does not look like a photograph of skin. Is it the right picture? The place on the skin should "
    "fill a good part of it.",
    "dark": "The picture is very dark. Take it again in daylight or with more light.",
    "blurred": "The picture is blurred. Hold the phone still, touch the place on the screen so that it becomes sharp, "
    "and take it again.",
    "far": "The place on the skin is small in the picture. Go nearer, until it fills about a third of the picture, and "
    "take it again.",
}
# How near a picture without skin was taken cannot be told, nor how sharp one is that is dark.
MAKES_UNKNOWN = {"no skin": "far", "dark": "blurred"}
Evidence = Mapping[str, np.ndarray | float]
FEATURES = "features"
STATISTICS: tuple[str, ...] = ("sharpness", "edges", "contrast", "darkest", "middle", "brightest")
# What each judgement is made from: the encoder's features, or these statistics.
EVIDENCE: dict[str, tuple[str, ...]] = {
    "no skin": (FEATURES,),
    "dark": ("darkest", "middle", "brightest"),
    "blurred": ("sharpness", "edges", "contrast"),
    "far": (FEATURES,),
}


@dataclass(frozen=True)
class PhotoVerdict:
    """What the check says of one photograph.

    score: 0-1, how sure it is that a better one is needed; above 0.5 there is at least one reason. kinds: what is
    wrong, of `ADVICE`.
    """

    score: float
    kinds: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """The same in plain words, with what to do; empty for a good photograph."""
        return tuple(ADVICE[kind] for kind in self.kinds)


@dataclass(frozen=True)
class Judgement:
    """One linear judgement: above 0, `weight @ evidence + bias` is a reason to ask for a better picture.

    weight: float32[D]. bias: the line that was chosen in fitting is in it.
    """

    weight: np.ndarray
    bias: float


@dataclass(frozen=True)
class PhotoCheck:
    """judgements: for each kind of `ADVICE`. encoder: image size, queries and width of the encoder that it was fitted
    with.
    """

    judgements: Mapping[str, Judgement]
    encoder: Mapping[str, int]

    def look(self, features: Tensor, picture: Image) -> PhotoVerdict:
        """Judge one photograph. features: float[Q, 768] of the frozen encoder. picture: mode "RGB", upright."""
        return self.judge(evidence_of(features, picture))

    def judge(self, evidence: Evidence) -> PhotoVerdict:
        """The same from what `evidence_of` gave."""
        margins = {
            kind: float(judgement.weight @ evidence_for(kind, evidence)) + judgement.bias
            for kind, judgement in self.judgements.items()
        }
        found = [kind for kind in ADVICE if margins[kind] > 0]
        hidden = [MAKES_UNKNOWN[kind] for kind in found if kind in MAKES_UNKNOWN]
        kinds = [kind for kind in found if kind not in hidden]
        highest = max(-30.0, min(30.0, max(margins.values())))
        return PhotoVerdict(1 / (1 + math.exp(-highest)), tuple(kinds))

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits; equal for checks that judge alike."""
        digest = hashlib.sha256()
        for kind, each in sorted(self.judgements.items()):
            digest.update(kind.encode() + each.weight.astype("<f4").tobytes() + np.array(each.bias, "<f4").tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> Path:
        """Write it to a safetensors file, whole or not at all; returns `path`."""
        from safetensors.numpy import save

        tensors = {f"{kind}.weight": each.weight.astype(np.float32) for kind, each in self.judgements.items()}
        tensors |= {f"{kind}.bias": np.array([each.bias], np.float32) for kind, each in self.judgements.items()}
        return write_whole(path, save(tensors, {"format": _FORMAT, "encoder": json.dumps(dict(self.encoder))}))

    @classmethod
    def load(cls, path: Path) -> PhotoCheck:
        """What `save` wrote. Raises `WeightsError` for anything else."""
        tensors, metadata = read_tensors(path), read_metadata(path)
        wanted = {f"{kind}.{part}" for kind in ADVICE for part in ("weight", "bias")}
        if metadata.get("format") != _FORMAT or tensors.keys() != wanted:
            raise WeightsError(f"{path} is no photo check of this version ({_FORMAT}). {_ADVICE_ON_FILE}")
        judgements = {
            kind: Judgement(tensors[f"{kind}.weight"].numpy(), float(tensors[f"{kind}.bias"])) for kind in ADVICE
        }
        return cls(judgements, json.loads(metadata["encoder"]))


def load_photo_check(settings: Settings) -> PhotoCheck | None:
    """The check that the settings name (`model.photo_check`), else the one beside the projection, else None.

    Raises `WeightsError` where a named file is missing, and where a check was fitted with an encoder of other sizes.
    """
    path = _file_of(settings)
    if path is None:
        return None
    check = PhotoCheck.load(path)
    own = encoder_sizes(settings.model.image_size, settings.model.num_query_token, settings.model.qformer_width)
    if dict(check.encoder) != own:
        raise WeightsError(
            f"{path} was fitted with another encoder ({_words(check.encoder)}); this model has {_words(own)}. "
            + _ADVICE_ON_FILE
        )
    return check


def encoder_sizes(image_size: int, queries: int, width: int) -> dict[str, int]:
    """What is compared between a check and a model: pixels, image tokens, width of the features."""
    return {"image_size": image_size, "queries": queries, "width": width}


def evidence_of(features: Tensor, picture: Image) -> Evidence:
    """The mean of float[Q, 768] over the queries, float64[768], and the picture's statistics."""
    mean = features.detach().float().mean(dim=0).cpu().numpy().astype(np.float64)
    return {FEATURES: mean, **statistics_of(picture)}


def statistics_of(picture: Image) -> dict[str, float]:
    """`STATISTICS` of a picture's grey values, at `data.quality.inspection`'s size for sharpness.

    sharpness, edges (mean size of the gradient) and contrast (standard deviation) as logarithms; darkest, middle and
    brightest: the 5th, 50th and 95th percentile, 0-1.
    """
    grey = reduced(picture.convert("L"))
    if min(grey.shape) < 2:  # a line of pixels has no gradient
        grey = np.pad(grey, ((0, 1), (0, 1)), mode="edge")
    down, across = np.gradient(grey)
    darkest, middle, brightest = np.percentile(grey, (5, 50, 95)) / 255
    return {
        "sharpness": math.log(sharpness_of(grey) + 0.02),
        "edges": math.log(float(np.hypot(down, across).mean()) + 0.3),
        "contrast": math.log(float(grey.std()) + 0.5),
        "darkest": float(darkest),
        "middle": float(middle),
        "brightest": float(brightest),
    }


def evidence_for(kind: str, evidence: Evidence) -> np.ndarray:
    """float64[D]: what the judgement `kind` is made from, out of `evidence_of`."""
    return np.concatenate([np.atleast_1d(evidence[name]) for name in EVIDENCE[kind]])


def _file_of(settings: Settings) -> Path | None:
    wanted = settings.model.photo_check
    if wanted == SILENT:
        return None
    if wanted:
        file = find_file(resolve_path(wanted))
        if file is None:
            raise WeightsError(
                f"model.photo_check: {wanted} does not exist. Leave it empty to take {FILE_NAME} beside the "
                f"projection, or set it to {SILENT}."
            )
        return file
    projection = resolve_path(settings.model.ckpt)
    beside = find_checkpoint(projection).with_name(FILE_NAME) if projection else None
    return beside if beside is not None and beside.is_file() else None


def _words(encoder: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {size}" for name, size in encoder.items())
