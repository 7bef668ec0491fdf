"""From settings to something that talks: the one place where an engine is chosen."""

from __future__ import annotations

import logging

from skingpt4.chat.conversation import Chat
from skingpt4.config import resolve_path
from skingpt4.settings import Settings
from skingpt4.weights.build import build_model, require_files
from skingpt4.weights.checkpoint import DecoderIdentity, find_checkpoint, require_decoder
from skingpt4.weights.decoder import decoder_shape
from skingpt4.weights.files import weights_path


def load_chat(settings: Settings) -> Chat:
    """The model of these settings, ready to talk. Raises a `SkinGPTError`: `SettingsError`, `WeightsError`,
    `DeviceError`, or that of an engine that cannot be had.
    """
    if settings.model.engine == "vllm":
        return _with_vllm(settings)
    if settings.model.engine == "llamacpp":
        return _with_llamacpp(settings)
    return Chat(*build_model(settings))


def _with_vllm(settings: Settings) -> Chat:
    """The encoder here, the decoder in vLLM. What can be wrong with the decoder is told before the encoder is read."""
    import torch

    from skingpt4.engines.vllm_engine import DTYPE_NAMES, Decoding, VllmEngine
    from skingpt4.engines.vllm_local import LocalVllm, require_vllm
    from skingpt4.engines.vllm_server import VllmServer
    from skingpt4.weights.embedding_table import load_embedding

    wanted = settings.model
    server = VllmServer(wanted.engine_url) if wanted.engine_url else None
    if server is None:
        require_vllm()
    require_files(wanted)
    directory, dtype = weights_path(wanted.llama_model), DTYPE_NAMES[wanted.precision]
    decoder = load_embedding(directory, None if dtype == "auto" else getattr(torch, dtype))
    if wanted.ckpt:
        require_decoder(find_checkpoint(resolve_path(wanted.ckpt)), DecoderIdentity.of(decoder))
    if server:
        server.require_decoder(decoder)
    model, processor = build_model(settings, with_decoder=False)
    gpus = torch.cuda.device_count() if wanted.device_map else 1
    decoding: Decoding = server or LocalVllm(directory, dtype, gpus)
    return Chat(model, processor, VllmEngine(decoding, decoder, processor.tokenizer.eos_ids))


def _with_llamacpp(settings: Settings) -> Chat:
    """The encoder here, the decoder in llama.cpp, which `llama_model` gives the tokenizer and config.json for. What can
    be wrong with the decoder's file is told before anything big is read.
    """
    from skingpt4.engines.llamacpp_engine import LlamaCppEngine
    from skingpt4.engines.llamacpp_library import library
    from skingpt4.weights.gguf_file import require_gguf

    wanted = settings.model
    library()
    require_files(wanted)
    file = weights_path(wanted.gguf)
    checkpoint = find_checkpoint(resolve_path(wanted.ckpt)) if wanted.ckpt else None
    if not require_gguf(file, decoder_shape(weights_path(wanted.llama_model)), checkpoint):
        logging.getLogger(__name__).warning(
            "%s has no embedding in 32 or 16 bits, so only its size could be checked: whether it is the decoder that "
            "the projection was trained for is for you to know. Files of `skingpt4 export --to gguf` can be checked.",
            file,
        )
    model, processor = build_model(settings, with_decoder=False)
    gpu_layers = 0 if settings.run.device == "cpu" else -1
    return Chat(model, processor, LlamaCppEngine(file, processor.tokenizer.eos_ids, settings.run.threads, gpu_layers))
