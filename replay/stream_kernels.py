"""Hot loops of the exact truth (`streams.py` says what for).

Streams stand in rows, in the order of their first packets: flows that send now stand close together, and fit the
cache. A hash table finds them: eight bytes an entry, the top half of the stream's fingerprint above and its row plus
one below, 0 where it is free. Its slot is the top bits of the fingerprint, so a larger table has its entries in the
same order. Both are asked for ahead of their use, the entry first.
"""

from __future__ import annotations

import numpy as np

from ..kernels import lean_kernel, prefetch
from .route_kernels import path_between

KEY, ROUTE, PACKETS, BYTES, ROW_WORDS = (np.uint64(i) for i in range(5))
"""Words of a row: half a cache line."""
NO_SITE = np.uint64(63)
"""Bit of ROUTE: a packet stays outside because one of its ends has no host (and not: because both have one)."""
ROUTE_BITS = np.uint64(0x7FFFFFFF)
ROUTE_SALT = np.uint64(0x9FB21C651E98DF25)
FAR, NEAR = np.uint64(32), np.uint64(16)
"""How many packets ahead entries and rows are asked for."""
ZERO, ONE, HALF, LOW_HALF = np.uint64(0), np.uint64(1), np.uint64(32), np.uint64(0xFFFFFFFF)

PAST_PACKETS, PAST_BYTES, SELECTED_PACKETS, AFTER_COLUMNS = range(4)
"""What a stream sent after its flow was selected, and of that, the packets while the selection lasted."""


@lean_kernel
def print_of(key, route, salt):
    """Return the fingerprint of a (flow key, route) pair; with a salt of 0 it is the key itself."""
    return key ^ (np.uint64(route) + ONE) * salt


@lean_kernel
def row_of(entry):
    """Return the row that an entry leads to; 0 also where it is free."""
    return (entry & LOW_HALF) - np.uint64(entry != ZERO)


@lean_kernel
def ask_for_row(slot, index, rows):
    """Ask for the row to which the first entry of a search leads, which is nearly always the one."""
    prefetch(rows, row_of(index[slot]) * ROW_WORDS)


@lean_kernel
def slot_of_flow(key, index, shift, rows):
    """Return the slot that leads to a flow's stream, or the free one where it would go (the salt is 0)."""
    mask = np.uint64(len(index) - 1)
    slot = key >> shift
    while index[slot] != ZERO and (
        (index[slot] ^ key) >> HALF != ZERO or rows[row_of(index[slot]) * ROW_WORDS + KEY] != key
    ):
        slot = (slot + ONE) & mask
    return slot


@lean_kernel
def slot_of_stream(key, route, print_, index, shift, rows):
    """Return the slot that leads to the stream of a flow on a route, or the free one where it would go."""
    mask = np.uint64(len(index) - 1)
    slot = print_ >> shift
    while index[slot] != ZERO:
        row = row_of(index[slot]) * ROW_WORDS
        if (
            (index[slot] ^ print_) >> HALF == ZERO
            and rows[row + KEY] == key
            and rows[row + ROUTE] & ROUTE_BITS == np.uint64(route)
        ):
            break
        slot = (slot + ONE) & mask
    return slot


@lean_kernel
def recall(key, ip_bytes, path_of, outside, counts, index, shift, rows, route, row, unknown, unrouted):
    """Write the route of each packet whose flow is known, and list the others in `unknown`; returns how many those are.

    `index` and `rows` are of the five-tuple streams, with a salt of 0. Where `counts` is true each packet is counted
    in its stream and its row written; where not (a link may still drop it) only the path is, by `path_of[route]`. Then
    flows outside are never known: `add`, which put them there, does not know why they are. Without a branch: whether
    a flow is known cannot be predicted.
    """
    n = np.uint64(len(key))
    outer, counted = np.uint64(outside), np.uint64(counts)
    left_out = no_site = listed = ZERO
    for i in range(n):
        if i + FAR < n:
            prefetch(index, key[i + FAR] >> shift)
            ask_for_row(key[i + NEAR] >> shift, index, rows)
        entry = index[slot_of_flow(key[i], index, shift, rows)]
        at = row_of(entry)
        word = rows[at * ROW_WORDS + ROUTE]
        way = np.uint64(path_of[word & ROUTE_BITS])
        out = np.uint64(way == outer)
        known = np.uint64(entry != ZERO) & (counted | (out ^ ONE))
        route[i] = np.int32(way)
        row[i] = np.int32(at)
        rows[at * ROW_WORDS + PACKETS] += known & counted
        rows[at * ROW_WORDS + BYTES] += np.uint64(ip_bytes[i]) * (known & counted)
        left_out += known & out
        no_site += known & out & word >> NO_SITE
        unknown[listed] = np.uint32(i)
        listed += known ^ ONE
    unrouted[0] += np.int64(left_out - no_site)
    unrouted[1] += np.int64(no_site)
    return listed


@lean_kernel
def meet(
    unknown, src_host, dst_host, key, src, dst, src_port, dst_port, protocol, ip_bytes,
    first, count, outside, counts, index, shift, rows, streams, route, row, unrouted,
):  # fmt: skip
    """Write the route of the packets that `recall` listed: one of the paths between their two hosts.

    Counts as `recall` does; returns the number of streams.
    """
    for j in range(np.uint64(len(unknown))):
        i = np.uint64(unknown[j])
        a, b = src_host[j], dst_host[j]
        addresses = (src[i, 0] ^ dst[i, 0], src[i, 1] ^ dst[i, 1])
        path = path_between(a, b, addresses, src_port[i] ^ dst_port[i], protocol[i], first, count, outside)
        no_site = np.uint64(min(a, b) < 0)
        route[i] = path
        if path == outside:
            unrouted[no_site] += 1
        if counts:
            slot = slot_of_flow(key[i], index, shift, rows)
            if index[slot] == ZERO:
                streams = make(slot, key[i], np.uint64(path) | no_site << NO_SITE, key[i], index, rows, streams)
            row[i] = np.int32(count_packet(slot, ip_bytes[i], index, rows))
    return streams


@lean_kernel
def make(slot, key, route, print_, index, rows, streams):
    """Make the row of a new stream, to which a free slot leads from now on; returns the number of streams."""
    rows[np.uint64(streams) * ROW_WORDS + KEY] = key
    rows[np.uint64(streams) * ROW_WORDS + ROUTE] = route
    index[slot] = (print_ >> HALF) << HALF | np.uint64(streams + 1)
    return streams + 1


@lean_kernel
def count_packet(slot, ip_bytes, index, rows):
    """Count a packet in the stream to which a slot leads; returns its row."""
    row = row_of(index[slot])
    rows[row * ROW_WORDS + PACKETS] += ONE
    rows[row * ROW_WORDS + BYTES] += np.uint64(ip_bytes)
    return row


@lean_kernel
def add(key, route, ip_bytes, salt, index, shift, rows, streams, row):
    """Count packets in their streams; writes the row of each and returns the number of streams."""
    n = np.uint64(len(key))
    for i in range(n):
        if i + FAR < n:
            prefetch(index, print_of(key[i + FAR], route[i + FAR], salt) >> shift)
            ask_for_row(print_of(key[i + NEAR], route[i + NEAR], salt) >> shift, index, rows)
        this = print_of(key[i], route[i], salt)
        slot = slot_of_stream(key[i], route[i], this, index, shift, rows)
        if index[slot] == ZERO:
            streams = make(slot, key[i], np.uint64(route[i]), this, index, rows, streams)
        row[i] = np.int32(count_packet(slot, ip_bytes[i], index, rows))
    return streams


@lean_kernel
def move_entries(old, new, shift):
    """Put all entries into an empty larger table."""
    mask = np.uint64(len(new) - 1)
    for entry in old:
        if entry != ZERO:
            slot = entry >> shift
            while new[slot] != ZERO:
                slot = (slot + ONE) & mask
            new[slot] = entry


@lean_kernel
def add_after(row, after, past, ip_bytes, volume):
    """Count packets that come after the selection of their flow, once for each delay of the masks."""
    for i in range(len(row)):
        if past[i]:
            for d in range(volume.shape[1]):
                if past[i] >> d & 1:
                    volume[row[i], d, PAST_PACKETS] += 1
                    volume[row[i], d, PAST_BYTES] += ip_bytes[i]
                if after[i] >> d & 1:
                    volume[row[i], d, SELECTED_PACKETS] += 1
