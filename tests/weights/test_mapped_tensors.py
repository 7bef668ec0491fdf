"""Mapped files: no second copy, and nothing is lost when pages go back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from skingpt4.weights.files import read_tensors
from skingpt4.weights.mapped import LazyTensor, converted, give_back

MEGABYTE = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def resident(field: str) -> int:
    """Bytes of `RssFile` or `RssAnon` of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def mapped_tensors(folder: Path, form: str, count: int = 8) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """`count` tensors of 8 MB in fp16: as they are, and as a file's."""
    tensors = {f"t{index}": torch.randn(2048, 2048).half() for index in range(count)}
    path = folder / f"w.{form}"
    if form == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return tensors, read_tensors(path)


@linux
@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_opening_reads_nothing_and_conversion_gives_pages_back(form: str, tmp_path: Path) -> None:
    before = resident("RssFile")
    originals, found = mapped_tensors(tmp_path, form)
    assert resident("RssFile") - before < 16 * MEGABYTE  # of 64: opened, not read
    touched = [float(tensor.float().sum()) for tensor in found.values()]
    assert resident("RssFile") - before > 48 * MEGABYTE  # the measurement sees mapped pages
    results = {name: converted(tensor, torch.bfloat16) for name, tensor in found.items()}
    assert resident("RssFile") - before < 16 * MEGABYTE
    for name, original in originals.items():
        assert torch.equal(results[name], original.bfloat16())
    assert touched == [float(tensor.float().sum()) for tensor in found.values()]  # read from the file once more


@linux
@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_a_lazy_tensor_gives_its_pages_back(form: str, tmp_path: Path) -> None:
    originals, found = mapped_tensors(tmp_path, form, count=4)
    before = resident("RssFile")
    for name, tensor in found.items():
        assert torch.equal(LazyTensor(tensor, torch.bfloat16)[...].bfloat16(), originals[name].bfloat16())
        assert resident("RssFile") - before < 12 * MEGABYTE
    assert (
        LazyTensor(found["t0"], torch.float16)[...].data_ptr() == found["t0"].data_ptr()
    )  # no copy where none is needed


def test_memory_of_the_process_is_left_alone() -> None:
    own = torch.randn(1024, 1024)
    copy = own.clone()
    give_back(own)
    assert torch.equal(own, copy)
    assert torch.equal(converted(own, torch.float16), copy.half())
    assert torch.equal(own, copy)


def test_same_dtype_is_no_copy(tmp_path: Path) -> None:
    torch.save({"w": torch.randn(1024, 1024)}, tmp_path / "w.pth")
    tensor = read_tensors(tmp_path / "w.pth")["w"]
    assert converted(tensor, torch.float32).data_ptr() == tensor.data_ptr()
