"""Mapped files: opening reads nothing, and what was converted leaves no second copy behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from skingpt4.weights.decoder import StoredTensor, _ReadWhenIndexed
from skingpt4.weights.files import read_tensors

MEGABYTE = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def resident(field: str) -> int:
    """Bytes of `RssFile` or `RssAnon` of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def stored_tensors(folder: Path, form: str, count: int = 8) -> tuple[dict[str, Tensor], Path]:
    """`count` tensors of 8 MB in fp16, and a file of them."""
    tensors = {f"t{index}": torch.randn(2048, 2048).half() for index in range(count)}
    path = folder / f"w.{form}"
    if form == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return tensors, path


@linux
@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_opening_reads_nothing_and_conversion_leaves_no_pages(form: str, tmp_path: Path) -> None:
    originals, path = stored_tensors(tmp_path, form)
    before = resident("RssFile")
    found = read_tensors(path)
    assert resident("RssFile") - before < 16 * MEGABYTE  # of 64: opened, not read
    touched = sum(float(tensor.float().sum()) for tensor in found.values())
    assert resident("RssFile") - before > 48 * MEGABYTE  # the measurement sees mapped pages
    del found
    results = {}
    for name in originals:
        results[name] = _ReadWhenIndexed(StoredTensor(path, name), torch.bfloat16)[...].bfloat16()
        assert resident("RssFile") - before < 16 * MEGABYTE
    assert all(torch.equal(results[name], original.bfloat16()) for name, original in originals.items())
    assert touched == sum(float(original.float().sum()) for original in originals.values())


@linux
@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_same_dtype_is_no_copy(form: str, tmp_path: Path) -> None:
    originals, path = stored_tensors(tmp_path, form)
    before = resident("RssAnon")
    held = [_ReadWhenIndexed(StoredTensor(path, name), torch.float16)[...] for name in originals]
    assert resident("RssAnon") - before < 16 * MEGABYTE
    assert all(torch.equal(tensor, originals[f"t{index}"]) for index, tensor in enumerate(held))
