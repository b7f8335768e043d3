"""Memory of the large tables, whose entries are found in no order."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def zeroed(count: int, dtype: Any = np.uint64) -> NDArray[Any]:
    """Make `count` zeros that begin at a page, in huge pages where the system has them.

    So no entry of a power of two bytes straddles cache lines, and finding one does not wait for page tables as well.
    """
    memory = mmap.mmap(-1, max(count * np.dtype(dtype).itemsize, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype, count)


def release(memory: NDArray[Any], begin: int, end: int) -> None:
    """Give part of what `zeroed` made back to the system, where it can take it: it must not be used any more.

    `begin` and `end` are whole pages.
    """
    mapped = memory.base.obj if isinstance(memory.base, memoryview) else memory.base
    if hasattr(mmap, "MADV_DONTNEED") and isinstance(mapped, mmap.mmap):
        mapped.madvise(mmap.MADV_DONTNEED, begin * memory.itemsize, (end - begin) * memory.itemsize)
