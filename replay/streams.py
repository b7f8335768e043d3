"""Streams: the exact truth of an epoch. A stream is what one flow sent over one route.

Everything that a monitor should have seen follows from the streams: a monitor on a route was crossed by all packets
of the streams on that route. The table has a row for every stream of the epoch, grows as needed, and is made anew
for the next epoch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..traces.memory import zeroed
from ..traces.packets import PacketBatch
from ..traces.sites import Sites
from . import stream_kernels as sk
from .routes import Routes

WORDS = int(sk.ROW_WORDS)
PIECE = 1 << 15
"""Packets whose flows are looked up before the unknown ones among them are worked out: few come twice so soon."""


class Streams:
    """Packets and bytes of every (flow key, route) in one epoch."""

    def __init__(self, capacity: int, finds_flows: bool = False) -> None:
        """Make room for `capacity` streams; with `finds_flows` the routes of flows can be looked up (`follow`).

        Then the streams of a flow stand side by side in the table, so it is meant for flows of few routes.
        """
        self.salt = np.uint64(0) if finds_flows else sk.ROUTE_SALT
        size = 1 << (2 * capacity - 1).bit_length()
        self.index, self.shift = zeroed(size), shift_of(size)
        self.rows = zeroed(size // 2 * WORDS)
        self.streams = 0

    def __len__(self) -> int:
        return self.streams

    def add(self, key: NDArray[np.uint64], route: NDArray[np.int32], ip_bytes: NDArray[np.uint32]) -> NDArray[np.int32]:
        """Count packets; returns the row of each packet's stream."""
        row = np.empty(len(key), np.int32)
        self._make_room(len(key))
        self.streams = sk.add(key, route, ip_bytes, self.salt, self.index, self.shift, self.rows, self.streams, row)
        return row

    def follow(
        self, key: NDArray[np.uint64], batch: PacketBatch, sites: Sites, routes: Routes, counts: bool
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
        """Find the route of each packet: that of its flow, so that only a new one has to be worked out.

        `key` are five-tuples. Returns (route, row of each packet's stream, how many packets stay outside because both
        ends are one host, and because an end has none). Where `counts` is true packets are counted as by `add`; where
        not, because links may yet drop some, the row means nothing.
        """
        route, row = np.empty(len(key), np.int32), np.empty(len(key), np.int32)
        unrouted = np.zeros(2, np.int64)
        self._make_room(len(key))
        for begin in range(0, len(key), PIECE):
            piece = slice(begin, begin + PIECE)
            self._follow(key[piece], batch[piece], sites, routes, counts, route[piece], row[piece], unrouted)
        return route, row, unrouted

    def _follow(
        self,
        key: NDArray[np.uint64],
        p: PacketBatch,
        sites: Sites,
        routes: Routes,
        counts: bool,
        route: NDArray[np.int32],
        row: NDArray[np.int32],
        unrouted: NDArray[np.int64],
    ) -> None:
        """Follow a piece: first the flows that are known, then the others, which may come several times."""
        unknown = np.empty(len(key) + 1, np.uint32)
        listed = sk.recall(
            key, p.ip_bytes, routes.path_number, routes.outside, counts, self.index, self.shift, self.rows,
            route, row, unknown, unrouted,
        )  # fmt: skip
        unknown = unknown[:listed]
        self.streams = sk.meet(
            unknown, sites.find(p.src.take(unknown, axis=0)), sites.find(p.dst.take(unknown, axis=0)),
            key, p.src, p.dst, p.src_port, p.dst_port, p.protocol, p.ip_bytes,
            routes.first, routes.count, routes.outside, counts,
            self.index, self.shift, self.rows, self.streams, route, row, unrouted,
        )  # fmt: skip

    @property
    def key(self) -> NDArray[np.uint64]:
        """Flow key of each stream."""
        return self._column(sk.KEY)

    @property
    def route(self) -> NDArray[np.int32]:
        """Route of each stream."""
        return (self._column(sk.ROUTE) & sk.ROUTE_BITS).astype(np.int32)

    @property
    def packets(self) -> NDArray[np.int64]:
        """Packets of each stream."""
        return self._column(sk.PACKETS).view(np.int64)

    @property
    def bytes(self) -> NDArray[np.int64]:
        """Bytes (IP length) of each stream."""
        return self._column(sk.BYTES).view(np.int64)

    @property
    def volume(self) -> NDArray[np.int64]:
        """Packets and bytes of each stream, shape (streams, 2)."""
        return np.stack([self.packets, self.bytes], axis=1)

    def _column(self, word: np.uint64) -> NDArray[np.uint64]:
        return self.rows[int(word) : self.streams * WORDS : WORDS]

    def _make_room(self, more: int) -> None:
        """See that there is room for more streams, in a table that is at most half full."""
        if self.streams + more > len(self.index) // 2:
            size = 1 << (2 * max(len(self.index), self.streams + more) - 1).bit_length()
            index, rows = zeroed(size), zeroed(size // 2 * WORDS)
            sk.move_entries(self.index, index, shift_of(size))
            rows[: self.streams * WORDS] = self.rows[: self.streams * WORDS]
            self.index, self.shift, self.rows = index, shift_of(size), rows


def shift_of(entries: int) -> np.uint64:
    """Return by how much a fingerprint is shifted to find its entry, in a table of 2^n of them."""
    return np.uint64(64 - (entries.bit_length() - 1))


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
