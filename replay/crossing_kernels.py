"""Hot loops that work out what crosses each monitor (`crossings.py` says what for).

In two steps, because writing few streams at a time is several times faster: first where each crossing comes from,
sorted by monitor; then the columns of the crossings, one after the other.
"""

from __future__ import annotations

import numpy as np

from ..kernels import kernel, mix64
from ..monitors.table_kernels import PACKET, SELECT, TAGGED

SALT = np.uint64(0xD1342543DE82EF95)
TAG, REVERSE, MESSAGE = np.uint32(1 << 29), np.uint32(1 << 30), np.uint32(1 << 31)
"""Marks of a crossing's origin: a tagged packet, a packet's reverse tag, a message; the rest is its number."""
NUMBER = np.uint32((1 << 29) - 1)


@kernel
def count(route, reverse, bit, crossed_start, crossed, reverse_start, reverse_reached, message_monitor, counts):
    """Count the crossings of each monitor."""
    for m in message_monitor:
        counts[m] += 1
    packets = np.zeros(len(crossed_start) - 1, np.int64)
    reverse_tagged = np.zeros(len(crossed_start) - 1, np.int64)
    for i in range(len(route)):
        packets[route[i]] += 1
        if reverse[i] & bit:
            reverse_tagged[route[i]] += 1
    for r in range(len(packets)):
        for j in range(crossed_start[r], crossed_start[r + 1]):
            counts[crossed[j]] += packets[r]
        for j in range(reverse_start[r], reverse_start[r + 1]):
            counts[reverse_reached[j]] += reverse_tagged[r]


@kernel
def order(
    route, time_ns, forward, reverse, bit, crossed_start, crossed, reached, reverse_start, reverse_reached,
    message_time_ns, message_monitor, place, origin,
):  # fmt: skip
    """Write the origins of the crossings of each monitor, in order, from `place[monitor]` on.

    Messages come in order of time; one takes effect before the first packet that is not earlier. `place` is moved
    to each monitor's end.
    """
    message = 0
    n = len(route)
    for i in range(n + 1):
        while message < len(message_time_ns) and (i == n or message_time_ns[message] <= time_ns[i]):
            p = place[message_monitor[message]]
            place[message_monitor[message]] = p + 1
            origin[p] = np.uint32(message) | MESSAGE
            message += 1
        if i == n:
            break
        r = route[i]
        tag = forward[i] & bit
        for j in range(crossed_start[r], crossed_start[r + 1]):
            p = place[crossed[j]]
            place[crossed[j]] = p + 1
            origin[p] = np.uint32(i) | TAG if tag and reached[j] else np.uint32(i)
        if reverse[i] & bit:
            for j in range(reverse_start[r], reverse_start[r + 1]):
                p = place[reverse_reached[j]]
                place[reverse_reached[j]] = p + 1
                origin[p] = np.uint32(i) | REVERSE


@kernel
def gather(
    origin, key, reverse_key, ip_bytes, time_ns, item, route, span, reverse_span,
    message_key, message_kind, message_span, message_time_ns, serial, seed,
    out_key, out_kind, out_bytes, out_time_ns, out_luck, out_span, out_item,
):  # fmt: skip
    """Write the columns of one monitor's crossings. `item` may be empty; `seed` is the monitor's own."""
    counts_items = len(item) > 0
    for p in range(len(origin)):
        i = np.int64(origin[p] & NUMBER)
        if origin[p] & MESSAGE:
            out_key[p] = message_key[i]
            out_kind[p] = message_kind[i]
            out_bytes[p] = 0
            out_time_ns[p] = message_time_ns[i]
            out_span[p] = message_span[i]
        elif origin[p] & REVERSE:
            out_key[p] = reverse_key[i]
            out_kind[p] = SELECT
            out_span[p] = reverse_span[route[i]]
            out_bytes[p] = 0
            out_time_ns[p] = time_ns[i]
        else:
            out_key[p] = key[i]
            out_kind[p] = TAGGED if origin[p] & TAG else PACKET
            out_span[p] = span[route[i]]
            out_bytes[p] = ip_bytes[i]
            out_time_ns[p] = time_ns[i]
            out_luck[p] = np.uint32(mix64(np.uint64(serial + i) * SALT ^ seed) >> np.uint64(32))
            if counts_items:
                out_item[p] = item[i]
