"""Marks: one bit a flow that tells of most flows that a table does not hold them, without a look into the table."""

from __future__ import annotations

import numpy as np

from ..kernels import inline_kernel, kernel

MARKS = 32
"""Bits for each slot of a table."""
ONE, SIX, SIXTY_THREE = np.uint64(1), np.uint64(6), np.uint64(63)


def words_for(slots: int) -> int:
    """Return the 64-bit words that the marks of a table take: a power of two."""
    return 1 << (MARKS * slots // 64 - 1).bit_length()


@inline_kernel
def marked(marks, key):
    """Return 0 where the table does not hold a flow, 1 where it may. The words of `marks` are a power of two."""
    bit = key & (np.uint64(len(marks)) << SIX) - ONE
    return marks[bit >> SIX] >> (bit & SIXTY_THREE) & ONE


@inline_kernel
def mark(marks, key):
    """Mark a flow as one that the table may hold."""
    bit = key & (np.uint64(len(marks)) << SIX) - ONE
    marks[bit >> SIX] |= ONE << (bit & SIXTY_THREE)


@kernel
def mark_anew(fp, marks):
    """Mark the flows that the table holds and no others, as an epoch begins.

    Within one a mark stays when its flow goes: only tagged flows evict others, so few go.
    """
    marks[:] = 0
    for flow in fp:
        if flow != 0:
            mark(marks, flow)
