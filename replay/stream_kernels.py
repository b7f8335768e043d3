"""Hot loops of the exact truth (`streams.py` says what for)."""

from __future__ import annotations

import numpy as np

from ..kernels import lean_kernel, prefetch

ROUTE_SALT = np.uint64(0x9FB21C651E98DF25)
LOOKAHEAD = 16

PAST_PACKETS, PAST_BYTES, SELECTED_PACKETS, AFTER_COLUMNS = range(4)
"""What a stream sent after its flow was selected, and of that, the packets while the selection lasted."""


@lean_kernel
def print_of(key, route):
    """Return the fingerprint of a (flow key, route) pair, never 0."""
    value = key ^ (np.uint64(route + 1) * ROUTE_SALT)
    if value == np.uint64(0):
        value = np.uint64(1)
    return value


@lean_kernel
def home(print_, mask):
    """Return the slot where the search for a fingerprint starts."""
    return np.int64((print_ >> np.uint64(11)) & mask)


@lean_kernel
def add(key, route, ip_bytes, fp, slot_row, row_key, row_route, volume, rows, row):
    """Count packets in their streams' rows; returns the number of rows."""
    mask = np.uint64(len(fp) - 1)
    n = len(key)
    for i in range(n):
        if i + LOOKAHEAD < n:
            ahead = home(print_of(key[i + LOOKAHEAD], route[i + LOOKAHEAD]), mask)
            prefetch(fp, ahead)
            prefetch(slot_row, ahead)
        this = print_of(key[i], route[i])
        slot = home(this, mask)
        while fp[slot] != this and fp[slot] != np.uint64(0):
            slot = np.int64(np.uint64(slot + 1) & mask)
        if fp[slot] == np.uint64(0):
            fp[slot] = this
            slot_row[slot] = rows
            row_key[rows] = key[i]
            row_route[rows] = route[i]
            rows += 1
        row[i] = slot_row[slot]
    for i in range(n):
        r = row[i]
        if i + LOOKAHEAD < n:
            prefetch(volume, np.int64(row[i + LOOKAHEAD]) * 2)
        volume[r, 0] += 1
        volume[r, 1] += ip_bytes[i]
    return rows


@lean_kernel
def rehash(fp, slot_row, new_fp, new_slot_row):
    """Move all fingerprints to a larger table."""
    mask = np.uint64(len(new_fp) - 1)
    for i in range(len(fp)):
        if fp[i] != np.uint64(0):
            slot = home(fp[i], mask)
            while new_fp[slot] != np.uint64(0):
                slot = np.int64(np.uint64(slot + 1) & mask)
            new_fp[slot] = fp[i]
            new_slot_row[slot] = slot_row[i]


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
