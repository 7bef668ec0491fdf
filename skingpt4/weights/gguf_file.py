"""Reading a decoder's GGUF file far enough to know whether a projection was trained for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from skingpt4.errors import SettingsError, WeightsError
from skingpt4.weights.checkpoint import DecoderIdentity, recorded_decoder

if TYPE_CHECKING:
    from gguf import GGUFReader, ReaderTensor
    from torch import Tensor

MAGIC = b"GGUF"
EMBEDDING = "token_embd.weight"
HASH_KEY = "skingpt4.embedding_hash"  # our own exports carry it, for the signs of a quantised embedding say nothing


def require_gguf(file: Path, shape: tuple[int, int], checkpoint: Path | None) -> bool:
    """Raise `WeightsError` where there is no whole GGUF file, or one of another decoder than the projection was trained
    for. Its weights are not loaded.

    shape: vocabulary and width of the decoder in `llama_model`. checkpoint: the projection's file. Returns False where
    the checkpoint says which decoder it needs and the file does not show which it is, for its embedding is quantised.
    Raises `SettingsError` without the package gguf.
    """
    if not file.is_file():
        raise WeightsError(
            f"model.gguf {file} is no file (looked in {file.parent.resolve()}). `skingpt4 export --to gguf` writes the "
            "decoder as one; published GGUF files of the same decoder work, too."
        )
    reader = _reader(file)
    found = _size(file, reader)
    if found != shape:
        raise WeightsError(
            f"{file} is of another decoder than `llama_model`: its embedding has {found[0]:,} tokens of width "
            f"{found[1]:,}, and config.json says {shape[0]:,} of {shape[1]:,}. Take the GGUF file of that decoder, or "
            "write one with `skingpt4 export --to gguf`."
        )
    wanted = recorded_decoder(checkpoint) if checkpoint else None
    if wanted is None:  # a released projection does not say what it was trained for
        return True
    embedding_hash = _embedding_hash(reader)
    if embedding_hash is None:
        return False
    if (wanted.vocabulary_size, wanted.embedding_hash) != (found[0], embedding_hash):
        raise WeightsError(
            f"{checkpoint}: this projection was trained for another decoder of the same width "
            f"({wanted.vocabulary_size:,} tokens, embedding {wanted.embedding_hash[:12]}); {file} has {found[0]:,} "
            f"tokens, embedding {embedding_hash[:12]}. Answers would be gibberish: take the GGUF file of the decoder "
            "that it was trained with."
        )
    return True


def _reader(file: Path) -> GGUFReader:
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise SettingsError("GGUF files are read by the package gguf: `pip install 'skingpt4[llamacpp]'`.") from error
    with file.open("rb") as opened:
        is_gguf = opened.read(len(MAGIC)) == MAGIC
    try:
        if is_gguf:
            return GGUFReader(file)
    except (ValueError, LookupError) as error:
        raise WeightsError(
            f"{file} is torn, or newer than the installed package gguf ({error}). Download it again; if that does not "
            "help: `pip install --upgrade gguf llama-cpp-python`."
        ) from error
    raise WeightsError(f"{file} is no GGUF file, or a torn one. Download it again.")


def _size(file: Path, reader: GGUFReader) -> tuple[int, int]:
    """Vocabulary and width, as the file's head says them: of a file in parts, the first one has no tensors perhaps."""
    kind = reader.get_field("general.architecture")
    width = reader.get_field(f"{kind.contents()}.embedding_length") if kind else None
    tokens = reader.get_field("tokenizer.ggml.tokens")
    if width is None or tokens is None:
        raise WeightsError(
            f"{file} says no width or has no vocabulary, so it is no decoder that could speak. Take the GGUF file of "
            "the decoder itself; of a file in parts, name the first."
        )
    return len(tokens.data), int(width.contents())


def _embedding_hash(reader: GGUFReader) -> str | None:
    """What the file says or shows of its embedding; None where it is quantised and says nothing."""
    said = reader.get_field(HASH_KEY)
    if said is not None:
        return str(said.contents())
    tensor = next((tensor for tensor in reader.tensors if tensor.name == EMBEDDING), None)
    embedding = None if tensor is None else _values(tensor)
    return None if embedding is None else DecoderIdentity.of_embedding(embedding).embedding_hash


def _values(tensor: ReaderTensor) -> Tensor | None:
    """float[V, D] of an embedding that is not quantised."""
    import torch

    name, shape = tensor.tensor_type.name, tuple(int(size) for size in reversed(tensor.shape))
    dtypes = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    if name not in dtypes:
        return None
    return torch.from_numpy(tensor.data.copy()).view(dtypes[name]).reshape(shape)
