"""Hot loops of the exact truth (`streams.py` says what for).

The table is flat, four words an entry: half a cache line, so a packet waits for one line alone.
"""

from __future__ import annotations

import numpy as np

from ..kernels import lean_kernel, prefetch
from .route_kernels import path_between

PRINT, ROW_AND_ROUTE, PACKETS, BYTES, ENTRY_WORDS = (np.uint64(i) for i in range(5))
"""Words of an entry. The second has the row below and the route above, 32 bits each; its top bit is NO_SITE."""
NO_SITE = np.uint64(63)
"""That bit is set where a packet stays outside because one of its ends has no host (and not: because both have one)."""
ROUTE_SALT = np.uint64(0x9FB21C651E98DF25)
LOOKAHEAD = np.uint64(24)
ZERO, ONE, SHIFT = np.uint64(0), np.uint64(1), np.uint64(32)
LOW_HALF, ROUTE_BITS = np.uint64(0xFFFFFFFF), np.uint64(0x7FFFFFFF)

PAST_PACKETS, PAST_BYTES, SELECTED_PACKETS, AFTER_COLUMNS = range(4)
"""What a stream sent after its flow was selected, and of that, the packets while the selection lasted."""


@lean_kernel
def print_of(key, route, salt):
    """Return the fingerprint of a (flow key, route) pair, never 0; with a salt of 0 it is the key itself."""
    value = key ^ (np.uint64(route) + ONE) * salt
    return value + np.uint64(value == ZERO)


@lean_kernel
def home(print_, shift):
    """Return the first word of the entry where the search for a fingerprint starts.

    Its top bits say it, so a larger table has the entries in the same order, and moving them goes from front to back.
    """
    return (print_ >> shift) * ENTRY_WORDS


@lean_kernel
def following(at, table):
    """Return the first word of the entry behind the one at `at`."""
    return (at + ENTRY_WORDS) & np.uint64(len(table) - 1)


@lean_kernel
def recall(key, ip_bytes, path_of, outside, counts, table, shift, route, row, unknown, unrouted):
    """Write the route of each packet whose flow is known, and list the others in `unknown`; returns how many those are.

    `table` is that of the five-tuple streams, with a salt of 0. Where `counts` is 1 each packet is counted in its
    stream and its row written; where it is 0 (a link may still drop it) only the path is, by `path_of[route]`. Then
    flows outside are never known: `add`, which put them there, does not know why they are. Without a branch: whether
    a flow is known cannot be predicted.
    """
    n = np.uint64(len(key))
    outer, counted = np.uint64(outside), np.uint64(counts)
    left_out = no_site = listed = ZERO
    for i in range(n):
        if i + LOOKAHEAD < n:
            prefetch(table, home(key[i + LOOKAHEAD], shift))
        at = home(key[i], shift)
        while table[at + PRINT] != key[i] and table[at + PRINT] != ZERO:
            at = following(at, table)
        word = table[at + ROW_AND_ROUTE]
        way = np.uint64(path_of[word >> SHIFT & ROUTE_BITS])
        out = np.uint64(way == outer)
        known = np.uint64(table[at + PRINT] != ZERO) & (counted | (out ^ ONE))
        route[i] = np.int32(way)
        row[i] = np.int32(word & LOW_HALF)
        table[at + PACKETS] += known & counted
        table[at + BYTES] += np.uint64(ip_bytes[i]) * (known & counted)
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
    first, count, outside, counts, table, shift, row_key, row_route, rows, route, row, unrouted,
):  # fmt: skip
    """Write the route of the packets that `recall` listed: one of the paths between their two hosts.

    Counts as `recall` does; returns the number of rows.
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
            at = home(key[i], shift)
            while table[at + PRINT] != key[i] and table[at + PRINT] != ZERO:
                at = following(at, table)
            if table[at + PRINT] == ZERO:
                table[at + PRINT] = key[i]
                table[at + ROW_AND_ROUTE] = np.uint64(path) << SHIFT | np.uint64(rows) | no_site << NO_SITE
                row_key[rows] = key[i]
                row_route[rows] = path
                rows += 1
            row[i] = np.int32(table[at + ROW_AND_ROUTE] & LOW_HALF)
            table[at + PACKETS] += ONE
            table[at + BYTES] += np.uint64(ip_bytes[i])
    return rows


@lean_kernel
def add(key, route, ip_bytes, salt, table, shift, row_key, row_route, rows, row):
    """Count packets in their streams; writes the row of each and returns the number of rows."""
    n = np.uint64(len(key))
    for i in range(n):
        if i + LOOKAHEAD < n:
            prefetch(table, home(print_of(key[i + LOOKAHEAD], route[i + LOOKAHEAD], salt), shift))
        this, way = print_of(key[i], route[i], salt), np.uint64(route[i])
        at = home(this, shift)
        while table[at + PRINT] != ZERO and (
            table[at + PRINT] != this or (table[at + ROW_AND_ROUTE] >> SHIFT & ROUTE_BITS) != way
        ):
            at = following(at, table)
        if table[at + PRINT] == ZERO:
            table[at + PRINT] = this
            table[at + ROW_AND_ROUTE] = way << SHIFT | np.uint64(rows)
            row_key[rows] = key[i]
            row_route[rows] = route[i]
            rows += 1
        row[i] = np.int32(table[at + ROW_AND_ROUTE] & LOW_HALF)
        table[at + PACKETS] += ONE
        table[at + BYTES] += np.uint64(ip_bytes[i])
    return rows


@lean_kernel
def move_entries(old, new, shift):
    """Put all entries into an empty larger table."""
    for start in range(ZERO, np.uint64(len(old)), ENTRY_WORDS):
        if old[start + PRINT] != ZERO:
            at = home(old[start + PRINT], shift)
            while new[at + PRINT] != ZERO:
                at = following(at, new)
            for word in range(ENTRY_WORDS):
                new[at + word] = old[start + word]


@lean_kernel
def volumes(table, volume):
    """Write packets and bytes of each row."""
    for start in range(ZERO, np.uint64(len(table)), ENTRY_WORDS):
        if table[start + PRINT] != ZERO:
            row = table[start + ROW_AND_ROUTE] & LOW_HALF
            volume[row, 0] = np.int64(table[start + PACKETS])
            volume[row, 1] = np.int64(table[start + BYTES])


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
