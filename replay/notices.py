"""Notices of drops: the sender learns of a dropped packet one round trip later."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..traces.packets import PacketBatch, concatenate


class Notices:
    """Dropped packets whose senders have not learnt of it yet, by the time at which they will."""

    def __init__(self) -> None:
        self.packets = PacketBatch.empty(0)
        self.path = np.zeros(0, np.int64)

    def add(self, batch: PacketBatch, path: NDArray[np.int64], noticed_ns: NDArray[np.int64]) -> None:
        """Keep the packets of a batch that were dropped: those whose `noticed_ns` is not -1."""
        dropped = np.flatnonzero(noticed_ns >= 0)
        lost = batch[dropped]
        lost.time_ns[:] = noticed_ns[dropped]
        self.packets = concatenate([self.packets, lost])
        self.path = np.concatenate([self.path, path[dropped]])

    def due(self, end_ns: int) -> tuple[PacketBatch, NDArray[np.int64]]:
        """Take the notices that arrive before a time, in order of time, with the numbers of their packets' paths."""
        now = self.packets.time_ns < end_ns
        taken, path = self.packets[now], self.path[now]
        self.packets, self.path = self.packets[~now], self.path[~now]
        order = np.argsort(taken.time_ns, kind="stable")
        return taken[order], path[order]
