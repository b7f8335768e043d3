"""Hot loops that turn header fields into 64-bit flow keys (`keys.py` says what for).

The loops run over flat addresses, high word and low word in turn: with a stride that it knows, the compiler makes
several keys at once in the processor's wide registers.
"""

from __future__ import annotations

import numpy as np

from ..kernels import flat, lean_kernel, mix64

SEED = np.uint64(0x9E3779B97F4A7C15)
STEP = np.uint64(0xD6E8FEB86659FD93)


@lean_kernel
def fold(state, word):
    """Take one more 64-bit word into a running hash."""
    state = (state ^ word) * STEP
    return state ^ (state >> np.uint64(32))


@lean_kernel
def finish(state):
    """Return the scrambled hash, never 0."""
    value = mix64(state)
    if value == np.uint64(0):
        value = np.uint64(1)
    return value


@lean_kernel
def hash_addresses(address, keys):
    """Write the key of each address."""
    address = flat(address)
    for i in range(len(keys)):
        keys[i] = finish(fold(fold(SEED, address[2 * i]), address[2 * i + 1]))


@lean_kernel
def hash_pairs(src, dst, keys):
    """Write the key of each ordered pair of addresses."""
    src, dst = flat(src), flat(dst)
    for i in range(len(keys)):
        state = fold(fold(SEED, src[2 * i]), src[2 * i + 1])
        keys[i] = finish(fold(fold(state, dst[2 * i]), dst[2 * i + 1]))


@lean_kernel
def hash_five_tuples(src, dst, src_port, dst_port, protocol, keys):
    """Write the key of each (source, destination, ports, protocol)."""
    src, dst = flat(src), flat(dst)
    for i in range(len(keys)):
        ports = np.uint64(src_port[i]) << np.uint64(32) | np.uint64(dst_port[i]) << np.uint64(16)
        state = fold(fold(SEED, src[2 * i]), src[2 * i + 1])
        state = fold(fold(state, dst[2 * i]), dst[2 * i + 1])
        keys[i] = finish(fold(state, ports | np.uint64(protocol[i])))
