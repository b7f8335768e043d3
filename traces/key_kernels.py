"""Hot loops that turn header fields into 64-bit flow keys under a secret (`keys.py` says what for, and why so).

A key's two halves of 32 bits are the upper halves of two sums, each with multipliers of its own:

    sum = m[0] + (m[1] + w[0]) (m[2] + w[1]) + (m[3] + w[2]) (m[4] + w[3]) + ...    (modulo 2^64)

w are the words of 32 bits of the header, m are random numbers of 64 bits. Then the key is scrambled, for tables that
look at a few of its bits. The products do not wait for each other, and the loops run over flat addresses, high word
and low word in turn, whose stride the compiler knows: it makes several keys at once in the processor's wide registers.
"""

from __future__ import annotations

import numpy as np

from ..kernels import flat, lean_kernel, mix64

MULTIPLIERS = 11
"""Of each of the two sums: one that is added, and one for each word of 32 bits of a five-tuple."""
HALF, LOW, PORT = np.uint64(32), np.uint64(0xFFFFFFFF), np.uint64(16)


@lean_kernel
def finish(upper, lower):
    """Return the scrambled key of two sums, never 0."""
    return max(mix64((upper >> HALF) << HALF | lower >> HALF), np.uint64(1))


@lean_kernel
def products(high, low, m1, m2, m3, m4):
    """Return what an address, of two words of 64 bits, adds to a sum."""
    return (m1 + (high >> HALF)) * (m2 + (high & LOW)) + (m3 + (low >> HALF)) * (m4 + (low & LOW))


@lean_kernel
def hash_addresses(address, multipliers, keys):
    """Write the key of each address."""
    address, (a, b) = flat(address), (multipliers[0], multipliers[1])
    a0, a1, a2, a3, a4 = a[0], a[1], a[2], a[3], a[4]
    b0, b1, b2, b3, b4 = b[0], b[1], b[2], b[3], b[4]
    for i in range(len(keys)):
        high, low = address[2 * i], address[2 * i + 1]
        keys[i] = finish(a0 + products(high, low, a1, a2, a3, a4), b0 + products(high, low, b1, b2, b3, b4))


@lean_kernel
def hash_pairs(src, dst, multipliers, keys):
    """Write the key of each ordered pair of addresses."""
    src, dst, (a, b) = flat(src), flat(dst), (multipliers[0], multipliers[1])
    a0, a1, a2, a3, a4, a5, a6, a7, a8 = a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8]
    b0, b1, b2, b3, b4, b5, b6, b7, b8 = b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8]
    for i in range(len(keys)):
        high, low, dst_high, dst_low = src[2 * i], src[2 * i + 1], dst[2 * i], dst[2 * i + 1]
        upper = a0 + products(high, low, a1, a2, a3, a4) + products(dst_high, dst_low, a5, a6, a7, a8)
        lower = b0 + products(high, low, b1, b2, b3, b4) + products(dst_high, dst_low, b5, b6, b7, b8)
        keys[i] = finish(upper, lower)


@lean_kernel
def hash_five_tuples(src, dst, src_port, dst_port, protocol, multipliers, keys):
    """Write the key of each (source, destination, ports, protocol)."""
    src, dst, (a, b) = flat(src), flat(dst), (multipliers[0], multipliers[1])
    a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10 = a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10]
    b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10 = b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10]
    for i in range(len(keys)):
        high, low, dst_high, dst_low = src[2 * i], src[2 * i + 1], dst[2 * i], dst[2 * i + 1]
        ports, last = np.uint64(src_port[i]) << PORT | np.uint64(dst_port[i]), np.uint64(protocol[i])
        upper = a0 + products(high, low, a1, a2, a3, a4) + products(dst_high, dst_low, a5, a6, a7, a8)
        lower = b0 + products(high, low, b1, b2, b3, b4) + products(dst_high, dst_low, b5, b6, b7, b8)
        keys[i] = finish(upper + (a9 + ports) * (a10 + last), lower + (b9 + ports) * (b10 + last))
