"""Memory that a file is written from as it stands, without a copy by the operating system."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys

import attrs
import torch
from torch import Tensor

BLOCK = 4096
"""In how many bytes at a time disks are written, at most: memory begins and ends at such a block."""


@attrs.frozen
class Memory:
    """Some memory; `memory` makes it."""

    tensor: Tensor
    """It as bytes, whole blocks of them."""

    view: memoryview
    """The same."""

    pinned: bool
    """Whether a GPU copies into it by itself."""

    process: int
    """Whose it is: a process that is forked off does not have it."""

    def holds(self, size: int, *, pinned: bool) -> bool:
        """Whether it can be used for so many bytes in this process."""
        return self.process == os.getpid() and len(self.view) >= size and self.pinned == pinned


def memory(size: int, *, pinned: bool = False) -> Memory:
    """Takes memory from the operating system.

    Args:
        size: How many bytes it holds at least.
        pinned: Whether a GPU is to copy into it.
    """
    size = in_blocks(size)
    if pinned:
        whole = torch.empty(size + BLOCK, dtype=torch.uint8, pin_memory=True)
        tensor = whole[-whole.data_ptr() % BLOCK :][:size]
        view = memoryview((ctypes.c_char * size).from_address(tensor.data_ptr())).cast("B")
        return Memory(tensor, view, pinned, os.getpid())
    if sys.platform == "win32":
        mapped = mmap.mmap(-1, size)
    else:
        mapped = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if sys.platform == "linux":
        mapped.madvise(mmap.MADV_HUGEPAGE)  # 500 times fewer page faults at the first copy
        mapped.madvise(mmap.MADV_DONTFORK)  # open(2): no process may be forked off in the middle of a direct write
    return Memory(torch.frombuffer(mapped, dtype=torch.uint8), memoryview(mapped), pinned, os.getpid())


def in_blocks(size: int) -> int:
    """A number of bytes as one of whole blocks, of one at least."""
    return max(1, -(-size // BLOCK)) * BLOCK
