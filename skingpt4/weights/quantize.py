"""The frozen decoder's matrices in 8 or 4 bits: `model.decoder_quantization`, through libraries that are optional.

    int8   torchao: a scale per row, 1 byte a weight; any device
    nf4    bitsandbytes: QLoRA's 4-bit normal floats with doubly quantised scales, 0.52 bytes a weight; any device

Embedding, norms and the vocabulary projection stay in the decoder's precision: the embedding is what a checkpoint knows
its decoder by, and the projection's errors would go straight into the loss. `transformers` quantises each matrix as it
is read, so that no full-precision copy of the decoder is ever in memory.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skingpt4.errors import WeightsError
from skingpt4.settings import ModelSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PACKAGE_OF = {"int8": "torchao", "nf4": "bitsandbytes"}
INSTALL_COMMAND = 'pip install "skingpt4[quantization]"'
NF4_BLOCK, NF4_SCALE_BLOCK = 64, 256  # weights that share a scale; scales that share a scale of their own


def wanted_quantization(settings: ModelSettings) -> str:
    """`decoder_quantization`, or int8 where upstream's `low_resource` asks for a small decoder; "" = none."""
    return settings.decoder_quantization or ("int8" if settings.low_resource else "")


def stored_quantization(config: Any) -> str:
    """int8 or nf4 for a decoder whose files are so already, as `skingpt4 export --to decoder` writes them; else ""."""
    stored = getattr(config, "quantization_config", None) or {}
    stored = stored if isinstance(stored, dict) else stored.to_dict()
    if stored.get("quant_method") == "torchao" and "Int8WeightOnlyConfig" in str(stored.get("quant_type")):
        return "int8"
    return "nf4" if stored.get("quant_method") == "bitsandbytes" and stored.get("bnb_4bit_quant_type") == "nf4" else ""


def require_package(kind: str) -> None:
    """Raise `WeightsError` when the package that makes `kind` is not installed ("" needs none)."""
    if kind and importlib.util.find_spec(PACKAGE_OF[kind]) is None:
        raise WeightsError(
            f"A decoder in {kind} (model.decoder_quantization, or model.low_resource for int8) is made by "
            f"{PACKAGE_OF[kind]}, which is not installed. {INSTALL_COMMAND}, or load the decoder as it is: "
            "leave decoder_quantization empty and low_resource false."
        )


def quantization_config(kind: str, dtype: torch.dtype) -> Any:
    """What `transformers`' `from_pretrained` takes as `quantization_config`. dtype: what the matrices compute in.

    Raises `WeightsError` when the package that does it is not installed.
    """
    require_package(kind)
    if kind == "int8":
        from torchao.quantization import Int8WeightOnlyConfig
        from transformers import TorchAoConfig

        return TorchAoConfig(Int8WeightOnlyConfig(set_inductor_config=False))
    from transformers import BitsAndBytesConfig

    _import_bitsandbytes()
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def quantised_matrices(decoder: PreTrainedModel, kind: str) -> list[str]:
    """Names of the modules whose weight `transformers` quantises: matrices of the layers, not the vocabulary's."""
    from transformers.pytorch_utils import Conv1D
    from transformers.quantizers.base import get_keys_to_not_convert

    left_out = set(get_keys_to_not_convert(decoder))
    classes = nn.Linear if kind == "int8" else (nn.Linear, Conv1D)  # GPT-2's, which torchao does not know
    return [name for name, module in decoder.named_modules() if isinstance(module, classes) and name not in left_out]


def finish(decoder: PreTrainedModel, kind: str) -> None:
    """Make the loaded, quantised matrices fit for training through them.

    Raises `WeightsError` for a decoder without matrices that can be quantised, and for matrices whose shape is not that
    of the configuration (`transformers` does not compare those that it quantises).
    """
    matrices = {name: module for name, module in decoder.named_modules() if _is_quantised(module)}
    if not matrices:
        raise WeightsError(
            f"None of this {decoder.config.model_type} decoder's matrices can be kept in {kind}. "
            "Set model.decoder_quantization to another kind, or leave it empty."
        )
    misshapen = [
        name for name, module in matrices.items() if _shape(module) != (module.out_features, module.in_features)
    ]
    if misshapen:
        listed = ", ".join(f"{name}.weight" for name in misshapen[:6])
        raise WeightsError(
            f"The decoder is not what its config.json says: {listed} of another shape. Download it again."
        )
    for module in matrices.values():
        if kind == "int8":
            module.__class__ = FrozenLinear
        else:
            # Else the first pass without gradients repacks the weights for a fast product that has no derivative, and
            # every later step learns nothing, silently (bitsandbytes 0.50, CPUs with AVX512-BF16).
            module.support_avx512bf16_for_cpu = False


def stored_bytes(weight: Tensor, kind: str) -> int:
    """Bytes of a matrix of this shape after quantisation, scales included."""
    count, rows = weight.numel(), weight.shape[0]
    if kind == "int8":
        return count + 5 * rows  # a float32 scale and a zero point of one byte, which is zero
    scales = -(-count // NF4_BLOCK)
    return -(-count // 2) + scales + 4 * -(-scales // NF4_SCALE_BLOCK)


class FrozenLinear(nn.Linear):
    """A linear layer whose quantised weight is not trained: nothing but itself is kept for the backward pass.

    torchao's own product keeps the weight as it was widened for the multiplication: a full-precision copy of the whole
    decoder by the end of a forward pass.
    """

    def forward(self, input: Tensor) -> Tensor:
        product: Tensor = _FrozenProduct.apply(input, self.weight)
        return product if self.bias is None else product + self.bias


class _FrozenProduct(torch.autograd.Function):
    """input float[..., I] times the transpose of weight [O, I] -> float[..., O]; gradient to the input only."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Any) -> Tensor:
        ctx.weight = weight
        return F.linear(input, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        return gradient @ ctx.weight.dequantize(gradient.dtype), None


def _is_quantised(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) and type(module.weight) is not nn.Parameter


def _shape(module: Any) -> tuple[int, ...]:
    state = getattr(module.weight, "quant_state", None)  # 4-bit weights are packed into a column
    return tuple(module.weight.shape if state is None else state.shape)


def _import_bitsandbytes() -> None:
    """On some CPUs its import asks `kernels`, where that is installed, to download a product that has no derivative:
    this package reaches the network only when the user asked, so that is out of its sight, and its complaint silent.
    """
    if "bitsandbytes" in sys.modules:
        return
    logger, before = logging.getLogger("bitsandbytes"), sys.modules.get("kernels")
    level = logger.level
    logger.setLevel(logging.ERROR)
    sys.modules["kernels"] = None  # type: ignore[assignment]
    try:
        import bitsandbytes  # noqa: F401
    finally:
        logger.setLevel(level)
        del sys.modules["kernels"]
        if before is not None:
            sys.modules["kernels"] = before
