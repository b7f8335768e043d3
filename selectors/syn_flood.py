"""The SYN-flood event: a destination that is sent more SYNs than completed handshakes can explain.

1. A packet with SYN and without ACK asks its destination for a connection; the connection is pending.
2. The first packet of a pending connection from the same client with ACK and without SYN completes its handshake: a
   client can acknowledge only after the server's SYN-ACK, so that SYN-ACK explains one SYN. (This needs the client's
   direction alone, so it works where a device, or a trace, sees one direction of the traffic.)
3. Time is cut into bins of 125 ms. The SYNs less the completed handshakes in the packet's bin and the seven before it
   are the unexplained SYNs of the last second; the event is true where they reach `threshold`, at a SYN.

A repeated SYN of a pending connection counts again. Pending connections are bounded too: four for each entry of
memory on a device, the oldest of four giving way; a handshake whose SYN was forgotten explains nothing.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..fields import Field
from .selector import Selector, Sightings
from .syn_flood_kernels import PENDING_WAYS, handshakes
from .window_kernels import BINS, window_sums

TCP, SYN, ACK = 6, 2, 16


class SynFlood(Selector):
    """Selects destinations under a SYN flood."""

    event = "syn-flood"
    needs_times = True
    default_key = "dst"
    measured = ("unexplained SYNs in the last second", "SYN/s")
    parameters: ClassVar = {
        "threshold": Field(int, "unexplained SYNs in a second", 100, minimum=1, maximum=10**9, unit="SYN/s"),
    }
    threshold: int

    def allocate(self, rows: int) -> None:
        """Keep unexplained SYNs by bin for each destination, and the pending connections of each device."""
        self.bins = np.zeros((rows, BINS), np.int64)
        self.latest = np.zeros(rows, np.int64)
        self.pending = np.zeros((rows, PENDING_WAYS), np.uint64)
        self.next_way = np.zeros(rows, np.uint8)

    def concerns(self, seen: Sightings) -> NDArray[np.bool_]:
        """SYNs, and packets that may complete a handshake."""
        flags = seen.packets.tcp_flags
        one_of_them = ((flags & SYN) != 0) != ((flags & ACK) != 0)
        return (seen.packets.protocol == TCP) & ~seen.lost & one_of_them

    def detect(
        self,
        seen: Sightings,
        row: NDArray[np.int64],
        fresh: NDArray[np.bool_],
        true: NDArray[np.bool_],
        value: NDArray[np.float64],
    ) -> None:
        """Count SYNs and completed handshakes."""
        amount = np.zeros(len(row), np.int64)
        connection = seen.flow_hash.keys(seen.packets, "five-tuple")
        is_syn = (seen.packets.tcp_flags & SYN) != 0
        region = self.buckets * self.ways
        handshakes(row, connection, seen.where, is_syn, self.pending, self.next_way, region, amount)
        sums = np.zeros(len(row), np.int64)
        window_sums(row, fresh, seen.packets.time_ns, amount, self.bins, self.latest, int(1e9) // BINS, sums)
        true |= (row >= 0) & is_syn & (sums >= self.threshold)
        flooded = np.flatnonzero(true)
        value[flooded] = sums[flooded]
