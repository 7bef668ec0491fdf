"""A decoder of the LLaMA family as a GGUF file, for llama.cpp: in 32 or 16 bits by the `gguf` package, in fewer by
llama.cpp's own quantiser.

One tensor is in memory at a time. The rows of the matrices for queries and keys are put in another order: llama.cpp
turns neighbouring pairs of numbers for a position (as Meta's own files), `transformers` numbers that are half a head
apart.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skingpt4.durable import remove, replacing
from skingpt4.errors import SettingsError, WeightsError
from skingpt4.weights.checkpoint import DecoderIdentity
from skingpt4.weights.decoder import StoredTensor, decoder_config, empty_decoder, stored_tensors
from skingpt4.weights.files import read_tensors, some
from skingpt4.weights.gguf_file import HASH_KEY

if TYPE_CHECKING:
    import torch
    from gguf import GGUFWriter
    from transformers import PretrainedConfig

PLAIN = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}  # torch's names
QUANTISED = ("q8_0", "q4_0", "q4_k_m")
FAMILY = ("llama", "mistral")
TOKENIZER_MODEL = "tokenizer.model"  # of SentencePiece
OTHER_DECODERS = (
    "llama.cpp's own `convert_hf_to_gguf.py` writes many more decoders; name its file as model.gguf (`--gguf`)."
)


def write_gguf(decoder_directory: Path, file: Path, quantization: str) -> Path:
    """Write the decoder of a Hugging Face directory as a GGUF file, whole or not at all; returns `file`.

    quantization: f32, f16, bf16, q8_0, q4_0 or q4_k_m. The last three are made by llama.cpp from a 16-bit file, which
    lies beside `file` in the meantime. Raises `SettingsError` for another name or without the packages, `WeightsError`
    for decoders that are not of the family or not whole, and where the disk is too full.
    """
    if quantization not in (*PLAIN, *QUANTISED):
        raise SettingsError(
            f"GGUF in {quantization!r} is unknown; it must be one of {', '.join((*PLAIN, *QUANTISED))}."
        )
    config = decoder_config(decoder_directory)
    _require_family(config, decoder_directory)
    tensors = _tensors(config, decoder_directory)
    with replacing(file) as partial:
        if quantization in PLAIN:
            _require_disk(file, tensors, 4 if quantization == "f32" else 2)
            _write_plain(decoder_directory, config, tensors, partial, quantization)
            return file
        half = partial.with_name(f"{partial.name}.16bit")
        remove(half)  # what a killed process left, so that its room counts as free
        _require_disk(file, tensors, 3)  # bytes per number: 16 bits, and at most 8.5 beside them
        try:
            _write_plain(decoder_directory, config, tensors, half, _stored_kind(tensors))
            _quantize(half, partial, quantization)
        finally:
            remove(half)
    return file


class _Tensor:
    """A tensor of the decoder's files, read when it is asked for. The file is opened anew: a mapping would keep every
    page that was read.
    """

    def __init__(self, place: StoredTensor, shape: tuple[int, ...], heads: int):
        self.shape, self._place, self._heads = shape, place, heads

    def stored(self) -> torch.Tensor:
        """As it is in its file."""
        return self._place.of(read_tensors(self._place.file))

    def read(self) -> torch.Tensor:
        """In llama.cpp's order."""
        stored = self.stored()
        if not self._heads:
            return stored
        return stored.unflatten(0, (self._heads, 2, -1)).transpose(1, 2).reshape(stored.shape)


def _tensors(config: PretrainedConfig, directory: Path) -> dict[str, _Tensor]:
    """Every tensor that the file will have, by its name there."""
    from gguf import MODEL_ARCH, get_tensor_name_map

    empty = empty_decoder(config, directory)
    places = stored_tensors(directory, empty)
    expected = {name: tuple(value.shape) for name, value in empty.named_parameters()}
    missing = sorted(expected.keys() - places.keys())
    if missing:
        raise WeightsError(f"The decoder in {directory} lacks {len(missing)} tensors: {some(missing)}.")
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    return {
        str(names.get_name(name, try_suffixes=(".weight", ".bias"))): _Tensor(
            places[name], shape, heads.get(name.split(".")[-2], 0)
        )
        for name, shape in expected.items()
    }


def _write_plain(directory: Path, config: PretrainedConfig, tensors: dict[str, _Tensor], file: Path, kind: str) -> None:
    """A file in 32 or 16 bits; norms are always in 32."""
    import gguf
    import torch

    writer = gguf.GGUFWriter(file, "llama")
    try:
        describe(writer, config)
        add_tokenizer(writer, directory, config.vocab_size)
        embedding = DecoderIdentity.of_embedding(tensors["token_embd.weight"].read())
        writer.add_string(HASH_KEY, embedding.embedding_hash)
        file_types = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16"}
        writer.add_file_type(gguf.LlamaFileType[file_types[kind]])
        kinds = {name: kind if len(tensor.shape) > 1 else "f32" for name, tensor in tensors.items()}
        for name, tensor in tensors.items():
            numpy_type = _as_numpy(torch.empty(0), kinds[name]).dtype
            count = torch.Size(tensor.shape).numel()
            raw = gguf.GGMLQuantizationType[kinds[name].upper()]
            writer.add_tensor_info(name, tensor.shape, numpy_type, count * numpy_type.itemsize, raw)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, tensor in tensors.items():
            writer.write_tensor_data(_as_numpy(tensor.read(), kinds[name]))
    finally:
        writer.close()


def _as_numpy(tensor: torch.Tensor, kind: str) -> Any:
    """numpy knows no bf16: its bits go as int16."""
    import torch

    values = tensor.to(getattr(torch, PLAIN[kind])).contiguous()
    return (values.view(torch.int16) if kind == "bf16" else values).numpy()


def describe(writer: GGUFWriter, config: PretrainedConfig) -> None:
    """The decoder's sizes, under GGUF's names."""
    import gguf

    rotary = config.rope_parameters
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    head_width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(head_width)
    writer.add_value_length(head_width)
    writer.add_rope_dimension_count(head_width)
    writer.add_rope_freq_base(rotary["rope_theta"])
    if rotary["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rotary["factor"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def add_tokenizer(writer: GGUFWriter, directory: Path, rows: int) -> None:
    """The pieces of `tokenizer.model`, for other programs: this package encodes text itself."""
    import gguf
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(model_file=str(directory / TOKENIZER_MODEL))
    if len(pieces) > rows:
        raise WeightsError(f"{directory}: the tokenizer has {len(pieces):,} tokens and the embedding {rows:,}.")
    tokens = [pieces.id_to_piece(i) for i in range(len(pieces))] + [f"[PAD{i}]" for i in range(len(pieces), rows)]
    scores = [pieces.get_score(i) for i in range(len(pieces))] + [-10000.0] * (rows - len(pieces))
    types = [_token_type(pieces, i) for i in range(len(pieces))] + [gguf.TokenType.UNUSED] * (rows - len(pieces))
    added = directory / "added_tokens.json"
    for text, token in json.loads(added.read_text(encoding="utf-8")).items() if added.is_file() else ():
        if token < rows:
            tokens[token], scores[token], types[token] = text, -1000.0, gguf.TokenType.USER_DEFINED
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(pieces.bos_id())
    writer.add_eos_token_id(pieces.eos_id())
    writer.add_unk_token_id(pieces.unk_id())
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def _token_type(pieces: Any, token: int) -> int:
    import gguf

    kinds = {
        gguf.TokenType.UNKNOWN: pieces.is_unknown,
        gguf.TokenType.CONTROL: pieces.is_control,
        gguf.TokenType.UNUSED: pieces.is_unused,
        gguf.TokenType.BYTE: pieces.is_byte,
    }
    return next((kind for kind, is_of in kinds.items() if is_of(token)), gguf.TokenType.NORMAL)


def _quantize(source: Path, target: Path, quantization: str) -> None:
    """llama.cpp's quantiser, with its usual mixture: the head in more bits than the layers."""
    import torch

    from skingpt4.engines.llamacpp_library import last_errors, library

    lib = library()
    wanted = lib.llama_model_quantize_default_params()
    kinds = {"q8_0": "Q8_0", "q4_0": "Q4_0", "q4_k_m": "Q4_K_M"}
    wanted.ftype = getattr(lib, f"LLAMA_FTYPE_MOSTLY_{kinds[quantization]}")
    wanted.nthread = torch.get_num_threads()
    wanted.max_buf_size = 1 << 30  # bytes of a tensor in memory at once
    if lib.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(wanted)):
        raise WeightsError(f"llama.cpp could not write the decoder in {quantization}: {last_errors()}.")


def _stored_kind(tensors: dict[str, _Tensor]) -> str:
    """The 16 bits that lose nothing of what the files hold: bf16 of bf16, else f16."""
    return "bf16" if str(tensors["token_embd.weight"].stored().dtype) == "torch.bfloat16" else "f16"


def _require_family(config: PretrainedConfig, directory: Path) -> None:
    try:
        import gguf  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            "GGUF files are written by the package gguf: `pip install 'skingpt4[llamacpp]'`."
        ) from error
    rotary = getattr(config, "rope_parameters", None) or {}
    faults = {
        f"model_type {config.model_type!r}": config.model_type not in FAMILY,
        f"positions of the kind {rotary.get('rope_type')!r}": rotary.get("rope_type") not in ("default", "linear"),
        "a sliding window": bool(getattr(config, "sliding_window", None)),
        f"no {TOKENIZER_MODEL}": not (directory / TOKENIZER_MODEL).is_file(),
    }
    found = [fault for fault, is_there in faults.items() if is_there]
    if found:
        raise WeightsError(
            f"The decoder in {directory} has {', '.join(found)}; a LLaMA with a SentencePiece {TOKENIZER_MODEL} was "
            f"expected. {OTHER_DECODERS}"
        )


def _require_disk(file: Path, tensors: dict[str, _Tensor], bytes_per_number: int) -> None:
    import torch

    needed = bytes_per_number * sum(torch.Size(tensor.shape).numel() for tensor in tensors.values())
    free = shutil.disk_usage(file.parent).free
    if needed > free:
        raise WeightsError(
            f"Writing {file} needs {needed / 1e9:.1f} GB on the disk, and {free / 1e9:.1f} GB are free. "
            "Make room, or name a folder on another disk."
        )
