"""The rows that packets are decoded into, kept in time order and given out in batches.

A trace of several links or queues is not quite in time order. The last packets are kept back from every
batch, so that a packet can still be put before them; one that belongs before more than `window` packets comes
too late and is left out. Which packets those are does not depend on how the trace is cut into blocks and
batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .header_kernels import COUNTS, OUT_OF_ORDER, SKIP_REASONS
from .packets import PacketBatch
from .reorder_kernels import in_order, insert_in_order

BEFORE_EVERYTHING = int(np.iinfo(np.int64).min)


class Rows:
    """Room for a batch and for the packets kept back; file formats write behind the rows `filled` so far."""

    def __init__(self, batch_packets: int, window: int, buffers: int = 1) -> None:
        self._buffers = [PacketBatch.empty(batch_packets + window) for _ in range(buffers)]
        self.columns = self._buffers[0]
        self.filled = 0
        self.counts: NDArray[np.int64] = np.zeros(COUNTS, np.int64)
        """What the kernels count: `skipped`, and packets with a VLAN tag."""
        self.skipped = self.counts[: len(SKIP_REASONS)]
        """Packets that were not measured, by reason as in `header_kernels`."""
        self.reordered = 0
        """Packets that were put before others."""
        self.given = 0
        """Packets given out."""
        self._batch_packets = batch_packets
        self._window = window
        self._ordered = 0
        self._given_ns = BEFORE_EVERYTHING

    def give(self, all_of_them: bool = False) -> Iterator[PacketBatch]:
        """Give out the rows in time order, but for the last ones of the window, which become the first rows.

        A batch is a view, valid until as many more were taken as there are buffers.
        """
        if not in_order(self.columns.time_ns[: self.filled], self._ordered, self._given_ns):
            self._put_in_order()
        kept = 0 if all_of_them else self._window
        while (count := min(self.filled - kept, self._batch_packets)) > 0:
            self._given_ns = int(self.columns.time_ns[count - 1])
            self.given += count
            yield self.columns[:count]
            self._buffers.append(self._buffers.pop(0))
            for column, behind in zip(self.columns.columns(), self._buffers[0].columns(), strict=True):
                behind[: self.filled - count] = column[count : self.filled]
            self.columns = self._buffers[0]
            self.filled -= count
        self._ordered = self.filled

    def _put_in_order(self) -> None:
        """Sort the rows that came since the last time into those before, stably."""
        order = np.empty(self.filled, np.int64)
        left, moved, late = insert_in_order(
            self.columns.time_ns[: self.filled], self._ordered, self._window, self._given_ns, order
        )
        for column in self.columns.columns():
            column[:left] = column[order[:left]]
        self.filled = left
        self.reordered += moved
        self.skipped[OUT_OF_ORDER] += late


class FileFormat(Protocol):
    """One file of packets, front to back."""

    def fill(self, rows: Rows) -> bool:
        """Write packets behind the rows filled so far; True when no row is free, False at the end of the
        file.

        Raises TraceError where the file is damaged, with all packets before the damage in the rows.
        """
