"""Hot loop of the SYN-flood event (`syn_flood.py` has the numbered rules)."""

from __future__ import annotations

import numpy as np

from ..kernels import lean_kernel

PENDING_WAYS = 4


@lean_kernel
def handshakes(row, connection, where, is_syn, pending, next_way, region, amount):
    """Write +1 in `amount` for each SYN and -1 for each packet that completes a pending handshake.

    `pending[b]` holds the connections of one bucket, 0 where free; a device has `region` buckets.
    """
    for i in range(len(row)):
        if row[i] < 0:
            continue
        flow = connection[i]
        bucket = np.int64(where[i]) * region + np.int64(((flow >> np.uint64(32)) * np.uint64(region)) >> np.uint64(32))
        place = -1
        for way in range(PENDING_WAYS):
            if pending[bucket, way] == flow:
                place = way
        if is_syn[i]:
            amount[i] = 1  # rule 1
            if place < 0:
                pending[bucket, next_way[bucket]] = flow
                next_way[bucket] = (next_way[bucket] + 1) % PENDING_WAYS
        elif place >= 0:
            amount[i] = -1  # rule 2
            pending[bucket, place] = 0
