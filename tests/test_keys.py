"""Flow keys against the same hash in plain integers."""

from __future__ import annotations

import numpy as np
import pytest
from mozart.traces.key_kernels import BLOCK
from mozart.traces.keys import flow_keys
from mozart.traces.packets import PacketBatch

WORD = (1 << 64) - 1
SEED, STEP = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93


def plain_key(words: list[int]) -> int:
    """Hash the words of one packet, one after the other."""
    state = SEED
    for word in words:
        state = (state ^ word) * STEP & WORD
        state ^= state >> 32
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & WORD
    state = (state ^ state >> 27) * 0x94D049BB133111EB & WORD
    return state ^ state >> 31 or 1


def random_batch(packets: int) -> PacketBatch:
    """Packets with every bit of every field in use."""
    rng = np.random.default_rng(packets)
    address = {name: rng.integers(0, 1 << 64, (packets, 2), dtype=np.uint64) for name in ("src", "dst")}
    port = {name: rng.integers(0, 1 << 16, packets) for name in ("src_port", "dst_port")}
    return PacketBatch.of(time_ns=np.arange(packets), protocol=rng.integers(0, 256, packets), **address, **port)


@pytest.mark.parametrize("packets", [0, 1, 17, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 5])
@pytest.mark.parametrize("reverse", [False, True])
def test_keys_equal_their_plain_twin_whatever_the_block(packets: int, reverse: bool) -> None:
    batch = random_batch(packets)
    rows = zip(
        *(getattr(batch, name).tolist() for name in ("src", "dst", "src_port", "dst_port", "protocol")), strict=True
    )
    plain: dict[str, list[int]] = {"src": [], "dst": [], "src+dst": [], "five-tuple": []}
    for src, dst, src_port, dst_port, protocol in rows:
        if reverse:
            src, dst, src_port, dst_port = dst, src, dst_port, src_port
        plain["src"].append(plain_key(src))
        plain["dst"].append(plain_key(dst))
        plain["src+dst"].append(plain_key(src + dst))
        plain["five-tuple"].append(plain_key([*src, *dst, src_port << 32 | dst_port << 16 | protocol]))
    assert {kind: flow_keys(batch, kind, reverse).tolist() for kind in plain} == plain
