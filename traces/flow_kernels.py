"""Hot loops of the exact flow table: open addressing, 32 bytes a flow, fetched into the cache ahead of use.

An entry is four 64-bit words. The slot where a key's search begins is given by the key's top bits, so growing
the table moves entries in order, from the front of the old one to the front of the new one.
"""

from __future__ import annotations

import numpy as np

from ..kernels import kernel, prefetch

KEY, BYTES, LAST_NS, PACKETS_AND_ROW, ENTRY_WORDS = range(5)
"""What the words of an entry are. The last holds packets above and the flow's row below, 32 bits each;
packets beyond 2^32 carry into the top 16 bits of BYTES, whose other 48 hold 281 terabytes."""
CARRY_BIT = 48

FIRST_NS, SRC_HIGH, SRC_LOW, DST_HIGH, DST_LOW, PORTS_AND_PROTOCOL, ROW_WORDS = range(7)
"""What the words of a row are, written once a flow; the last is source port << 32 | destination port << 16 |
protocol."""

AHEAD = 32
"""How many packets ahead of its use an entry is fetched: about a memory latency."""


@kernel
def add_packets(
    keys, time_ns, ip_bytes, src, dst, src_port, dst_port, protocol, begin,
    entries, shift, flows, most_flows, rows, first_row,
):  # fmt: skip
    """Count the packets from `begin` on; return (packets counted so far, flows).

    Stops before the packet that would need a flow beyond `most_flows`, so that the table can be made larger.
    `rows` has room for the flows from number `first_row` up to `most_flows`.
    """
    slots = np.uint64(len(entries) // ENTRY_WORDS)
    packets = np.uint64(len(keys))
    for i in range(np.uint64(begin), packets):
        if i + np.uint64(AHEAD) < packets:
            prefetch(entries, np.intp((keys[i + np.uint64(AHEAD)] >> shift) * np.uint64(ENTRY_WORDS)))
        key = keys[i]
        slot = key >> shift
        at = slot * np.uint64(ENTRY_WORDS)
        found = entries[at]
        while found != key and found != 0:
            slot += np.uint64(1)
            if slot == slots:
                slot = np.uint64(0)
            at = slot * np.uint64(ENTRY_WORDS)
            found = entries[at]
        if found == 0:
            if flows == most_flows:
                return np.int64(i), flows
            entries[at] = key
            entries[at + np.uint64(PACKETS_AND_ROW)] = np.uint64(flows)
            row = np.uint64(flows - first_row)
            rows[row, FIRST_NS] = np.uint64(time_ns[i])
            rows[row, SRC_HIGH] = src[i, 0]
            rows[row, SRC_LOW] = src[i, 1]
            rows[row, DST_HIGH] = dst[i, 0]
            rows[row, DST_LOW] = dst[i, 1]
            ports = np.uint64(src_port[i]) << np.uint64(32) | np.uint64(dst_port[i]) << np.uint64(16)
            rows[row, PORTS_AND_PROTOCOL] = ports | np.uint64(protocol[i])
            flows += 1
        word = entries[at + np.uint64(PACKETS_AND_ROW)] + np.uint64(1 << 32)
        entries[at + np.uint64(BYTES)] += np.uint64(ip_bytes[i])
        entries[at + np.uint64(LAST_NS)] = np.uint64(time_ns[i])
        entries[at + np.uint64(PACKETS_AND_ROW)] = word
        if word >> np.uint64(32) == 0:
            entries[at + np.uint64(BYTES)] += np.uint64(1 << CARRY_BIT)
    return np.int64(packets), flows


@kernel
def move_entries(old, new, shift):
    """Put every entry of a table into an empty larger one."""
    slots = np.uint64(len(new) // ENTRY_WORDS)
    for start in range(0, len(old), ENTRY_WORDS):
        key = old[start]
        if key == 0:
            continue
        slot = key >> shift
        while new[slot * np.uint64(ENTRY_WORDS)] != 0:
            slot += np.uint64(1)
            if slot == slots:
                slot = np.uint64(0)
        at = slot * np.uint64(ENTRY_WORDS)
        for word in range(ENTRY_WORDS):
            new[at + np.uint64(word)] = old[start + word]


@kernel
def flow_packets(entries, packets):
    """Write the packets of every flow, in the order of the table."""
    flow = 0
    for start in range(0, len(entries), ENTRY_WORDS):
        if entries[start] != 0:
            carried = entries[start + BYTES] >> np.uint64(CARRY_BIT) << np.uint64(32)
            packets[flow] = (entries[start + PACKETS_AND_ROW] >> np.uint64(32)) + carried
            flow += 1
