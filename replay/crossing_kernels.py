"""Hot loops that work out what crosses each monitor (`crossings.py` says what for)."""

from __future__ import annotations

import numpy as np

from ..kernels import kernel, mix64
from ..monitors.table_kernels import PACKET, SELECT, TAGGED

SALT = np.uint64(0xD1342543DE82EF95)


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
def fill(
    route, key, reverse_key, ip_bytes, time_ns, item, forward, reverse, bit, serial, seed,
    crossed_start, crossed, reached, reverse_start, reverse_reached,
    message_time_ns, message_monitor, message_key, message_kind,
    place, out_key, out_kind, out_bytes, out_time_ns, out_luck, out_item,
):  # fmt: skip
    """Write the crossings of each monitor, in order, from `place[monitor]` on.

    Messages come in order of time; one takes effect before the first packet that is not earlier. `place` is moved
    to each monitor's end. `item` may be empty.
    """
    message = 0
    counts_items = len(item) > 0
    n = len(route)
    for i in range(n + 1):
        while message < len(message_time_ns) and (i == n or message_time_ns[message] <= time_ns[i]):
            p = place[message_monitor[message]]
            place[message_monitor[message]] += 1
            out_key[p] = message_key[message]
            out_kind[p] = message_kind[message]
            out_bytes[p] = 0
            out_time_ns[p] = message_time_ns[message]
            message += 1
        if i == n:
            break
        r = route[i]
        tag = forward[i] & bit
        draw = mix64(np.uint64(serial + i) * SALT ^ seed)
        for j in range(crossed_start[r], crossed_start[r + 1]):
            p = place[crossed[j]]
            place[crossed[j]] += 1
            out_key[p] = key[i]
            out_kind[p] = TAGGED if tag and reached[j] else PACKET
            out_bytes[p] = ip_bytes[i]
            out_time_ns[p] = time_ns[i]
            out_luck[p] = np.uint32(((draw ^ np.uint64(crossed[j])) * SALT) >> np.uint64(32))
            if counts_items:
                out_item[p] = item[i]
        if reverse[i] & bit:
            for j in range(reverse_start[r], reverse_start[r + 1]):
                p = place[reverse_reached[j]]
                place[reverse_reached[j]] += 1
                out_key[p] = reverse_key[i]
                out_kind[p] = SELECT
                out_bytes[p] = 0
                out_time_ns[p] = time_ns[i]
