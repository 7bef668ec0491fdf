"""The one part of a decoder that is needed here when another engine runs the rest: its embedding."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from accelerate import init_empty_weights
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from skingpt4.errors import WeightsError
from skingpt4.weights.convert import LANGUAGE_MODEL
from skingpt4.weights.decoder import decoder_config, empty_decoder
from skingpt4.weights.files import WEIGHT_FILES, read_tensors, some


def load_embedding(directory: Path, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """A decoder whose embedding float[V, D] is loaded, on the CPU; all its other parameters stay on `meta`.

    Of a decoder in shards only the one with the embedding need be there. dtype: None = as it is stored. Raises
    `WeightsError` where the directory has no embedding, or one of another shape than its config.json says.
    """
    config = decoder_config(directory, may_be_quantised=True)
    empty_decoder(config, directory)  # says what is wrong with another kind of model
    with init_empty_weights(include_buffers=False):  # Gemma 3 keeps the factor of its embedding in a buffer
        decoder = AutoModelForCausalLM.from_config(config)
    embedding = decoder.get_input_embeddings()
    path = next(name for name, module in decoder.named_modules() if module is embedding)
    stored = _stored(directory, path + ".weight", decoder.base_model_prefix, len(embedding.weight))
    if stored.shape != embedding.weight.shape:
        raise WeightsError(
            f"{directory}: the embedding is {tuple(stored.shape)}, and config.json says "
            f"{tuple(embedding.weight.shape)}; they are not of one model. Download it again."
        )
    embedding.weight = nn.Parameter(stored.to(dtype or stored.dtype, copy=True), requires_grad=False)
    return decoder.eval()


def _stored(directory: Path, name: str, prefix: str, rows: int) -> torch.Tensor:
    """The tensor of this name, which files of a model without its head have without the `prefix`. Those of a whole
    model, exported by this package, may have a row more, of the image placeholder.
    """
    names = (name, name.removeprefix(f"{prefix}."), LANGUAGE_MODEL + name)
    looked_at: list[str] = []
    for file in WEIGHT_FILES:
        index = directory / f"{file}.index.json"
        shard = _shard(index, names) if index.is_file() else file
        if shard and (directory / shard).is_file():
            tensors = read_tensors(directory / shard)
            if found := next((key for key in names if key in tensors), None):
                return tensors[found] if found in names[:2] else tensors[found][:rows]
        looked_at += [shard] if shard else []
    raise WeightsError(
        f"{directory} has no embedding of the decoder, {name}: looked in {some(looked_at)}. Of the decoder's weights "
        "this file is needed here although another program runs it; copy it there, with config.json and the tokenizer."
    )


def _shard(index: Path, names: tuple[str, ...]) -> str | None:
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return next((str(places[name]) for name in names if name in places), None)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise WeightsError(f"{index} is no index of shards ({error}); download it again.") from error
