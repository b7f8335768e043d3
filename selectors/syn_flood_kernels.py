"""Hot loop of the SYN-flood event (`syn_flood.py` has the numbered rules)."""

from __future__ import annotations

import numpy as np

from ..kernels import lean_kernel

PENDING_WAYS = 4
WINDOW, RING = 16, 32
"""Bins in which SYNs are counted, and bins that are kept: a destination is waited for as long as the window at most."""
BIN_NS = np.int64(62_500_000)
FIRST_PATIENCE = 2
COPY_NS = np.int64(1_000_000)
LATEST, LIFE, PATIENCE, LAST_SYN, JUDGED = range(5)
"""Words of a destination: its latest bin, the number of this state of it, how many bins old a SYN has to be, the bin of
the latest SYN, and the unexplained SYNs. Bins mean nothing where that SYN is older than all of them."""
PENDING_LIFE, FIRST_BIN, LAST_NS = 0, 1, 2
"""Words of a pending connection: `LIFE` of its destination, and when its first and its latest SYN came."""


@lean_kernel
def judge(bins, words, r, now):
    """Write the unexplained SYNs of a destination (rule 4)."""
    words[r, JUDGED] = 0
    if now - words[r, LAST_SYN] >= RING:
        return
    sum_of = np.int64(0)
    for age in range(words[r, PATIENCE], words[r, PATIENCE] + WINDOW):
        sum_of += bins[r, (now - age) % RING]
    words[r, JUDGED] = sum_of


@lean_kernel
def come_to(bins, words, r, time_ns, fresh, states):
    """Bring a destination up to a time, anew where it is new; return the bin."""
    now = time_ns // BIN_NS
    if fresh:
        states[0] += 1
        words[r, LATEST], words[r, LIFE], words[r, PATIENCE] = now, states[0], FIRST_PATIENCE
        words[r, LAST_SYN], words[r, JUDGED] = now - RING, 0
    if now > words[r, LATEST]:
        if now - words[r, LAST_SYN] < RING:
            for gone in range(words[r, LATEST] + 1, now + 1):
                bins[r, gone % RING] = 0
        judge(bins, words, r, now)
        words[r, LATEST] = now
    return words[r, LATEST]


@lean_kernel
def ask(pending, counts, bucket, place, bins, words, r, time_ns):
    """Count a SYN of a pending connection, if it is no copy of the one before (rules 1 and 2)."""
    if time_ns - pending[bucket, place, LAST_NS] < COPY_NS:
        return
    now = words[r, LATEST]
    last = pending[bucket, place, LAST_NS] // BIN_NS
    for gone in range(last + 1, min(now, last + RING) + 1):
        counts[bucket, place, gone % RING] = 0
    counts[bucket, place, now % RING] += 1
    pending[bucket, place, LAST_NS] = time_ns
    if now - words[r, LAST_SYN] >= RING:
        bins[r, :] = 0
    bins[r, now % RING] += 1
    words[r, LAST_SYN] = now


@lean_kernel
def complete(pending, counts, bucket, place, bins, words, r, now):
    """Take the SYNs of a connection back where they were counted, and learn how long its handshake took (rule 3)."""
    last = pending[bucket, place, LAST_NS] // BIN_NS
    for then in range(now - RING + 1, last + 1):
        bins[r, then % RING] -= counts[bucket, place, then % RING]
    took = now - pending[bucket, place, FIRST_BIN]
    if took < WINDOW:
        words[r, PATIENCE] = max(words[r, PATIENCE], took + 1)
    judge(bins, words, r, now)


@lean_kernel
def unexplained(
    row, fresh, time_ns, connection, where, is_syn,
    keys, pending, counts, next_way, region, bins, words, states, sums,
):  # fmt: skip
    """Write how many SYNs to each sighting's destination are unexplained.

    `keys[b]` holds the pending connections of one bucket, 0 where free; a device has `region` buckets.
    """
    for i in range(len(row)):
        r = row[i]
        if r < 0:
            continue
        now = come_to(bins, words, r, time_ns[i], fresh[i], states)
        flow = connection[i]
        bucket = np.int64(where[i]) * region + np.int64(((flow >> np.uint64(32)) * np.uint64(region)) >> np.uint64(32))
        place = -1
        for way in range(PENDING_WAYS):
            if keys[bucket, way] == flow:
                place = way
        known = place >= 0 and pending[bucket, place, PENDING_LIFE] == words[r, LIFE]
        if is_syn[i]:
            if place < 0:
                place = int(next_way[bucket])
                next_way[bucket] = (next_way[bucket] + 1) % PENDING_WAYS
            if not known:
                keys[bucket, place], pending[bucket, place, PENDING_LIFE] = flow, words[r, LIFE]
                pending[bucket, place, FIRST_BIN], pending[bucket, place, LAST_NS] = now, time_ns[i] - COPY_NS
                counts[bucket, place, :] = 0
            ask(pending, counts, bucket, place, bins, words, r, time_ns[i])
        elif place >= 0:
            if known:
                complete(pending, counts, bucket, place, bins, words, r, now)
            keys[bucket, place] = 0
        sums[i] = words[r, JUDGED]
