"""The exact flow table, against a dictionary."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mozart.traces import flow_kernels
from mozart.traces.flows import FlowTable
from mozart.traces.keys import FlowHash
from mozart.traces.packets import PacketBatch

FLOW_HASH = FlowHash.seeded(1)


def random_batch(packets: int, flows: int, seed: int) -> PacketBatch:
    """Packets of a number of flows, in time order."""
    rng = np.random.default_rng(seed)
    flow = rng.integers(0, flows, packets)
    return PacketBatch.of(
        time_ns=np.sort(rng.integers(0, 10**12, packets)),
        src=np.stack((flow % 3, flow * 7919), axis=1),
        dst=np.stack((flow % 2, flow // 5), axis=1),
        src_port=flow % 60_000,
        dst_port=flow % 7,
        protocol=np.where(flow % 2, 6, 17),
        ip_bytes=rng.integers(20, 65536, packets),
    )


def counted_by_dictionary(batch: PacketBatch) -> dict[tuple[int, ...], list[int]]:
    """Count as the table does, in a dictionary: five-tuple to [packets, bytes, first time, last time]."""
    flows: dict[tuple[int, ...], list[int]] = defaultdict(lambda: [0, 0, -1, -1])
    for i in range(len(batch)):
        ports = batch.src_port[i], batch.dst_port[i], batch.protocol[i]
        entry = flows[tuple(map(int, (*batch.src[i], *batch.dst[i], *ports)))]
        entry[0] += 1
        entry[1] += int(batch.ip_bytes[i])
        entry[2] = int(batch.time_ns[i]) if entry[2] < 0 else entry[2]
        entry[3] = int(batch.time_ns[i])
    return flows


def rows_of(table: FlowTable) -> list[tuple[tuple[int, ...], list[int]]]:
    columns = table.to_columns()
    fields = np.column_stack(
        [columns["src"], columns["dst"], columns["src_port"], columns["dst_port"], columns["protocol"]]
    )
    counts = [columns[name].tolist() for name in ("packets", "bytes", "first_ns", "last_ns")]
    return [(tuple(map(int, f)), list(c)) for f, c in zip(fields, zip(*counts, strict=True), strict=True)]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3000), st.integers(1, 2000), st.integers(0, 2**32), st.integers(1, 700))
def test_table_equals_a_dictionary(packets: int, flows: int, seed: int, batch_packets: int) -> None:
    batch = random_batch(packets, flows, seed)
    table = FlowTable(FLOW_HASH, slots_log2=3)  # grows several times
    for begin in range(0, packets, batch_packets):
        table.add(batch[begin : begin + batch_packets])
    expected = counted_by_dictionary(batch)
    assert len(table) == len(expected)
    assert rows_of(table) == list(expected.items())
    assert sorted(table.packets().tolist()) == sorted(counts[0] for counts in expected.values())


def test_flows_beyond_one_piece_of_rows() -> None:
    batch = random_batch(200_000, 150_000, 1)
    table = FlowTable(FLOW_HASH)
    table.add(batch)
    keys, packets = np.unique(FLOW_HASH.keys(batch, "five-tuple"), return_counts=True)
    columns = table.to_columns()
    order = np.argsort(columns["key"])
    assert (columns["key"][order] == keys).all()
    assert (columns["packets"][order] == packets).all()
    assert columns["bytes"].sum() == batch.ip_bytes.sum(dtype=np.int64)


def test_keys_known_already_are_taken() -> None:
    batch = random_batch(1000, 50, 2)
    table = FlowTable(FLOW_HASH)
    table.add(batch, np.ones(1000, np.uint64))
    assert len(table) == 1
    assert table.to_columns()["packets"].tolist() == [1000]


def test_empty_table_has_empty_columns() -> None:
    assert {name: len(column) for name, column in FlowTable(FLOW_HASH).to_columns().items()} == dict.fromkeys(
        ("key", "packets", "bytes", "first_ns", "last_ns", "src", "dst", "src_port", "dst_port", "protocol"),
        0,
    )


@pytest.mark.parametrize("wraps", [0, 1, 2])
def test_more_packets_than_32_bits_hold(wraps: int) -> None:
    batch = random_batch(1, 1, 3)
    table = FlowTable(FLOW_HASH)
    table.add(batch)
    slot = np.flatnonzero(table._entries[:: flow_kernels.ENTRY_WORDS])[0] * flow_kernels.ENTRY_WORDS
    for _ in range(wraps):
        table._entries[slot + flow_kernels.PACKETS_AND_ROW] |= np.uint64(0xFFFFFFFF << 32)
        table.add(batch)
    expected = 1 if wraps == 0 else wraps << 32
    assert table.to_columns()["packets"].tolist() == table.packets().tolist() == [expected]
    assert table.to_columns()["bytes"].tolist() == [int(batch.ip_bytes[0]) * (wraps + 1)]
