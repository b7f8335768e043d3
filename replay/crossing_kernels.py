"""Hot loops that work out what crosses each monitor (`crossings.py` says what for).

In two steps, because writing few streams at a time is several times faster: first where each crossing comes from,
sorted by monitor; then the columns of the crossings, one after the other.
"""

from __future__ import annotations

import numpy as np

from ..kernels import kernel, mix64
from ..monitors.table_kernels import PACKET, SELECT, TAGGED

SALT = np.uint64(0xD1342543DE82EF95)
REVERSE, MESSAGE = np.uint32(1 << 30), np.uint32(1 << 31)
"""Marks of a crossing's origin: the packet's reverse tag, or the message with that number; else it is a packet."""
NUMBER = np.uint32((1 << 30) - 1)


@kernel
def count(route, reverse, bit, crossed_start, crossed, reverse_start, reverse_reached, message_monitor, counts):
    """Count the crossings of each monitor."""
    for m in message_monitor:
        counts[m] += 1
    for i in range(len(route)):
        r = route[i]
        for j in range(crossed_start[r], crossed_start[r + 1]):
            counts[crossed[j]] += 1
        if reverse[i] & bit:
            for j in range(reverse_start[r], reverse_start[r + 1]):
                counts[reverse_reached[j]] += 1


@kernel
def order(
    route, time_ns, forward, reverse, bit, crossed_start, crossed, reached, reverse_start, reverse_reached,
    message_time_ns, message_monitor, message_kind, place, origin, kind,
):  # fmt: skip
    """Write the origin and kind of the crossings of each monitor, in order, from `place[monitor]` on.

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
            kind[p] = message_kind[message]
            message += 1
        if i == n:
            break
        r = route[i]
        tag = forward[i] & bit
        for j in range(crossed_start[r], crossed_start[r + 1]):
            p = place[crossed[j]]
            place[crossed[j]] = p + 1
            origin[p] = np.uint32(i)
            kind[p] = TAGGED if tag and reached[j] else PACKET
        if reverse[i] & bit:
            for j in range(reverse_start[r], reverse_start[r + 1]):
                p = place[reverse_reached[j]]
                place[reverse_reached[j]] = p + 1
                origin[p] = np.uint32(i) | REVERSE
                kind[p] = SELECT


@kernel
def gather(
    origin, key, reverse_key, ip_bytes, time_ns, item, message_key, message_time_ns, serial, seed,
    out_key, out_bytes, out_time_ns, out_luck, out_item,
):  # fmt: skip
    """Write the columns of one monitor's crossings. `item` may be empty; `seed` is the monitor's own."""
    counts_items = len(item) > 0
    for p in range(len(origin)):
        i = np.int64(origin[p] & NUMBER)
        if origin[p] & MESSAGE:
            out_key[p] = message_key[i]
            out_bytes[p] = 0
            out_time_ns[p] = message_time_ns[i]
        elif origin[p] & REVERSE:
            out_key[p] = reverse_key[i]
            out_bytes[p] = 0
            out_time_ns[p] = time_ns[i]
        else:
            out_key[p] = key[i]
            out_bytes[p] = ip_bytes[i]
            out_time_ns[p] = time_ns[i]
            out_luck[p] = np.uint32(mix64(np.uint64(serial + i) * SALT ^ seed) >> np.uint64(32))
            if counts_items:
                out_item[p] = item[i]
