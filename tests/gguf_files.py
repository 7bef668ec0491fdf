"""Decoders as GGUF files, for tests."""

from __future__ import annotations

from pathlib import Path

import gguf
import torch

from skingpt4.weights.gguf import write_gguf


def quantised_by_others(file: Path, target: Path) -> Path:
    """A copy of a GGUF file with its embedding in 8 bits and without our mark: as files from elsewhere are."""
    reader = gguf.GGUFReader(file)
    writer = gguf.GGUFWriter(target, "llama")
    for field in reader.fields.values():
        if not field.name.startswith(("GGUF.", "general.architecture", "skingpt4.")):
            subtype = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], subtype)
    for tensor in reader.tensors:
        if tensor.name == "token_embd.weight":
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(tensor.name, gguf.quants.quantize(tensor.data.astype("float32"), kind), raw_dtype=kind)
        else:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def written(decoder: torch.nn.Module, folder: Path, tokenizer: Path, kind: str = "f32") -> Path:
    """The GGUF file of a decoder in memory."""
    decoder.save_pretrained(folder / "llm")
    (folder / "llm" / "tokenizer.model").write_bytes(tokenizer.read_bytes())
    return write_gguf(folder / "llm", folder / f"{kind}.gguf", kind)
