"""Flow keys: the fields that identify a flow for a task, as 64-bit numbers under the secret of a run.

All tables know a flow by the 64-bit hash of its key. Two of a million flows share one with a probability of about
3e-8, so counts are called exact. 0 is never a key; tables use it for "empty".

The hash has a secret, so that nobody can send flows that share a key, or a bucket, with one another or with somebody
else's flow. Each half of a key is a multilinear hash (pairwise products, Lemire and Kaser, "Strongly universal string
hashing is fast", 2014) with 64-bit multipliers for words of 32 bits. Such a hash is strongly universal: over the choice
of the secret, the halves of any two different flows are independent and uniform. So whichever two flows an attacker
picks without the secret, they share a key with probability 2^-64, and n bits of it with 2^-n; the scrambling behind
it is a bijection and changes nothing of that. Multiplying whole words of 64 bits would not do: flipping the top bits of
two words cancels whatever the odd multipliers are, and so does a chain of multiply and shift. The hash is linear in its
secret: enough keys give it away. So keys, and what has them in it, are for the owner of a run alone.

A replay has its secret from the task file's seed: same seed, same bytes. A live run draws one at random, which the
plan and the configurations of its devices hold. What must be the same for everybody stays without a secret: the host
that stands for an address (`map: hash`) and the choice among equal paths. Neither is taken for a flow's identity.
"""

from __future__ import annotations

import hashlib
import secrets

import numpy as np
from numpy.typing import NDArray

from .key_kernels import MULTIPLIERS, hash_addresses, hash_five_tuples, hash_pairs
from .packets import PacketBatch

KEY_KINDS = ("five-tuple", "src", "dst", "src+dst")
SECRET_BYTES = 32
"""Of a secret drawn at random."""


class FlowHash:
    """Turns the header fields of packets into flow keys, under one secret."""

    def __init__(self, secret: bytes) -> None:
        """Derive the multipliers of both halves from the secret, which may have any length."""
        drawn = hashlib.shake_256(b"mozart flow keys\0" + secret).digest(2 * MULTIPLIERS * 8)
        self._multipliers = np.frombuffer(drawn, "<u8").astype(np.uint64).reshape(2, MULTIPLIERS)

    @classmethod
    def seeded(cls, seed: int) -> FlowHash:
        """Return the hash of a replay with this seed."""
        return cls(bytes.fromhex(seeded_secret(seed)))

    @classmethod
    def at_random(cls) -> FlowHash:
        """Return a hash that nobody has had before: for counts of this process alone."""
        return cls(secrets.token_bytes(SECRET_BYTES))

    def keys(self, batch: PacketBatch, kind: str, reverse: bool = False) -> NDArray[np.uint64]:
        """Return the key of every packet's flow, shape (packets,).

        With `reverse`, the key that the flow in the opposite direction has: what a selector's device looks up to tag
        the packets that answer a selected flow.
        """
        src, dst = (batch.dst, batch.src) if reverse else (batch.src, batch.dst)
        if kind == "five-tuple":
            ports = (batch.dst_port, batch.src_port) if reverse else (batch.src_port, batch.dst_port)
            return self.of_five_tuples(src, dst, *ports, batch.protocol)
        keys = np.empty(len(batch), np.uint64)
        if kind == "src+dst":
            hash_pairs(src, dst, self._multipliers, keys)
        elif kind in ("src", "dst"):
            hash_addresses(src if kind == "src" else dst, self._multipliers, keys)
        else:
            raise ValueError(f"no key {kind!r}; there are {', '.join(KEY_KINDS)}")
        return keys

    def of_five_tuples(
        self,
        src: NDArray[np.uint64],
        dst: NDArray[np.uint64],
        src_port: NDArray[np.uint16],
        dst_port: NDArray[np.uint16],
        protocol: NDArray[np.uint8],
    ) -> NDArray[np.uint64]:
        """Return the keys of five-tuples given as columns; addresses have the shape (flows, 2)."""
        keys = np.empty(len(protocol), np.uint64)
        hash_five_tuples(src, dst, src_port, dst_port, protocol, self._multipliers, keys)
        return keys


def seeded_secret(seed: int) -> str:
    """Return the secret that follows from a seed, in hexadecimal digits."""
    return hashlib.sha256(f"mozart seed {seed}".encode()).hexdigest()
