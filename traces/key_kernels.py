"""Hot loops that turn header fields into 64-bit flow keys (`keys.py` says what for).

The loops run over flat addresses, high word and low word in turn: with a stride that it knows, the compiler makes
several keys at once in the processor's wide registers. A key is a chain of seven multiplications that wait for each
other, longer than what a processor looks ahead; so a block of keys takes one field after the other, and the short
chains of neighbouring keys run side by side.
"""

from __future__ import annotations

import numpy as np

from ..kernels import flat, lean_kernel, mix64

SEED = np.uint64(0x9E3779B97F4A7C15)
STEP = np.uint64(0xD6E8FEB86659FD93)
BLOCK = 1024
"""Keys that take a field before any takes the next; they stay in the nearest cache."""


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
def fold_addresses(address, states):
    """Take an address into each running hash: its high word, then its low word."""
    for i in range(len(states)):
        states[i] = fold(fold(states[i], address[2 * i]), address[2 * i + 1])


@lean_kernel
def begin_with_pairs(src, dst, states):
    """Begin running hashes with ordered pairs of addresses."""
    states[:] = SEED
    fold_addresses(src, states)
    fold_addresses(dst, states)


@lean_kernel
def fold_ports(src_port, dst_port, protocol, states):
    """Take ports and protocol into each running hash."""
    for i in range(len(states)):
        ports = np.uint64(src_port[i]) << np.uint64(32) | np.uint64(dst_port[i]) << np.uint64(16)
        states[i] = fold(states[i], ports | np.uint64(protocol[i]))


@lean_kernel
def finish_all(states):
    """Make keys of running hashes."""
    for i in range(len(states)):
        states[i] = finish(states[i])


@lean_kernel
def hash_addresses(address, keys):
    """Write the key of each address."""
    address = flat(address)
    for begin in range(0, len(keys), BLOCK):
        end = min(begin + BLOCK, len(keys))
        states = keys[begin:end]
        states[:] = SEED
        fold_addresses(address[2 * begin : 2 * end], states)
        finish_all(states)


@lean_kernel
def hash_pairs(src, dst, keys):
    """Write the key of each ordered pair of addresses."""
    src, dst = flat(src), flat(dst)
    for begin in range(0, len(keys), BLOCK):
        end = min(begin + BLOCK, len(keys))
        states = keys[begin:end]
        begin_with_pairs(src[2 * begin : 2 * end], dst[2 * begin : 2 * end], states)
        finish_all(states)


@lean_kernel
def hash_five_tuples(src, dst, src_port, dst_port, protocol, keys):
    """Write the key of each (source, destination, ports, protocol)."""
    src, dst = flat(src), flat(dst)
    for begin in range(0, len(keys), BLOCK):
        end = min(begin + BLOCK, len(keys))
        states = keys[begin:end]
        begin_with_pairs(src[2 * begin : 2 * end], dst[2 * begin : 2 * end], states)
        fold_ports(src_port[begin:end], dst_port[begin:end], protocol[begin:end], states)
        finish_all(states)
