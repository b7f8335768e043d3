"""Flow keys against the same hash in plain integers, and against a sender who wants them to collide."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from mozart.replay.run import replay
from mozart.traces.keys import FlowHash, seeded_secret
from mozart.traces.packets import PacketBatch
from mozart.traces.sites import HashSites

WORD, HALF = (1 << 64) - 1, (1 << 32) - 1
SEED, STEP = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
"""Of the hash that keys once were, which had no secret."""
SECRET = bytes(range(32))


def plain_key(secret: bytes, fields: list[tuple[int, int]]) -> int:
    """Hash pairs of 32-bit words."""
    drawn = hashlib.shake_256(b"mozart flow keys\0" + secret).digest(176)
    numbers = [int.from_bytes(drawn[8 * i : 8 * i + 8], "little") for i in range(22)]
    halves = []
    for m in (numbers[:11], numbers[11:]):
        total = m[0] + sum((m[2 * i + 1] + a) * (m[2 * i + 2] + b) for i, (a, b) in enumerate(fields))
        halves.append((total & WORD) >> 32)
    state = halves[0] << 32 | halves[1]
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & WORD
    state = (state ^ state >> 27) * 0x94D049BB133111EB & WORD
    return state ^ state >> 31 or 1


def pairs_of(words: list[int]) -> list[tuple[int, int]]:
    """Cut 64-bit words in two."""
    return [(word >> 32, word & HALF) for word in words]


def random_batch(packets: int) -> PacketBatch:
    """Packets with every bit of every field in use."""
    rng = np.random.default_rng(packets)
    address = {name: rng.integers(0, 1 << 64, (packets, 2), dtype=np.uint64) for name in ("src", "dst")}
    port = {name: rng.integers(0, 1 << 16, packets) for name in ("src_port", "dst_port")}
    return PacketBatch.of(time_ns=np.arange(packets), protocol=rng.integers(0, 256, packets), **address, **port)


@pytest.mark.parametrize("packets", [0, 1, 17, 1000])
@pytest.mark.parametrize("reverse", [False, True])
def test_keys_equal_their_plain_twin(packets: int, reverse: bool) -> None:
    batch = random_batch(packets)
    rows = zip(
        *(getattr(batch, name).tolist() for name in ("src", "dst", "src_port", "dst_port", "protocol")), strict=True
    )
    plain: dict[str, list[int]] = {"src": [], "dst": [], "src+dst": [], "five-tuple": []}
    for src, dst, src_port, dst_port, protocol in rows:
        if reverse:
            src, dst, src_port, dst_port = dst, src, dst_port, src_port
        both = pairs_of(src + dst)
        plain["src"].append(plain_key(SECRET, pairs_of(src)))
        plain["dst"].append(plain_key(SECRET, pairs_of(dst)))
        plain["src+dst"].append(plain_key(SECRET, both))
        plain["five-tuple"].append(plain_key(SECRET, [*both, (src_port << 16 | dst_port, protocol)]))
    made = FlowHash(SECRET)
    assert {kind: made.keys(batch, kind, reverse).tolist() for kind in plain} == plain


def fold(state: int, word: int) -> int:
    """Take a word into the old hash."""
    state = (state ^ word) * STEP & WORD
    return state ^ state >> 32


def twins(count: int) -> PacketBatch:
    """Flows of IPv6 that all had one key: each second half of the source is solved for."""
    rng = np.random.default_rng(7)
    victim = rng.integers(0, 1 << 64, 2, dtype=np.uint64).tolist()
    after = fold(SEED, victim[0]) ^ victim[1]
    highs = rng.integers(0, 1 << 64, count, dtype=np.uint64).tolist()
    sources = [victim, *([high, after ^ fold(SEED, high)] for high in highs)]
    n = len(sources)
    return PacketBatch.of(
        time_ns=np.arange(n), src=sources, dst=[[1, 2]] * n, src_port=[5] * n, dst_port=[6] * n, protocol=[17] * n,
        ip_bytes=[1000] * n,
    )  # fmt: skip


def flipped(count: int) -> PacketBatch:
    """Flows of IPv6 that differ in the top bits of pairs of words: a multilinear hash of whole words is blind to it."""
    rows = np.tile(rng_words(4), (count, 1))
    for i in range(count):
        for word in (i % 4, (i + 1 + i // 4) % 4):
            rows[i, word] ^= np.uint64(1 << 63 | (i // 12) << 31)
    rows = np.unique(rows, axis=0)
    n = len(rows)
    return PacketBatch.of(
        time_ns=np.arange(n), src=rows[:, :2], dst=rows[:, 2:], src_port=[5] * n, dst_port=[6] * n, protocol=[17] * n
    )


def rng_words(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 1 << 64, count, dtype=np.uint64)


@pytest.mark.parametrize("kind", ["five-tuple", "src", "src+dst"])
def test_nobody_who_lacks_the_secret_can_give_a_flow_the_key_of_another(kind: str) -> None:
    batch = twins(1000)
    for secret in (SECRET, bytes(32), bytes.fromhex(seeded_secret(1))):
        keys = FlowHash(secret).keys(batch, kind)
        assert len(np.unique(keys)) == len(batch)
        # nor the bucket: the top ten bits of a thousand keys fall as at random
        assert len(np.unique(keys >> np.uint64(54))) == pytest.approx(647, abs=60)


def test_flips_of_top_bits_do_not_cancel() -> None:
    batch = flipped(48)
    for secret in (SECRET, bytes(32)):
        assert len(np.unique(FlowHash(secret).keys(batch, "five-tuple"))) == len(batch)


def test_every_secret_gives_other_keys_and_the_same_secret_the_same() -> None:
    batch = random_batch(50)
    one, other = FlowHash(b"one"), FlowHash(b"other")
    assert not np.isin(one.keys(batch, "src"), other.keys(batch, "src")).any()
    assert (one.keys(batch, "src") == FlowHash(b"one").keys(batch, "src")).all()
    assert not np.isin(FlowHash.at_random().keys(batch, "src"), FlowHash.at_random().keys(batch, "src")).any()


@pytest.mark.parametrize("bit", range(0, 64, 7))
def test_every_bit_of_a_key_follows_from_every_word(bit: int) -> None:
    rng = np.random.default_rng(bit)
    plain = random_batch(2000)
    for word in range(4):
        changed = plain.copy()
        column = changed.src if word < 2 else changed.dst
        column[:, word % 2] ^= np.uint64(1) << rng.integers(0, 64, len(plain)).astype(np.uint64)
        before, after = (FlowHash(SECRET).keys(batch, "five-tuple") for batch in (plain, changed))
        share = ((before ^ after) >> np.uint64(bit) & np.uint64(1)).mean()
        assert share == pytest.approx(0.5, abs=0.06)


def test_a_replay_takes_its_secret_from_its_seed_and_tells_crafted_flows_apart(tmp_path: Path) -> None:
    from mozart.traces.writer import PcapWriter

    batch = twins(300)
    src, dst = HashSites([f"h{i}" for i in range(1, 4)]).hosts_of(batch)
    batch = batch[np.flatnonzero(src != dst)]
    path = tmp_path / "crafted.pcap"
    with PcapWriter(path) as writer:
        writer.write(batch)
    elephant = {"event": "elephant", "at": "source-host", "threshold_mbps": 0.001, "window_s": 1, "key": "src"}
    task = {"name": "t", "selector": elephant, "monitor": {"measure": "volume", "at": "path-switches"}}
    spec = {"topology": {"name": "line", "n": 3}, "tasks": [task]}
    found = [replay(spec, trace=path, mode="tag", seed=seed) for seed in (1, 1, 2)]
    keys = [set(each.selected_keys["t"].tolist()) for each in found]
    assert all(len(each) == len(batch) for each in keys)
    assert found[0].trace["flows"] == len(batch)
    assert keys[0] == keys[1] and not keys[0] & keys[2]
    assert found[0].rows == found[1].rows
