"""Hot loops that find the state row of each packet's flow in a selector's bounded table."""

from __future__ import annotations

import numpy as np

from ..kernels import kernel

WAYS = 8


@kernel
def locate(key, where, time_ns, fp, seen_ns, buckets, ways, counters, row, fresh):
    """Write the row of each sighting's flow, or -1 where `where` is -1.

    A device's region has `buckets` buckets of `ways` rows. A flow that has no row takes a free one, else that of
    the bucket's flow seen least recently (counted in `counters[0]`); `fresh` is then set.
    """
    for i in range(len(key)):
        device = where[i]
        if device < 0:
            row[i] = -1
            continue
        flow = key[i]
        bucket = np.int64(((flow >> np.uint64(32)) * np.uint64(buckets)) >> np.uint64(32))
        start = (np.int64(device) * buckets + bucket) * ways
        found = np.int64(-1)
        oldest = start
        for way in range(ways):
            slot = start + way
            if fp[slot] == flow:
                found = slot
                break
            if fp[slot] == 0:
                if fp[oldest] != 0:
                    oldest = slot
            elif fp[oldest] != 0 and seen_ns[slot] < seen_ns[oldest]:
                oldest = slot
        fresh[i] = found < 0
        if found < 0:
            found = oldest
            if fp[found] != 0:
                counters[0] += 1
            fp[found] = flow
        seen_ns[found] = time_ns[i]
        row[i] = found
