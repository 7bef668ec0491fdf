"""Faults put into files and installations, as they happen to people."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tiny_models import Sizes, llama_config, write_tokenizer

SIZE_13B = Sizes(llama_width=5120, llama_layers=40, llama_heads=40, llama_intermediate=13824, llama_vocabulary=32000)


def install(folder: Path, package: str, version: str, *needs: str) -> None:
    """What pip leaves of a package, without its code: name, version and what it requires."""
    metadata = folder / f"{package}-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {package}", f"Version: {version}"]
    metadata.write_text("\n".join([*lines, *(f"Requires-Dist: {need}" for need in needs)]) + "\n\n")


def write_projection_for_7b(path: Path, qformer_width: int) -> None:
    """As MiniGPT-4 publishes it."""
    weight, bias = torch.zeros(4096, qformer_width), torch.zeros(4096)
    torch.save({"model": {"llama_proj.weight": weight, "llama_proj.bias": bias}}, path)


def write_decoder_13b_without_weights(folder: Path) -> None:
    """A Vicuna-13B's config.json, with a small tokenizer: all that is read before the weights."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(llama_config(SIZE_13B)), encoding="utf-8")
    write_tokenizer(folder / "tokenizer.model", 400)


def write_byte_level_tokenizer(folder: Path, size: int) -> None:
    """A GPT-2-like `tokenizer.json`: bytes, merges, no SentencePiece."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: index for index, letter in enumerate(letters)}
    vocabulary |= {f"unused{index}": index for index in range(len(letters), size - 1)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(folder / "tokenizer.json"))


def write_sentencepiece_of_llamas_size(path: Path) -> None:
    """32,000 pieces, as LLaMA's, and others."""
    from sentencepiece import sentencepiece_model_pb2

    write_tokenizer(path, 400)
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(path.read_bytes())
    for number in range(32000 - len(model.pieces)):
        model.pieces.add(piece=f"unused{number}", score=-1000.0 - number)
    path.write_bytes(model.SerializeToString())
