"""Hot loops that find the state row of each packet's flow in a selector's bounded table."""

from __future__ import annotations

import numpy as np

from ..kernels import lean_kernel, prefetch

WAYS = 8
LOOKAHEAD = 12


@lean_kernel
def first_row(key, device, buckets, ways):
    """Return the first row of a flow's bucket in the region of its device."""
    bucket = np.int64(((key >> np.uint64(32)) * np.uint64(buckets)) >> np.uint64(32))
    return (np.int64(device) * buckets + bucket) * ways


@lean_kernel
def locate(key, where, time_ns, fp, seen_ns, buckets, ways, counters, row, fresh):
    """Write the row of each sighting's flow, or -1 where `where` is -1.

    A device's region has `buckets` buckets of `ways` rows. A flow that has no row takes a free one, else that of
    the bucket's flow seen least recently (counted in `counters[0]`); `fresh` is then set.
    """
    n = len(key)
    for i in range(n):
        if i + LOOKAHEAD < n and where[i + LOOKAHEAD] >= 0:
            ahead = first_row(key[i + LOOKAHEAD], where[i + LOOKAHEAD], buckets, ways)
            prefetch(fp, ahead)
            prefetch(seen_ns, ahead)
        if where[i] < 0:
            row[i] = -1
            continue
        flow = key[i]
        start = first_row(flow, where[i], buckets, ways)
        found = np.int64(-1)
        for way in range(ways):
            if fp[start + way] == flow:
                found = start + way
                break
        fresh[i] = found < 0
        if found < 0:
            found = start
            for way in range(ways):
                slot = start + way
                if fp[slot] == 0:
                    found = slot
                    break
                if seen_ns[slot] < seen_ns[found]:
                    found = slot
            if fp[found] != 0:
                counters[0] += 1
            fp[found] = flow
        seen_ns[found] = time_ns[i]
        row[i] = found
