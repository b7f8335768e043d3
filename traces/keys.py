"""Flow keys: the fields that identify a flow for a task, as 64-bit numbers.

All tables know a flow by the 64-bit hash of its key. Two of a million flows share one with a probability of about
3e-8, so counts are called exact. 0 is never a key; tables use it for "empty". The hash is fixed, not salted: the
same trace gives the same tables on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .key_kernels import hash_addresses, hash_five_tuples, hash_pairs
from .packets import PacketBatch

KEY_KINDS = ("five-tuple", "src", "dst", "src+dst")


def flow_keys(batch: PacketBatch, kind: str, reverse: bool = False) -> NDArray[np.uint64]:
    """Return the key of every packet's flow, shape (packets,).

    With `reverse`, the key that the flow in the opposite direction has: what a selector's device looks up to tag
    the packets that answer a selected flow.
    """
    src, dst = (batch.dst, batch.src) if reverse else (batch.src, batch.dst)
    keys = np.empty(len(batch), np.uint64)
    if kind == "five-tuple":
        ports = (batch.dst_port, batch.src_port) if reverse else (batch.src_port, batch.dst_port)
        hash_five_tuples(src, dst, *ports, batch.protocol, keys)
    elif kind == "src+dst":
        hash_pairs(src, dst, keys)
    elif kind in ("src", "dst"):
        hash_addresses(src if kind == "src" else dst, keys)
    else:
        raise ValueError(f"no key {kind!r}; there are {', '.join(KEY_KINDS)}")
    return keys
