"""Reading a decoder's GGUF file far enough to know whether a projection was trained for it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from skingpt4.errors import SettingsError, WeightsError
from skingpt4.weights.checkpoint import DecoderIdentity, recorded_decoder

if TYPE_CHECKING:
    from gguf import ReaderTensor
    from torch import Tensor

MAGIC = b"GGUF"
EMBEDDING = "token_embd.weight"
HASH_KEY = "skingpt4.embedding_hash"  # our own exports carry it, for the signs of a quantised embedding say nothing


def require_gguf(file: Path) -> None:
    """Raise `WeightsError` where there is no GGUF file."""
    if not file.is_file():
        raise WeightsError(
            f"model.gguf {file} does not exist (looked in {file.parent.resolve()}). `skingpt4 export --to gguf` writes "
            "the decoder as one; published GGUF files of the same decoder work, too."
        )
    with file.open("rb") as opened:
        if opened.read(len(MAGIC)) != MAGIC:
            raise WeightsError(f"{file} is no GGUF file, or a torn one. Download it again.")


def require_fitting(file: Path, found: tuple[int, int], shape: tuple[int, int], checkpoint: Path | None) -> None:
    """Raise `WeightsError` where a GGUF file is of another decoder than the projection was trained for.

    found: vocabulary and width of the file; shape: of the decoder in `llama_model`. checkpoint: the projection's file.
    Where the file's embedding is quantised and nothing is written about it, that is said in the log.
    """
    if found != shape:
        raise WeightsError(
            f"{file} is of another decoder than `llama_model`: its embedding has {found[0]:,} tokens of width "
            f"{found[1]:,}, and config.json says {shape[0]:,} of {shape[1]:,}. Take the GGUF file of that decoder, or "
            "write one with `skingpt4 export --to gguf`."
        )
    wanted = recorded_decoder(checkpoint) if checkpoint else None
    if wanted is None:  # a released projection does not say what it was trained for
        return
    embedding_hash = _embedding_hash(file)
    if embedding_hash is None:
        logging.getLogger(__name__).warning(
            "%s has a quantised embedding, so only its size could be checked: whether it is the decoder that the "
            "projection was trained for is for you to know. Files of `skingpt4 export --to gguf` can be checked.", file,
        )  # fmt: skip
    elif (wanted.vocabulary_size, wanted.embedding_hash) != (found[0], embedding_hash):
        raise WeightsError(
            f"{checkpoint}: this projection was trained for another decoder of the same width "
            f"({wanted.vocabulary_size:,} tokens, embedding {wanted.embedding_hash[:12]}); {file} has {found[0]:,} "
            f"tokens, embedding {embedding_hash[:12]}. Answers would be gibberish: take the GGUF file of the decoder "
            "that it was trained with."
        )


def _embedding_hash(file: Path) -> str | None:
    """What the file says or shows of its embedding; None where it is quantised and says nothing."""
    reader = _reader(file)
    said = reader.get_field(HASH_KEY)
    if said is not None:
        return str(said.contents())
    tensor = next((tensor for tensor in reader.tensors if tensor.name == EMBEDDING), None)
    embedding = None if tensor is None else _values(tensor)
    return None if embedding is None else DecoderIdentity.of_embedding(embedding).embedding_hash


def _reader(file: Path):  # type: ignore[no-untyped-def]  # the package is optional
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise SettingsError("GGUF files are read by the package gguf: `pip install 'skingpt4[llamacpp]'`.") from error
    return GGUFReader(file)


def _values(tensor: ReaderTensor) -> Tensor | None:
    """float[V, D] of an embedding that is not quantised."""
    import torch

    name, shape = tensor.tensor_type.name, tuple(int(size) for size in reversed(tensor.shape))
    dtypes = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    if name not in dtypes:
        return None
    return torch.from_numpy(tensor.data.copy()).view(dtypes[name]).reshape(shape)
