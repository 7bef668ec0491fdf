"""Which device, which numbers: found out before anything is loaded, with the command that mends it."""

from __future__ import annotations

import pytest
import torch

from skingpt4.device import check_kernels, resolve_device, resolve_dtype, resolve_vit_dtype
from skingpt4.errors import DeviceError
from skingpt4.settings import Settings
from skingpt4.weights.build import build_model

CPU = torch.device("cpu")
CUDA_13 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]  # torch 2.15.0's
CUDA_12_8 = ["sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]  # torch 2.10.0's
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def test_a_v100_without_kernels_names_the_extra() -> None:
    with pytest.raises(DeviceError) as caught:
        check_kernels((7, 0), CUDA_13, "Tesla V100-SXM2-32GB")
    assert str(caught.value) == (
        "Tesla V100-SXM2-32GB has compute capability 7.0, and this torch was built for sm_75, sm_80, sm_86, sm_90, "
        "sm_100, sm_120, compute_120. Install the last torch that has them: "
        'pip install "skingpt4[v100]" (torch 2.10).'
    )


@pytest.mark.parametrize(
    ("capability", "architectures"),
    [
        ((7, 0), CUDA_12_8),
        ((7, 5), CUDA_13),
        ((8, 0), CUDA_13),
        ((8, 9), CUDA_13),  # an Ada runs Ampere's binaries
        ((9, 0), CUDA_13),
        ((12, 0), CUDA_13),
        ((12, 1), CUDA_13),
        ((9, 0), ["sm_80", "compute_80"]),  # compiled at first use
        ((9, 0), ["sm_90a"]),
    ],
)
def test_a_gpu_with_kernels(capability: tuple[int, int], architectures: list[str]) -> None:
    check_kernels(capability, architectures, "a GPU")


@pytest.mark.parametrize(
    ("capability", "architectures"),
    [((6, 1), CUDA_13), ((3, 7), CUDA_12_8), ((9, 0), ["sm_80", "sm_86"]), ((8, 0), ["sm_86"]), ((9, 0), [])],
)
def test_another_gpu_without_kernels(capability: tuple[int, int], architectures: list[str]) -> None:
    with pytest.raises(DeviceError, match=r"run on the CPU with `--device cpu`") as caught:
        check_kernels(capability, architectures, "Old")
    assert "v100" not in str(caught.value)


@no_gpu
@pytest.mark.parametrize(("name", "number"), [("cuda", 0), ("cuda:0", 0), ("cuda:3", 3)])
def test_a_gpu_that_is_not_there_names_the_flag_for_the_cpu(name: str, number: int) -> None:
    with pytest.raises(DeviceError) as caught:
        resolve_device(name)
    message = str(caught.value)
    assert message.startswith(f"GPU {number} does not exist: this machine has no GPU that torch can use.")
    assert "--device cpu" in message
    assert "--options run.device=cpu" in message


@no_gpu
def test_auto_without_a_gpu_is_the_cpu() -> None:
    assert resolve_device("auto") == CPU == resolve_device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "mps", "meta", ""])
def test_an_unknown_device(name: str) -> None:
    with pytest.raises(DeviceError, match=r"use auto, cpu, cuda or cuda:N\."):
        resolve_device(name)


def test_dtypes_of_a_cpu() -> None:
    assert resolve_dtype("fp32", CPU) == torch.float32
    assert resolve_dtype("bf16", CPU) == torch.bfloat16
    assert resolve_dtype("auto", CPU) in (torch.float32, torch.bfloat16)
    with pytest.raises(DeviceError, match=r"precision fp16 is for GPUs; on a CPU use fp32 or bf16 \(`--options model"):
        resolve_dtype("fp16", CPU)


def test_the_vit_follows_the_decoder_unless_told_otherwise() -> None:
    assert resolve_vit_dtype("auto", torch.bfloat16, CPU) == torch.bfloat16
    assert resolve_vit_dtype("fp16", torch.float32, CPU) == torch.float32  # upstream's files say so for everyone
    assert resolve_vit_dtype("fp32", torch.bfloat16, CPU) == torch.float32


@no_gpu
def test_the_device_is_looked_at_before_any_file(tiny_settings: Settings) -> None:
    tiny_settings.run.device = "cuda:0"
    tiny_settings.model.vit_weights = "nowhere.pth"
    with pytest.raises(DeviceError, match="GPU 0 does not exist"):
        build_model(tiny_settings)
