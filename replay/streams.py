"""Streams: the exact truth of an epoch. A stream is what one flow sent over one route.

Everything that a monitor should have seen follows from the streams: a monitor on a route was crossed by all packets
of the streams on that route. The table has a row for every stream of the epoch, grows as needed, and is made anew
for the next epoch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import stream_kernels as sk


class Streams:
    """Packets and bytes of every (flow key, route) in one epoch."""

    def __init__(self, capacity: int = 1 << 16) -> None:
        self.fp = np.zeros(2 * capacity, np.uint64)
        self.slot_row = np.zeros(2 * capacity, np.int32)
        self.key = np.zeros(capacity, np.uint64)
        self.route = np.zeros(capacity, np.int32)
        self.volume = np.zeros((capacity, 2), np.int64)
        self.rows = 0

    def __len__(self) -> int:
        return self.rows

    def add(self, key: NDArray[np.uint64], route: NDArray[np.int32], ip_bytes: NDArray[np.uint32]) -> NDArray[np.int32]:
        """Count packets; returns the row of each packet's stream."""
        row = np.empty(len(key), np.int32)
        if self.rows + len(key) > len(self.key):
            self._grow(max(2 * len(self.key), self.rows + len(key)))
        self.rows = sk.add(
            key, route, ip_bytes, self.fp, self.slot_row, self.key, self.route, self.volume, self.rows, row
        )
        return row

    @property
    def packets(self) -> NDArray[np.int64]:
        """Packets of each row."""
        return self.volume[: self.rows, 0]

    @property
    def bytes(self) -> NDArray[np.int64]:
        """Bytes (IP length) of each row."""
        return self.volume[: self.rows, 1]

    def _grow(self, capacity: int) -> None:
        fp, slot_row = self.fp, self.slot_row
        size = 1 << (2 * capacity - 1).bit_length()
        self.fp, self.slot_row = np.zeros(size, np.uint64), np.zeros(size, np.int32)
        sk.rehash(fp, slot_row, self.fp, self.slot_row)
        self.key, self.route = np.resize(self.key, size // 2), np.resize(self.route, size // 2)
        volume = np.zeros((size // 2, 2), np.int64)
        volume[: self.rows] = self.volume[: self.rows]
        self.volume = volume


class After:
    """What each stream sent after its flow was selected, for each detection delay: part of the truth of one task."""

    def __init__(self, delays: int) -> None:
        self.volume = np.zeros((0, delays, sk.AFTER_COLUMNS), np.int64)
        """Shape (rows, delays, columns), the columns as `stream_kernels` names them."""

    def add(
        self,
        rows: int,
        row: NDArray[np.int32],
        after: NDArray[np.uint8],
        past: NDArray[np.uint8],
        ip_bytes: NDArray[np.uint32],
    ) -> None:
        """Count packets; the masks over the delays are those of `Tags`, `rows` is how many streams there are."""
        if rows > len(self.volume):
            grown = np.zeros((max(2 * rows, 1 << 12), *self.volume.shape[1:]), np.int64)
            grown[: len(self.volume)] = self.volume
            self.volume = grown
        sk.add_after(row, after, past, ip_bytes, self.volume)
