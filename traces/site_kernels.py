"""Hot loops that find the sites of addresses (`sites.py` says what for)."""

from __future__ import annotations

import numpy as np

from ..kernels import lean_kernel, mix64
from .key_kernels import SEED, finish, fold

SITE_SALT = np.uint64(0xA0761D6478BD642F)


@lean_kernel
def below(hash_, bound):
    """Turn a hash into a number below `bound`, evenly."""
    return np.int32(((mix64(hash_) >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32))


@lean_kernel
def spread(address, hosts, host):
    """Write the host of each address: by a hash of it, evenly over the hosts."""
    for i in range(np.uint64(len(host))):
        state = fold(fold(SEED, address[i, 0]), address[i, 1])
        host[i] = below(finish(state) ^ SITE_SALT, hosts)


@lean_kernel
def longest_prefix(address, words, length, prefix_host, host):
    """Write the host of the first prefix that holds each address (prefixes come longest first), else -1.

    A prefix of IPv6 holds no IPv4 address, although ::/0 holds their form in the layout.
    """
    ones = np.uint64(0xFFFFFFFFFFFFFFFF)
    for i in range(len(address)):
        host[i] = -1
        is_ipv4 = address[i, 0] == 0 and address[i, 1] >> np.uint64(32) == 0xFFFF
        for p in range(len(length)):
            if is_ipv4 and length[p] < 96:
                break
            high, low = ones, ones
            if length[p] <= 64:
                low = np.uint64(0)
                high = ones << np.uint64(64 - length[p]) if length[p] > 0 else np.uint64(0)
            elif length[p] < 128:
                low = ones << np.uint64(128 - length[p])
            if ((address[i, 0] ^ words[p, 0]) & high) == 0 and ((address[i, 1] ^ words[p, 1]) & low) == 0:
                host[i] = prefix_host[p]
                break
