"""The SYN-flood event: a destination that is sent more SYNs than completed handshakes can explain.

1. A packet with SYN and without ACK or RST asks its destination for a connection; the connection is pending, and each
   of its SYNs counts, in bins of 62.5 ms.
2. A SYN less than a millisecond after the one of the same connection that was counted last is a copy, and counts for
   nothing.
3. The first packet of a pending connection from the same client with ACK and without SYN or RST completes its
   handshake: a client can acknowledge only after the server's SYN-ACK. It takes back all SYNs of its connection, in the
   bins where they were counted, and none of others. (This needs the client's direction alone, so it works where a
   device, or a trace, sees one direction of the traffic.)
4. SYNs that were not taken back are unexplained once the time for a handshake is over: one bin between theirs and the
   present one, or more where a handshake with this destination took longer. Of handshakes that took less than a second
   the slowest decides, in whole bins.
5. At a packet of rule 1 or 3 the event is true where the unexplained SYNs of sixteen bins in a row (a second), the
   latest ones of rule 4, reach `threshold`.

So a flood is seen an eighth of a second late, or as late as the slowest handshake of its destination, some second at
most, at the next packet to that destination. Until the first handshake of a destination is complete, nothing tells a
flood from a crowd whose round trips are longer than a bin: where `threshold` SYNs are that old by then, the crowd is
called a flood. Where round trips take more than a second, SYNs are taken back after they were judged.

State is bounded. Pending connections are four for each entry of memory on a device, the oldest of four giving way; the
SYNs of a connection that was forgotten stay unexplained until they leave the window, and so do those of a connection
that gives up. A destination that was forgotten starts anew, and handshakes from before explain nothing. One connection
counts a thousand SYNs a second at most (rule 2).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..fields import Field
from .selector import Selector, Sightings
from .syn_flood_kernels import PENDING_WAYS, RING, unexplained

TCP, SYN, RST, ACK = 6, 2, 4, 16


class SynFlood(Selector):
    """Selects destinations under a SYN flood."""

    event = "syn-flood"
    needs_times = True
    default_key = "dst"
    measured = ("unexplained SYNs in a second", "SYN/s")
    parameters: ClassVar = {
        "threshold": Field(int, "unexplained SYNs in a second", 100, minimum=1, maximum=10**9, unit="SYN/s"),
    }
    threshold: int

    def allocate(self, rows: int) -> None:
        """Keep SYNs by bin for each destination, and the pending connections of each device with their SYNs by bin."""
        self.bins = np.zeros((rows, RING), np.int32)
        self.words = np.zeros((rows, 5), np.int64)
        self.states = np.zeros(1, np.int64)
        self.keys_pending = np.zeros((rows, PENDING_WAYS), np.uint64)
        self.pending = np.zeros((rows, PENDING_WAYS, 3), np.int64)
        self.counts = np.zeros((rows, PENDING_WAYS, RING), np.uint8)
        self.next_way = np.zeros(rows, np.uint8)

    def concerns(self, seen: Sightings) -> NDArray[np.bool_]:
        """SYNs, and packets that may complete a handshake."""
        flags = seen.packets.tcp_flags & (SYN | RST | ACK)
        return ((flags == SYN) | (flags == ACK)) & (seen.packets.protocol == TCP) & ~seen.lost

    def detect(
        self,
        seen: Sightings,
        row: NDArray[np.int64],
        fresh: NDArray[np.bool_],
        true: NDArray[np.bool_],
        value: NDArray[np.float64],
    ) -> None:
        """Count SYNs and take back those of completed handshakes."""
        connection = seen.flow_hash.keys(seen.packets, "five-tuple")
        is_syn = (seen.packets.tcp_flags & SYN) != 0
        sums = np.zeros(len(row), np.int64)
        unexplained(
            row, fresh, seen.packets.time_ns, connection, seen.where, is_syn,
            self.keys_pending, self.pending, self.counts, self.next_way, self.buckets * self.ways,
            self.bins, self.words, self.states, sums,
        )  # fmt: skip
        true |= (row >= 0) & (sums >= self.threshold)
        flooded = np.flatnonzero(true)
        value[flooded] = sums[flooded]
