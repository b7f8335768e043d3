"""Hot loops that find the sites of addresses (`sites.py` says what for)."""

from __future__ import annotations

import numpy as np

from ..kernels import lean_kernel, mix64

SEED = np.uint64(0x9E3779B97F4A7C15)
STEP = np.uint64(0xD6E8FEB86659FD93)
SITE_SALT = np.uint64(0xA0761D6478BD642F)


@lean_kernel
def below(hash_, bound):
    """Turn a hash into a number below `bound`, evenly."""
    return np.int32(((mix64(hash_) >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32))


@lean_kernel
def fold(state, word):
    """Take one more 64-bit word into a running hash."""
    state = (state ^ word) * STEP
    return state ^ (state >> np.uint64(32))


@lean_kernel
def host_of(high, low, hosts):
    """Return the host of an address by a hash of its two words, evenly over the hosts.

    The hash has no secret: every device, replay and run must find the same host, and it is no flow's identity.
    """
    return below(max(mix64(fold(fold(SEED, high), low)), np.uint64(1)) ^ SITE_SALT, hosts)


@lean_kernel
def spread(address, hosts, host):
    """Write the host of each address: by a hash of it, evenly over the hosts."""
    for i in range(np.uint64(len(host))):
        host[i] = host_of(address[i, 0], address[i, 1], hosts)


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
