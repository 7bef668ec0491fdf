"""Memory-mapped tensors: pages of the file come in as they are read, and go back once they have been converted.

Without the second half a 13 GB file that is converted from fp16 to bf16 counts twice in the process's resident memory:
its pages stay mapped until the file is closed, however long ago they were needed.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PAGE_BYTES = 4096
WORTH_BYTES = 1 << 20  # smaller tensors are not worth a look at the process's mappings
MADV_DONTNEED = 4


def converted(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """`tensor` in `dtype`: itself where that is its own, else a copy, and the pages behind `tensor` are given back."""
    result = tensor.to(dtype)
    if result is not tensor:
        give_back(tensor)
    return result


class LazyTensor:
    """A mapped tensor that is read when it is indexed, as `transformers` does with a safetensors file's slices.

    dtype: what it will be converted to. The copy that indexing returns lives until then; the pages behind it are given
    back at once.
    """

    def __init__(self, tensor: Tensor, dtype: torch.dtype):
        self._tensor = tensor
        self._dtype = dtype

    def __getitem__(self, index: Any) -> Tensor:
        if self._tensor.dtype == self._dtype:
            return self._tensor[index]
        copy = self._tensor[index].clone()
        give_back(self._tensor)
        return copy


def give_back(tensor: Tensor) -> None:
    """Drop the resident pages of a tensor that lies in a privately mapped file; reading it again reads the file again.

    Does nothing elsewhere: for memory of the process's own, for small tensors, on systems other than Linux.
    """
    if (
        sys.platform != "linux"
        or tensor.device.type != "cpu"
        or tensor.nbytes < WORTH_BYTES
        or not tensor.is_contiguous()
    ):
        return
    start = -(-tensor.data_ptr() // PAGE_BYTES) * PAGE_BYTES
    end = (tensor.data_ptr() + tensor.nbytes) // PAGE_BYTES * PAGE_BYTES
    if start < end and _in_mapped_file(start, end):
        _madvise()(start, end - start, MADV_DONTNEED)


def _in_mapped_file(start: int, end: int) -> bool:
    """Whether these addresses are one private mapping of a file: of other memory, `madvise` would erase the content."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        addresses, permissions, _, _, inode = line.split(maxsplit=5)[:5]
        first, last = (int(part, 16) for part in addresses.split("-"))
        if first <= start < last:
            return end <= last and inode != "0" and permissions.endswith("p")
    return False


@cache
def _madvise() -> Any:
    import ctypes

    function = ctypes.CDLL(None).madvise
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function
