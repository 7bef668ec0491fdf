"""How many bytes the parts of a model take, found without their weights.

Weights are counted on `meta`. What a step keeps for its backward pass is counted by taking that step with the model's
own code on fake tensors, which have shapes and no values: true for every decoder and every change of the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import LlamaConfig, PretrainedConfig, PreTrainedModel

from skingpt4.errors import WeightsError
from skingpt4.model.packing import TrainingBatch
from skingpt4.model.skingpt4 import SkinGPT4
from skingpt4.prompts import IMAGE_SLOT, TrainingSequence
from skingpt4.settings import ModelSettings
from skingpt4.weights.build import empty_encoder, kept_dtypes
from skingpt4.weights.decoder import decoder_config, empty_decoder
from skingpt4.weights.files import weights_path
from skingpt4.weights.quantize import quantised_matrices, stored_bytes, stored_quantization, wanted_quantization

BEFORE_IMAGE, AFTER_IMAGE = 8, 56  # tokens of template and question: more than the project's own have
# LLaMA's published sizes, for a decoder whose folder is not there: width, layers, heads, intermediate width.
PUBLISHED = {"7": (4096, 32, 32, 11008), "13": (5120, 40, 40, 13824)}


@dataclass(frozen=True, eq=False)
class DecoderPlan:
    """A decoder that is not loaded. statement: where its sizes come from, "" = from its config.json."""

    config: PretrainedConfig
    name: str
    statement: str

    @property
    def stored_kind(self) -> str:
        """int8 or nf4 where its files are so already; else ""."""
        return stored_quantization(self.config)

    def kind(self, settings: ModelSettings) -> str:
        """In what its matrices are kept: int8, nf4, or "" for the precision of the settings."""
        return wanted_quantization(settings) or self.stored_kind


def plan_decoder(llama_model: str) -> DecoderPlan:
    """The configuration behind `model.llama_model`: its `config.json`, or where its folder is missing the published
    LLaMA of the size that its name gives. Raises `WeightsError` for a missing folder whose name says no size.
    """
    folder = weights_path(llama_model)
    if folder.is_dir():
        return DecoderPlan(decoder_config(folder, may_be_quantised=True), folder.name, "")
    found = re.search(r"(?<!\d)(7|13)b(?![a-z])", folder.name.lower())
    if found is None:
        raise WeightsError(
            f"model.llama_model: {folder} does not exist, and its name does not say whether it is a 7B or 13B LLaMA. "
            "An estimate needs its config.json at least (a few hundred bytes)."
        )
    return published_decoder(found[1])


@lru_cache
def published_decoder(billions: str) -> DecoderPlan:
    """The LLaMA of 7 or 13 billion parameters, which Vicuna and Llama-2-chat are."""
    width, layers, heads, intermediate = PUBLISHED[billions]
    config = LlamaConfig(
        vocab_size=32000, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=intermediate, max_position_embeddings=2048,
    )  # fmt: skip
    return DecoderPlan(config, f"LLaMA {billions}B", "its folder is not there: the published sizes were taken")


@dataclass(frozen=True)
class DecoderBytes:
    """weights: all of them as stored. widest: the largest matrix of a layer in the computing precision, which a
    quantised one is widened to while it is used. layer: the largest share of the weights that is used at once, a
    layer's. width: of the embedding.
    """

    weights: int
    widest: int
    layer: int
    parameters: int
    width: int


@lru_cache(maxsize=16)
def decoder_bytes(plan: DecoderPlan, dtype: torch.dtype, quantization: str) -> DecoderBytes:
    """Bytes of the decoder's weights in `dtype`, its matrices quantised as `quantization` says ("" = not)."""
    decoder = empty_decoder(plan.config, Path(plan.name))
    quantised = {f"{name}.weight" for name in quantised_matrices(decoder, quantization)} if quantization else set()
    stored, widened = {}, {}
    for name, parameter in decoder.named_parameters():  # tied ones once
        widened[name] = parameter.numel() * dtype.itemsize
        stored[name] = stored_bytes(parameter, quantization) if name in quantised else widened[name]
    layers = max(1, int(plan.config.num_hidden_layers))
    outside = sum(weight.numel() * dtype.itemsize for weight in _vocabulary(decoder))
    return DecoderBytes(
        weights=sum(stored.values()),
        widest=max((widened[name] for name in quantised), default=0),
        layer=(sum(stored.values()) - outside) // layers,
        parameters=sum(parameter.numel() for parameter in decoder.parameters()),
        width=decoder.get_input_embeddings().weight.shape[1],
    )


@lru_cache(maxsize=16)
def step_bytes(
    plan: DecoderPlan, dtype: torch.dtype, samples: int, answer_tokens: int, queries: int, feature_width: int
) -> int:
    """Bytes that a forward pass of the projection and the decoder in `dtype` keeps for its backward pass.

    (For a GPU's bf16 ask for fp16: as wide, and its attention is fused on the CPU too, which is what this asks.)
    """
    before = BEFORE_IMAGE + queries + AFTER_IMAGE
    sequence = TrainingSequence(
        [1] * BEFORE_IMAGE + [IMAGE_SLOT] * queries + [1] * (AFTER_IMAGE + answer_tokens),
        [False] * before + [True] * answer_tokens,
    )
    batch = TrainingBatch.collate([sequence] * samples)
    decoder = empty_decoder(plan.config, Path(plan.name))
    with FakeTensorMode() as mode:
        _give_fake_values(decoder, dtype)
        projection = nn.Linear(feature_width, decoder.get_input_embeddings().weight.shape[1])
        model = SkinGPT4(None, None, projection, decoder).eval()
        fake = TrainingBatch(*(mode.from_tensor(getattr(batch, field.name)) for field in fields(batch)))
        features = torch.empty(samples, queries, feature_width)
        return saved_bytes(lambda: model(features, fake), [*model.parameters(), *model.buffers()])


def encoder_step_bytes(settings: ModelSettings, photographs: int) -> int:
    """Bytes that the encoder's forward pass keeps where a part of it is trained (`freeze_vit`, `freeze_qformer`)."""
    vision, qformer = empty_encoder(settings)
    vision.requires_grad_(not settings.freeze_vit)
    qformer.requires_grad_(not settings.freeze_qformer)
    with FakeTensorMode():
        for part in (vision, qformer):
            _give_fake_values(part.eval(), torch.float32)
        pixels = torch.empty(photographs, 3, settings.image_size, settings.image_size)
        own = [*vision.parameters(), *vision.buffers(), *qformer.parameters(), *qformer.buffers()]
        return saved_bytes(lambda: qformer(vision(pixels)), own)


def saved_bytes(run: Callable[[], object], own: Iterable[Tensor]) -> int:
    """Bytes of the tensors that `run` leaves for the backward pass, each memory once, those of `own` left out."""
    known = {tensor.untyped_storage()._cdata for tensor in own}
    sizes: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no memory's identity is given to another

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        alive.append(tensor)
        if storage._cdata not in known:
            sizes[storage._cdata] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outcome = run()
    del outcome
    return sum(sizes.values())


@dataclass(frozen=True)
class EncoderBytes:
    """weights: as stored. trained: parameters that training changes (float32). pass_through: a forward pass's working
    memory per photograph.
    """

    weights: int
    trained: int
    pass_through: int


def encoder_bytes(settings: ModelSettings, dtype: torch.dtype) -> EncoderBytes:
    """The photograph encoder with the matrices of its vision transformer in `dtype` (float32 where it is trained)."""
    vision, qformer = empty_encoder(settings)
    kept = kept_dtypes(vision.backbone, dtype if settings.freeze_vit else torch.float32)
    named = vision.backbone.state_dict()
    weights = sum(tensor.numel() * kept[name].itemsize for name, tensor in named.items())
    weights += sum(tensor.numel() * 4 for part in (vision.ln_vision, qformer) for tensor in part.state_dict().values())
    trained = [vision] * (not settings.freeze_vit) + [qformer] * (not settings.freeze_qformer)
    patches = (settings.image_size // settings.vit_patch_size) ** 2 + 1
    return EncoderBytes(
        weights,
        sum(parameter.numel() for part in trained for parameter in part.parameters()),
        # tokens before and after a block's first matrix, in float32 at most, and the activation between
        patches * int(vision.width * (2 + 2 * settings.vit_mlp_ratio)) * 4,
    )


def _give_fake_values(module: nn.Module, dtype: torch.dtype) -> None:
    """Inside a `FakeTensorMode`: what is on `meta` becomes a fake tensor on the CPU, parameters in `dtype`."""
    for part in module.modules():
        for name, value in part.named_parameters(recurse=False):
            setattr(part, name, nn.Parameter(torch.empty(value.shape, dtype=dtype), value.requires_grad))
        for name, buffer in part.named_buffers(recurse=False):
            setattr(part, name, torch.empty(buffer.shape, dtype=buffer.dtype))


def _vocabulary(decoder: PreTrainedModel) -> list[Tensor]:
    """Both vocabulary matrices, or the one that they share."""
    modules = (decoder.get_input_embeddings(), decoder.get_output_embeddings())
    return list({id(module.weight): module.weight for module in modules if module is not None}.values())
