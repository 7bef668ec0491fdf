"""The decoder's GGUF file: is it whole, and of the decoder that the projection was trained for."""

from __future__ import annotations

from pathlib import Path

from skingpt4.doctor.finding import FAULT, GOOD, WARNING, Finding
from skingpt4.errors import SkinGPTError
from skingpt4.settings import ModelSettings
from skingpt4.weights.checkpoint import find_checkpoint, recorded_decoder
from skingpt4.weights.decoder import decoder_shape
from skingpt4.weights.files import weights_path
from skingpt4.weights.gguf_file import require_gguf


def examine_gguf(folder: Path, model: ModelSettings) -> Finding:
    """folder: of the decoder in `llama_model`. Only the file's header is read, and where nothing else tells one decoder
    from another, its embedding.
    """
    file, check = weights_path(model.gguf), "GGUF file"
    shape, path = decoder_shape(folder), weights_path(model.ckpt)
    try:
        checkpoint = find_checkpoint(str(path)) if model.ckpt and path.exists() else None
        can_be_compared = require_gguf(file, shape, checkpoint)
        knows_its_decoder = checkpoint is not None and recorded_decoder(checkpoint) is not None
    except SkinGPTError as error:
        return Finding(check, FAULT, str(error))
    found = f"{file}: whole, {file.stat().st_size / 1e9:.1f} GB, of the sizes of model.llama_model"
    if not knows_its_decoder:
        return Finding(check, GOOD, found)
    if can_be_compared:
        return Finding(check, GOOD, f"{found}, and of the very decoder that the projection was trained for")
    return Finding(
        check, WARNING, f"{found}; its embedding is quantised, so no more can be compared",
        "Make sure that it is the decoder of the training; files of `skingpt4 export --to gguf` can be compared.",
    )  # fmt: skip
