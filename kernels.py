"""How the hot loops are compiled: one decorator and the integer hash that all tables share.

Kernels take and return arrays and scalars, never Python objects; they release the GIL, so two of them run on two
cores. The compiled code is cached on disk, so only the first run on a machine pays for compiling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a hot loop: no GIL, no bounds checks, division as numpy does it, code cached on disk."""
    return numba.njit(nogil=True, cache=True, error_model="numpy")(function)


def inline_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a helper of hot loops so that it becomes part of the loop that calls it."""
    return numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")(function)


@inline_kernel
def mix64(value: np.uint64) -> np.uint64:
    """Scramble 64 bits so that every input bit changes about half of the output bits (the splitmix64 finaliser)."""
    value = (value ^ (value >> np.uint64(30))) * MIX_1
    value = (value ^ (value >> np.uint64(27))) * MIX_2
    return value ^ (value >> np.uint64(31))
