"""The loss event: a flow that retransmits a large share of its packets.

1. A TCP segment with payload whose sequence number is below the highest end seen for its flow (modulo 2^32) counts as
   retransmitted. A segment ends at its sequence number plus its payload, plus one each for SYN and FIN.
2. Where the network itself drops packets (`mozart replay --loss`), the sender's notice of a drop counts as one
   retransmission, for every protocol; it comes one round trip after the packet.
3. The event is true while packets >= `min_packets` and retransmitted / packets >= `threshold`.

Sequence numbers are compared as RFC 1982 does: the difference as a signed 32-bit number.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..fields import Field
from .loss_kernels import STATE_WORDS, retransmissions
from .selector import Selector, Sightings
from .state_kernels import BLOCK


class Loss(Selector):
    """Selects flows that lose packets, by their retransmissions."""

    event = "loss"
    keys = ("five-tuple",)  # sequence numbers of several connections do not compare
    measured = ("share of the flow's packets that were retransmitted", "")
    parameters: ClassVar = {
        "threshold": Field(float, "share of packets retransmitted", 0.02, above=0, maximum=1, percent=True),
        "min_packets": Field(
            int, "packets of a flow before it is judged", 20, minimum=1, maximum=10**9, unit="packets"
        ),
    }
    threshold: float
    min_packets: int

    state_words = STATE_WORDS

    def allocate(self, rows: int) -> None:
        """All that is kept of a flow (packets, retransmissions, the highest end) stands in the state words."""

    def events(self, seen: Sightings, value: NDArray[np.float64] | None = None) -> NDArray[np.bool_]:
        """Count packets and retransmissions, and compare their ratio: in one pass that also finds the rows."""
        p = seen.packets
        true = np.zeros(len(seen.key), np.bool_)
        value = np.empty(len(true)) if value is None else value
        retransmissions(
            seen.key, seen.where, p.time_ns, seen.lost, p.protocol, p.tcp_seq, p.tcp_flags, p.payload_bytes,
            self.fp, self.state, self.buckets, self.ways, self.counters, self.threshold, self.min_packets,
            np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint64), true, value,
        )  # fmt: skip
        return true
