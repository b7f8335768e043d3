"""Hot loop of the port-scan event (`port_scan.py` has the numbered rules)."""

from __future__ import annotations

import numpy as np

from ..kernels import lean_kernel


@lean_kernel
def distinct_pairs(row, fresh, pair, time_ns, pairs, tried_ns, window_ns, tried):
    """Write how many pairs the source of packet i has tried within the window. 0 in `pairs` is a place not used yet."""
    threshold = pairs.shape[1]
    for i in range(len(row)):
        r = row[i]
        if fresh[i]:
            pairs[r, :] = 0
        this = pair[i] if pair[i] != 0 else np.uint64(1)
        place, oldest, recent, known = -1, 0, 0, False
        for j in range(threshold):
            if pairs[r, j] == 0:
                if place < 0:
                    place = j
                continue
            if pairs[r, j] == this:
                place, known = j, True
            elif time_ns[i] - tried_ns[r, j] < window_ns:
                recent += 1
            if tried_ns[r, j] < tried_ns[r, oldest]:
                oldest = j
        if not known and place < 0:
            # all places are used by others: the pair tried least recently gives way
            recent -= time_ns[i] - tried_ns[r, oldest] < window_ns
            place = oldest
        pairs[r, place] = this
        tried_ns[r, place] = time_ns[i]
        tried[i] = recent + 1
