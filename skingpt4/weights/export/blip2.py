"""Our model -> a directory of `transformers`' `Blip2ForConditionalGeneration`, which opens without this package.

The decoder becomes BLIP-2's language model. `transformers` wants a token in the vocabulary that marks where image
tokens go: the first id after the tokenizer's, for which embedding and head get one row more where they end there.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from skingpt4.errors import SettingsError, WeightsError
from skingpt4.images import CLIP_MEAN, CLIP_STD
from skingpt4.settings import ModelSettings, Settings
from skingpt4.tokenizer import IMAGE_TOKEN
from skingpt4.weights.build import build_model
from skingpt4.weights.checkpoint import DecoderIdentity, require_decoder
from skingpt4.weights.convert import LANGUAGE_MODEL, to_transformers
from skingpt4.weights.decoder import decoder_config, empty_decoder, vocabulary_names
from skingpt4.weights.export.decoder import SHARD_SIZE, decoder_tensors, require_room, save_tensors
from skingpt4.weights.export.projection import trained_projection
from skingpt4.weights.export.tokenizer import export_tokenizer
from skingpt4.weights.files import some, weights_path

if TYPE_CHECKING:
    from transformers import Blip2Config, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from skingpt4.processor import Processor


PATHS = ("vit_weights", "q_former_model", "llama_model", "ckpt", "prompt_path", "photo_check", "gguf", "engine_url")
OF_A_MACHINE = ("precision", "vit_precision", "engine", "compile", "device_map", "decoder_quantization", "low_resource")


def write_transformers(settings: Settings, folder: Path, shard_size: str = SHARD_SIZE) -> None:
    """Write the whole model of these settings into an empty folder: safetensors in shards, processor, chat template.

    The decoder's tensors go from file to file as they are, one shard in memory at a time; the others are kept in as few
    bits as lose nothing. Raises `SettingsError` for an encoder that BLIP-2 has no place for, and `WeightsError`.
    """
    wanted = settings.model
    checkpoint, directory = trained_projection(wanted), weights_path(wanted.llama_model)
    if wanted.vit_model != "eva_clip_g":
        raise SettingsError(
            f"model.vit_model is {wanted.vit_model!r}: `transformers`' BLIP-2 knows the encoder eva_clip_g only. "
            "Export the projection: --to pth."
        )
    exact = dataclasses.replace(wanted, precision="fp32", vit_precision="fp32", compile=False)
    on_cpu = dataclasses.replace(settings.run, device="cpu")
    model, processor = build_model(dataclasses.replace(settings, model=exact, run=on_cpu), with_decoder=False)
    tokenizer = export_tokenizer(directory, processor.chat_template, processor.tokenizer)
    image_token = int(tokenizer.convert_tokens_to_ids(IMAGE_TOKEN))

    text_config = decoder_config(directory)
    empty = empty_decoder(text_config, directory)
    decoder = decoder_tensors(directory, empty)
    identity = make_room(decoder, text_config, empty, image_token)
    require_decoder(checkpoint, identity)
    tensors = {name: narrowed(tensor) for name, tensor in to_transformers(model.state_dict()).items()}
    tensors |= {f"{LANGUAGE_MODEL}{name}": tensor for name, tensor in decoder.items()}
    text_config.eos_token_id = list(processor.tokenizer.eos_ids)
    config = blip2_config(wanted, text_config, image_token, identity.vocabulary_size)
    _require_all(config, tensors)

    folder.mkdir(parents=True, exist_ok=True)
    require_room(tensors.values(), folder)
    config.save_pretrained(folder)
    _generation_config(processor, tokenizer, image_token).save_pretrained(folder)
    _processor(processor, tokenizer).save_pretrained(folder)
    if (directory / "tokenizer.model").is_file():  # from which this package reads
        shutil.copyfile(directory / "tokenizer.model", folder / "tokenizer.model")
    save_tensors(tensors, folder, shard_size, _for_this_package(wanted, identity))


def blip2_config(
    settings: ModelSettings, text_config: PretrainedConfig, image_token: int, decoder_rows: int
) -> Blip2Config:
    """The configuration of these settings around a decoder's. image_token: the placeholder's id. decoder_rows: of its
    embedding before there was one, noted for the way back.
    """
    from transformers import Blip2Config

    return Blip2Config(
        vision_config={
            "image_size": settings.image_size,
            "patch_size": settings.vit_patch_size,
            "hidden_size": settings.vit_width,
            "num_hidden_layers": settings.vit_depth,
            "num_attention_heads": settings.vit_heads,
            "intermediate_size": int(settings.vit_width * settings.vit_mlp_ratio),
        },
        qformer_config={
            "hidden_size": settings.qformer_width,
            "num_hidden_layers": settings.qformer_layers,
            "num_attention_heads": settings.qformer_heads,
            "intermediate_size": settings.qformer_intermediate_width,
            "cross_attention_frequency": settings.qformer_cross_attention_frequency,
        },
        text_config=text_config.to_dict() | {"_name_or_path": ""},  # a path of this machine
        num_query_tokens=settings.num_query_token,
        image_token_index=image_token,
        decoder_vocab_size=decoder_rows,
        tie_word_embeddings=bool(getattr(text_config, "tie_word_embeddings", False)),
        architectures=["Blip2ForConditionalGeneration"],
        dtype=text_config.dtype,
    )


def make_room(
    tensors: dict[str, Tensor], config: PretrainedConfig, empty: PreTrainedModel, image_token: int
) -> DecoderIdentity:
    """Give embedding and head rows up to the placeholder's where they lack it; returns the decoder's identity before.
    config: the decoder's, which is told. empty: that decoder, without values.

    No row of the head is never likely, so it is a copy of the last one, whose token is the rarest of a vocabulary (or
    never used). Of the two, both as likely, the first is taken where the likeliest is wanted.
    """
    embedding = empty.get_input_embeddings().weight
    name_of_embedding = next(name for name, own in empty.named_parameters() if own is embedding)
    if name_of_embedding not in tensors:
        raise WeightsError(f"The decoder's files hold no {name_of_embedding}; they have {some(tensors)}.")
    identity = DecoderIdentity.of_embedding(tensors[name_of_embedding])
    config.dtype = config.dtype or tensors[name_of_embedding].dtype
    rows = embedding.shape[0]
    if image_token >= rows:
        for name in vocabulary_names(empty) & tensors.keys():
            tensors[name] = torch.cat([tensors[name], *[tensors[name][-1:]] * (image_token + 1 - rows)])
        config.vocab_size = image_token + 1
    return identity


def narrowed(tensor: Tensor) -> Tensor:
    """In half precision where that changes no number: most of the published files are."""
    half = tensor.half()
    return half if torch.equal(half.to(tensor.dtype), tensor) else tensor


def _require_all(config: Blip2Config, tensors: Mapping[str, Tensor]) -> None:
    """Raise `WeightsError` where a parameter of the exported model is missing, unknown or of another shape."""
    from transformers import Blip2ForConditionalGeneration

    with torch.device("meta"):
        model = Blip2ForConditionalGeneration(config)
    wanted = model.state_dict()
    missing = wanted.keys() - tensors.keys() - set(model.all_tied_weights_keys)
    unknown = tensors.keys() - wanted.keys()
    misshapen = [name for name in wanted.keys() & tensors.keys() if wanted[name].shape != tensors[name].shape]
    faults = {"missing": missing, "unknown": unknown, "of another shape": misshapen}
    listed = [f"{len(names)} {what}: {some(sorted(names))}" for what, names in faults.items() if names]
    if listed:
        raise WeightsError(
            f"This decoder ({config.text_config.model_type}) cannot be put into `transformers`' BLIP-2. Parameters "
            f"{'; '.join(listed)}. Export the projection: --to pth."
        )


def _generation_config(processor: Processor, tokenizer: PreTrainedTokenizerBase, image_token: int) -> Any:
    from transformers import GenerationConfig

    return GenerationConfig(
        bos_token_id=processor.tokenizer.bos_id,
        eos_token_id=list(processor.tokenizer.eos_ids),
        pad_token_id=tokenizer.pad_token_id,
        suppress_tokens=[image_token],
        stop_strings=list(processor.chat_template.stops),
        do_sample=False,
    )


def _processor(processor: Processor, tokenizer: PreTrainedTokenizerBase) -> Any:
    """LLaVA's, which puts as many placeholders as are wanted where the text has one; BLIP-2's own would put them in
    front of it, and forgets its chat template.
    """
    from transformers import LlavaProcessor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    side = processor.image_size
    images = BlipImageProcessorPil(size={"height": side, "width": side}, image_mean=CLIP_MEAN, image_std=CLIP_STD)
    return LlavaProcessor(
        images,
        tokenizer,
        patch_size=side,  # it counts one patch, and the others
        num_additional_image_tokens=processor.queries - 1,
        vision_feature_select_strategy="full",
        chat_template=tokenizer.chat_template,
    )


def _for_this_package(settings: ModelSettings, identity: DecoderIdentity) -> dict[str, str]:
    """What one of our checkpoints says of itself, but for what holds on the machine that it was made on only."""
    kept = dataclasses.replace(settings)
    for name in (*PATHS, *OF_A_MACHINE):
        setattr(kept, name, "" if name in PATHS else getattr(ModelSettings(), name))
    return {
        "settings": json.dumps(dataclasses.asdict(Settings(model=kept))),
        "decoder": json.dumps(dataclasses.asdict(identity)),
    }
