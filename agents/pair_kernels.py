"""Hot loops over a device's packets: their pair of sites, and what crosses a monitor here.

`pairs.py` and `monitoring.py` say what for.
"""

from __future__ import annotations

import numpy as np

from ..kernels import lean_kernel, mix64
from ..monitors.table_kernels import PACKET, SELECT, TAGGED
from ..traces.site_kernels import host_of

SALT = np.uint64(0xD1342543DE82EF95)
WATCHED, HEEDS_TAG, HEEDS_REVERSE_TAG = 1, 2, 4
"""What a monitor does with the packets of a pair, as bits."""


@lean_kernel
def concerned(pair, concerns):
    """Return the bits of `concerns[pair]` that are set for any packet."""
    bits = np.uint64(0)
    for i in range(len(pair)):
        bits |= concerns[pair[i]]
    return bits


@lean_kernel
def pairs_by_hash(src, dst, hosts, pair):
    """Write source host x hosts + destination host of each packet; hosts x hosts where both are one host."""
    for i in range(len(pair)):
        a = host_of(src[i, 0], src[i, 1], hosts)
        b = host_of(dst[i, 0], dst[i, 1], hosts)
        pair[i] = hosts * hosts if a == b else a * hosts + b


@lean_kernel
def cross(
    key, reverse_key, item, ip_bytes, time_ns, dscp, pair, does, span, reverse_span, value, mask,
    message_time_ns, message_key, message_kind, message_span, until_ns, serial, seed,
    out_key, out_kind, out_bytes, out_time_ns, out_luck, out_span, out_item,
):  # fmt: skip
    """Write what crosses a monitor, in order: packets of the pairs that it watches, reverse tags, messages.

    `does[pair]` has the bits above. A packet carries the task's tag where `value` is not 0 and is what `mask` leaves of
    its DSCP. Messages come in order of time, all of them before `until_ns`; each crosses before the first packet that
    is not earlier. Returns the number of crossings.
    """
    at = message = 0
    messages, n = len(message_time_ns), len(key)
    for i in range(n + 1):
        now = time_ns[i] if i < n else until_ns - 1
        while message < messages and message_time_ns[message] <= now:
            out_key[at] = message_key[message]
            out_kind[at] = message_kind[message]
            out_bytes[at] = 0
            out_time_ns[at] = message_time_ns[message]
            out_luck[at] = 0
            out_span[at] = message_span[message]
            message += 1
            at += 1
        if i == n:
            break
        what = does[pair[i]]
        if what == 0:
            continue
        tagged = value != 0 and dscp[i] & mask == value
        if what & WATCHED:
            out_key[at] = key[i]
            out_kind[at] = TAGGED if tagged and what & HEEDS_TAG else PACKET
            out_bytes[at] = ip_bytes[i]
            out_time_ns[at] = now
            out_luck[at] = np.uint32(mix64(np.uint64(serial + i) * SALT ^ seed) >> np.uint64(32))
            out_span[at] = span[pair[i]]
            if len(item) > 0:
                out_item[at] = item[i]
            at += 1
        if tagged and what & HEEDS_REVERSE_TAG:
            out_key[at] = reverse_key[i]
            out_kind[at] = SELECT
            out_bytes[at] = 0
            out_time_ns[at] = now
            out_luck[at] = 0
            out_span[at] = reverse_span[pair[i]]
            at += 1
    return at
