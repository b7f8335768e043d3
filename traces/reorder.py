"""Packets a little out of time order, put in order: a sort within a window of packets.

A trace of several links or queues is not quite in time order. The last `window` packets are kept back from
every batch, so that a packet can still be put before them; one that belongs before more than `window` packets
comes too late. Which packets those are does not depend on how the trace is cut into batches.
"""

from __future__ import annotations

import numpy as np

from .packets import PacketBatch
from .reorder_kernels import insert_in_order


def put_in_order(
    batch: PacketBatch, ordered: int, packets: int, window: int, given_ns: int
) -> tuple[int, int, int]:
    """Sort rows `ordered` to `packets` into the rows before them, stably, in place.

    `given_ns` is the latest time that was already given out. Returns (rows left, packets that moved forward,
    packets dropped because they were too late).
    """
    order = np.empty(packets, np.int64)
    left, moved, late = insert_in_order(batch.time_ns[:packets], ordered, window, given_ns, order)
    for column in batch.columns():
        column[:left] = column[order[:left]]
    return left, moved, late
