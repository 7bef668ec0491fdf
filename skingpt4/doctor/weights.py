"""Each weight file: is it there, is it whole, does it belong with the others.

Nothing big is read: files are mapped, and only headers, shapes and (for a projection of ours) the decoder's embedding
are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from skingpt4.doctor.finding import FAULT, GOOD, WARNING, Finding, attempt
from skingpt4.doctor.gguf import examine_gguf
from skingpt4.engines.vllm_server import VllmServer
from skingpt4.errors import SettingsError, SkinGPTError, WeightsError
from skingpt4.processor import Processor
from skingpt4.settings import ModelSettings
from skingpt4.tokenizer import SentencePieceTokenizer, Tokenizer, load_tokenizer
from skingpt4.weights.build import build_encoder
from skingpt4.weights.catalogue import advice, misfit, needed_to_talk, published_as
from skingpt4.weights.checkpoint import (
    DECODER_OF_WIDTH,
    DecoderIdentity,
    checkpoint_settings,
    find_checkpoint,
    recorded_decoder,
    require_decoder,
    require_width,
)
from skingpt4.weights.convert import projection_tensors
from skingpt4.weights.decoder import decoder_config, decoder_files, decoder_shape, empty_decoder, require_merged
from skingpt4.weights.embedding_table import load_embedding
from skingpt4.weights.files import places_of, read_shapes, read_tensors, some, weights_path
from skingpt4.weights.quantize import require_package, stored_quantization, wanted_quantization

if TYPE_CHECKING:
    from transformers import PretrainedConfig

LLAMA_TOKENS = 32000  # LLaMA, Llama-2, Vicuna
LLAMA_STOP = [835]  # their `###`, the id that MiniGPT-4's `stop_words_ids` wait for
UNUSED_ROWS = 0.02  # of an embedding: rows without a token that padding to a round number leaves


def examine_weights(model: ModelSettings) -> Iterator[Finding]:
    """Findings about the files that these settings name, each as far as what it depends on is there."""
    missing = set()
    for key, value in needed_to_talk(model).items():
        try:
            if value and weights_path(value).exists():
                continue
            looked = ", ".join(str(place.absolute()) for place in places_of(value)) if value else "nothing"
            found, mend = f"{value or '(not set)'} is missing; looked at {looked}", f"It is {advice(key, value)}"
        except SkinGPTError as error:
            found, mend = str(error), ""
        missing.add(key)
        yield Finding(f"model.{key}", FAULT, found, mend)
    if not {"vit_weights", "q_former_model"} & missing:
        yield attempt("vision and Q-Former", lambda: _encoder(model))
    if "llama_model" not in missing:
        yield from _examine_decoder(model, with_gguf=model.engine == "llamacpp" and "gguf" not in missing)
    if model.ckpt and "ckpt" not in missing:
        yield attempt("projection", lambda: _projection(model, with_decoder="llama_model" not in missing))
        yield from _warn_of_projection(model)


def _encoder(model: ModelSettings) -> str:
    """Load it through the normal path in the precision that it is stored in, so that it stays a mapped file."""
    path = weights_path(model.vit_weights)
    stored = next((t.dtype for t in read_tensors(path).values() if t.ndim > 1), None) if path.is_file() else None
    build_encoder(model, stored or torch.float32, torch.device("cpu"))
    return f"{path}, {weights_path(model.q_former_model)}: whole, and of the sizes of these settings"


def _examine_decoder(model: ModelSettings, with_gguf: bool) -> Iterator[Finding]:
    folder = weights_path(model.llama_model)
    described = attempt("decoder", lambda: f"{decoder_shape(folder)}")
    if described.status == FAULT:
        yield described
        return
    yield attempt("decoder", lambda: _decoder(folder, model))
    if with_gguf:
        yield examine_gguf(folder, model)
    yield attempt("tokenizer", lambda: _tokenizer(folder, model))
    yield _template(folder, model)


def _decoder(folder: Path, model: ModelSettings) -> str:
    """What its config.json says, and that its files hold exactly that; where they are needed here."""
    config = decoder_config(folder, may_be_quantised=True)
    rows, width = decoder_shape(folder)
    stored = stored_quantization(config)
    require_package(wanted_quantization(model) or stored)
    found = f"{folder}: {config.model_type}, {rows:,} tokens, width {width}" + (f", in {stored}" if stored else "")
    if model.engine == "llamacpp":
        return f"{found}; run by llama.cpp from a file of its own"
    if model.engine == "vllm":
        if not model.engine_url:
            return f"{found}; run by vLLM"
        VllmServer(model.engine_url).require_decoder(load_embedding(folder))
        return f"{found}; the very one that vLLM runs at {model.engine_url}"
    files = decoder_files(folder)
    require_merged(folder)
    _require_shapes(folder, config, files)
    size = sum(file.stat().st_size for file in files)
    return f"{found}; {len(files)} file{'s' * (len(files) > 1)}, {size / 1e9:.1f} GB, whole"


def _require_shapes(folder: Path, config: PretrainedConfig, files: list[Path]) -> None:
    """Raise `WeightsError` where a parameter of config.json's model is in no file, or of another shape."""
    shapes = {name: shape for file in files for name, shape in read_shapes(file).items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in empty_decoder(config, folder).named_parameters()}
    if getattr(config, "quantization_config", None) or not wanted.keys() & shapes.keys():
        return  # kept under other names, which loading knows
    wrong = [
        f"{name} {shapes[name]} instead of {wanted[name]}"
        for name in wanted.keys() & shapes.keys()
        if shapes[name] != wanted[name]
    ]
    missing = sorted(wanted.keys() - shapes.keys())
    if wrong or missing:
        listed = [f"{len(missing)} missing: {some(missing)}"] * bool(missing) + [
            f"of another shape: {some(sorted(wrong))}"
        ] * bool(wrong)
        raise WeightsError(
            f"The decoder in {folder} is not what its config.json says. {'; '.join(listed)}. Download it again."
        )


def _tokenizer(folder: Path, model: ModelSettings) -> str:
    """Whether the tokenizer can be this decoder's: its size, and how it writes the `###` that ends an answer."""
    tokenizer, (rows, _) = load_tokenizer(folder), decoder_shape(folder)
    if not rows * (1 - UNUSED_ROWS) <= tokenizer.size <= rows:
        raise WeightsError(
            f"The tokenizer in {folder} has {tokenizer.size:,} tokens and the decoder {rows:,}: they are of different "
            "families, and answers would be gibberish. Copy the tokenizer from where the decoder came from."
        )
    ids = tokenizer.encode("###")
    of_llama = published_as(model.llama_model) or published_as(model.ckpt)  # all that are published are LLaMAs
    is_as_large = isinstance(tokenizer, SentencePieceTokenizer) and tokenizer.size == LLAMA_TOKENS
    if of_llama and is_as_large and ids != LLAMA_STOP:
        raise WeightsError(
            f"The tokenizer in {folder} is as large as LLaMA's and another one: it writes ### as {ids}, LLaMA's as "
            f"{LLAMA_STOP}. Copy tokenizer.model from the repository that the decoder came from."
        )
    _require_faithful(tokenizer, folder)
    return f"{tokenizer.size:,} tokens, ### is {ids}"


def _require_faithful(tokenizer: Tokenizer, folder: Path) -> None:
    text = "Psoriasis: plaques, 3 cm.###"
    again = tokenizer.decode(tokenizer.encode(text)).strip()
    if again != text:
        raise WeightsError(
            f"The tokenizer in {folder} does not give a text back as it was: {text!r} becomes {again!r}."
        )


def _template(folder: Path, model: ModelSettings) -> Finding:
    """The words around a question, and whether an answer can end."""
    try:
        processor = Processor.from_settings(model, load_tokenizer(folder))
    except SkinGPTError as error:
        return Finding("template", FAULT, str(error))
    stops, trained = processor.chat_template.stops, processor.training_template.stops
    found = f"{model.chat_template}; an answer ends at {' or '.join(stops)}"
    if set(trained) & set(stops):
        return Finding("template", GOOD, found)
    return Finding(
        "template", WARNING, found,
        f"Training closes answers with {trained[0]!r} (model.end_sym), which this chat template does not wait for: "
        "choose the model.chat_template that belongs to it.",
    )  # fmt: skip


def _projection(model: ModelSettings, with_decoder: bool) -> str:
    path = find_checkpoint(str(weights_path(model.ckpt)))
    if not with_decoder:
        width = read_shapes(path).get("llama_proj.weight", (0,))[0]
        return f"{path}: for a decoder of width {width} ({DECODER_OF_WIDTH.get(width, 'not a LLaMA')})"
    folder = weights_path(model.llama_model)
    _, width = decoder_shape(folder)
    require_width(str(path), width)
    _require_qformer_width(path, model.qformer_width)
    unfit = misfit(model.ckpt, model.llama_model)
    if unfit:
        raise WeightsError(f"{path}: {unfit}")
    if recorded_decoder(path) is not None and model.engine == "llamacpp":
        return f"{path}: fits a decoder of width {width}; whether it is this very one, the GGUF file tells"
    if recorded_decoder(path) is not None:
        require_decoder(path, DecoderIdentity.of(load_embedding(folder)))
        return f"{path}: trained for this very decoder"
    return f"{path}: fits a decoder of width {width}; which one it was trained for, it does not say"


def _require_qformer_width(path: Path, wanted: int) -> None:
    found = projection_tensors(read_tensors(path))["llama_proj.weight"].shape[1]
    if found != wanted:
        raise WeightsError(
            f"{path} takes features of width {found:,}, and the Q-Former here gives {wanted:,}: it was trained without "
            "a Q-Former (as MiniGPT-v2 and MiniGPT-4 for Llama-2), or with another one. Take another projection."
        )


def _warn_of_projection(model: ModelSettings) -> Iterator[Finding]:
    """Settings that differ from those of a checkpoint's own training; what its publisher says of a released one."""
    published = published_as(model.ckpt)
    if published is not None and published.remark:
        yield Finding("projection, remark", WARNING, published.what, published.remark)
    try:
        path = find_checkpoint(str(weights_path(model.ckpt)))
        if recorded_decoder(path) is None:
            return
        trained = checkpoint_settings(path).model
    except WeightsError:
        return  # told already
    except SettingsError as error:
        yield Finding("projection, settings", WARNING, str(error), "It was saved by another version of this package.")
        return
    differing = [
        f"{name} {getattr(model, name)!r} instead of {getattr(trained, name)!r}"
        for name in ("prompt_template", "end_sym", "chat_template", "vit_model", "image_size", "num_query_token")
        if getattr(model, name) != getattr(trained, name)
    ]
    if differing:
        yield Finding(
            "projection, settings", WARNING, f"{path} was trained with other settings: {'; '.join(differing)}",
            f"Use its own: --cfg-path {path.parent}",
        )  # fmt: skip
