"""Checkpoints: the trained tensors and what they belong to, nothing else.

Ours is one safetensors file; its header holds the resolved settings (and so the prompt template) and the decoder's
identity. Released `.pth` files of SkinGPT-4 and MiniGPT-4 hold `{"model": {"llama_proj.weight", "llama_proj.bias"},
...}`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from skingpt4.config import settings_from_dict
from skingpt4.durable import write_whole
from skingpt4.errors import WeightsError
from skingpt4.settings import Settings
from skingpt4.weights.convert import projection_tensors
from skingpt4.weights.files import places_of, read_metadata, read_tensors, some, weight_file

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from skingpt4.model.skingpt4 import SkinGPT4

FILE_NAME = "skingpt4.safetensors"
LAST, BEST = "last", "best"  # folders of a run; each holds FILE_NAME
DECODER_OF_WIDTH = {4096: "7B", 5120: "13B", 6656: "30B", 8192: "65B or 70B"}  # the LLaMA family


@dataclass(frozen=True)
class DecoderIdentity:
    """Which decoder a projection was trained for.

    embedding_hash: of the signs of its embedding, which no change of precision alters.
    """

    width: int
    vocabulary_size: int
    embedding_hash: str

    @classmethod
    def of(cls, decoder: PreTrainedModel) -> DecoderIdentity:
        """The identity of a loaded decoder."""
        return cls.of_embedding(decoder.get_input_embeddings().weight.detach())

    @classmethod
    def of_embedding(cls, weight: Tensor) -> DecoderIdentity:
        """The identity of the decoder whose embedding is `weight`, float[V, D]."""
        import numpy
        import torch

        digest = hashlib.sha256()
        for rows in weight.split(4096):
            digest.update(numpy.packbits(torch.signbit(rows).cpu().numpy()).tobytes())
        return cls(weight.shape[1], weight.shape[0], digest.hexdigest())


def save_checkpoint(folder: Path, model: SkinGPT4, settings: Settings) -> Path:
    """Write the trainable tensors with settings and decoder identity, whole or not at all; returns the file.

    Raises `OSError`, e.g. when the disk is full; a file that was there before is then untouched.
    """
    return write_whole(folder / FILE_NAME, checkpoint_bytes(model, settings))


def checkpoint_bytes(model: SkinGPT4, settings: Settings) -> bytes:
    """The content of a checkpoint's file."""
    from safetensors.torch import save

    trained = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
    metadata = {
        "format": "skingpt4-1",
        "settings": json.dumps(dataclasses.asdict(settings)),
        "decoder": json.dumps(dataclasses.asdict(DecoderIdentity.of(model.decoder))),
    }
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in trained.items()}, metadata)


def find_checkpoint(name: str) -> Path:
    """The file that `ckpt` names: a file, a checkpoint's folder (`RUN/checkpoints/step_…`, too), or a run's folder (its
    best, else its last checkpoint), or the directory of a whole model that `skingpt4 export --to transformers` wrote.

    Raises `WeightsError` listing the places looked at.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        whole = weight_file(path)  # a whole model in `transformers`' form
        candidates = [path / FILE_NAME, path / BEST / FILE_NAME, path / LAST / FILE_NAME, *([whole] if whole else [])]
    else:
        candidates = places_of(name)
    found = next((place for place in candidates if place.is_file()), None)
    if found is None:
        raise WeightsError(f"No checkpoint at {name}. Looked for {', '.join(str(place) for place in candidates)}.")
    return found


def checkpoint_settings(path: Path) -> Settings:
    """The settings in the header of one of our checkpoints. Raises `WeightsError` for other files."""
    metadata = read_metadata(path)
    if "settings" not in metadata:
        raise WeightsError(
            f"{path} is not a checkpoint of this package: it has no settings in it. "
            "Give it as model.ckpt in a YAML file."
        )
    settings = settings_from_dict(json.loads(metadata["settings"]), str(path))
    if path == weight_file(path.parent):  # a whole model: all its parts are in this folder
        settings.model.vit_weights = settings.model.q_former_model = settings.model.llama_model = str(path.parent)
    return settings


def recorded_decoder(path: Path) -> DecoderIdentity | None:
    """The decoder that one of our checkpoints was trained for; None where the file does not say (a released `.pth`)."""
    recorded = read_metadata(path).get("decoder")
    return None if recorded is None else DecoderIdentity(**json.loads(recorded))


def require_decoder(path: Path, found: DecoderIdentity) -> None:
    """Raise `WeightsError` where a checkpoint says that it was trained for another decoder than `found`."""
    wanted = recorded_decoder(path)
    if wanted is not None and wanted != found:
        raise WeightsError(
            f"{path}: this checkpoint was trained for another decoder of the same width "
            f"({wanted.vocabulary_size:,} tokens, embedding {wanted.embedding_hash[:12]}); `llm_model` has "
            f"{found.vocabulary_size:,} tokens, embedding {found.embedding_hash[:12]}. Answers would be gibberish: "
            "set llama_model to the decoder it was trained with."
        )


def require_width(name: str, decoder_width: int) -> None:
    """Raise `WeightsError` where the checkpoint `name` holds no projection, or one for a decoder of another width."""
    path = find_checkpoint(name)
    tensors = projection_tensors(read_tensors(path))
    missing = sorted({"llama_proj.weight", "llama_proj.bias"} - tensors.keys())
    if missing:
        raise WeightsError(f"{path} holds no projection: {', '.join(missing)} missing; it has {some(tensors)}.")
    trained_for = tensors["llama_proj.weight"].shape[0]
    if trained_for != decoder_width:
        size = DECODER_OF_WIDTH.get(trained_for)
        owner = f"a {size} decoder ({trained_for})" if size else f"a decoder of width {trained_for}"
        raise WeightsError(f"{path}: this checkpoint was trained for {owner}; `llm_model` has {decoder_width}.")


def load_checkpoint(model: SkinGPT4, name: str) -> None:
    """Load a projection (and whatever else was trained) into `model`, strictly.

    A model without its encoder leaves trained parts of the encoder aside: its features have been computed with them.
    One without its decoder is checked for the width only; who runs the decoder can ask `require_decoder`.
    Raises `WeightsError` when the file lacks the projection, holds something unknown, or was trained for another
    decoder.
    """
    path = find_checkpoint(name)
    require_width(name, model.llama_proj.out_features)
    tensors = projection_tensors(read_tensors(path))
    absent = tuple(f"{part}." for part in ("vision", "qformer") if getattr(model, part) is None)
    tensors = {key: value for key, value in tensors.items() if not (absent and key.startswith(absent))}
    own = model.state_dict()
    _check_fits(own, tensors, path)
    if model.decoder is not None:
        require_decoder(path, DecoderIdentity.of(model.decoder))
    for key, value in tensors.items():
        own[key].copy_(value)


def _check_fits(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path) -> None:
    unknown = sorted(tensors.keys() - own.keys())
    if unknown:
        raise WeightsError(f"{path} holds tensors that this model does not have: {some(unknown)}.")
    misshapen = [
        f"{key} {tuple(value.shape)} instead of {tuple(own[key].shape)}"
        for key, value in tensors.items()
        if value.shape != own[key].shape
    ]
    if misshapen:
        raise WeightsError(f"{path} does not fit this model: {'; '.join(misshapen)}.")
