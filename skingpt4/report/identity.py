"""Which model and which checkpoint answered, in words that name no path of the machine."""

from __future__ import annotations

import hashlib
from pathlib import PureWindowsPath

from torch import nn
from transformers import PreTrainedModel

from skingpt4 import __version__
from skingpt4.chat.conversation import Chat
from skingpt4.report.content import Identity
from skingpt4.settings import ModelSettings, Settings
from skingpt4.weights.checkpoint import DecoderIdentity

EMBEDDED_NAME = "SkinGPT-4, the small model of the package"
NAME = "SkinGPT-4"


def identity_of(chat: Chat, settings: Settings) -> Identity:
    """The model behind a chat. settings: those that it was built from."""
    wanted, projection = settings.model, chat.model.llama_proj
    embedded = wanted.llama_model.startswith("embedded/")
    decoder: PreTrainedModel | None = getattr(chat.model, "decoder", None)  # another engine may bring its own
    return Identity(
        name=EMBEDDED_NAME if embedded else NAME,
        version=__version__,
        projection=_fingerprint(projection),
        decoder=_decoder_name(wanted, decoder),
        decoder_fingerprint=DecoderIdentity.of(decoder).embedding_hash if decoder else None,
        vision=wanted.vit_model,
        image_size=wanted.image_size,
        chat_template=wanted.chat_template,
    )


def _fingerprint(projection: nn.Linear) -> str:
    digest = hashlib.sha256()
    for tensor in (projection.weight, projection.bias):
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _decoder_name(wanted: ModelSettings, decoder: PreTrainedModel | None) -> str:
    """Such as "vicuna-13b (llama, 40 layers of 5,120), bfloat16"."""
    name = PureWindowsPath(wanted.llama_model).name  # without its folders; this reads both kinds of slashes
    if decoder is None:
        file = f", {PureWindowsPath(wanted.gguf).name}" if wanted.gguf else ""
        return name if wanted.engine == "transformers" else f"{name}{file}, by {wanted.engine}"
    config = decoder.config
    number_format = wanted.decoder_quantization or str(decoder.dtype).removeprefix("torch.")
    return f"{name} ({config.model_type}, {config.num_hidden_layers} layers of {config.hidden_size:,}), {number_format}"
