"""Which device and which numbers: chosen before anything is loaded, with errors that name the mending command."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from skingpt4.errors import DeviceError

if TYPE_CHECKING:
    import torch

V100_COMMAND = 'pip install "skingpt4[v100]"'


def resolve_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:N` -> a device that exists and that the installed torch has kernels for.

    Raises `DeviceError` otherwise.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":  # each process of `accelerate launch` or `torchrun` has a GPU of its own
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"Device {name!r} is unknown; use auto, cpu, cuda or cuda:N.") from error
    if device.type == "cuda":
        index = device.index or 0
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if index >= count:
            there = "no GPU that torch can use" if count == 0 else f"{count} GPU(s), numbered from 0"
            raise DeviceError(
                f"GPU {index} does not exist: this machine has {there}. To run on the CPU, give `--device cpu` "
                "(train.py: `--options run.device=cpu`)."
            )
        device = torch.device("cuda", index)
        check_kernels(
            torch.cuda.get_device_capability(device), torch.cuda.get_arch_list(), torch.cuda.get_device_name(device)
        )
    elif device.type != "cpu":
        raise DeviceError(f"Device {name!r} is not supported; use auto, cpu, cuda or cuda:N.")
    return device


def check_kernels(capability: tuple[int, int], architectures: list[str], name: str) -> None:
    """Raise `DeviceError` when torch was built without kernels for a GPU of this compute capability.

    architectures: what `torch.cuda.get_arch_list()` gives, e.g. ["sm_75", "sm_90", "compute_90"]. Binary code (`sm`)
    runs on the same major version from its minor version on; intermediate code (`compute`) is compiled for anything
    newer.
    """
    for architecture in architectures:
        match = re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", architecture)
        if match is None:
            continue
        built = (int(match.group(2)), int(match.group(3)))
        if built <= capability and (match.group(1) == "compute" or built[0] == capability[0]):
            return
    mend = (
        f"Install the last torch that has them: {V100_COMMAND} (torch 2.10)."
        if (7, 0) <= capability < (7, 5)
        else "Install a torch build for this GPU (see pytorch.org), or run on the CPU with `--device cpu`."
    )
    raise DeviceError(
        f"{name} has compute capability {capability[0]}.{capability[1]}, and this torch was built for "
        f"{', '.join(architectures)}. {mend}"
    )


def resolve_dtype(precision: str, device: torch.device) -> torch.dtype:
    """`auto`, `fp32`, `fp16` or `bf16` -> a dtype that the device computes in. Raises `DeviceError` when it cannot.

    auto: bf16 where the hardware has it (CPUs with AVX512-BF16 or AMX, GPUs from compute capability 8.0), else fp16 on
    a GPU (V100s) and fp32 on a CPU.
    """
    import torch

    if precision == "auto":
        if device.type == "cpu":
            return torch.bfloat16 if cpu_has_bf16() else torch.float32
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    if precision == "fp16" and device.type == "cpu":
        raise DeviceError("precision fp16 is for GPUs; on a CPU use fp32 or bf16 (`--options model.precision=fp32`).")
    if precision == "bf16" and device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        raise DeviceError(
            f"{torch.cuda.get_device_name(device)} has no bf16; use fp16 (`--options model.precision=fp16`, or auto)."
        )
    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def resolve_vit_dtype(vit_precision: str, decoder_dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype of the vision transformer's matrices. Upstream's files say fp16 for everyone; on a CPU that follows the
    decoder.
    """
    if vit_precision == "auto" or (vit_precision == "fp16" and device.type == "cpu"):
        return decoder_dtype
    return resolve_dtype(vit_precision, device)


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 matrices in hardware."""
    import torch

    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check)() for check in checks if hasattr(torch.cpu, check))
