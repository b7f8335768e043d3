"""The port-scan event: a source that asks many destinations for connections to watched ports.

1. A packet toward one of `ports` is an attempt where it asks for a connection: of TCP, where it has SYN and not ACK;
   of UDP and SCTP, where it starts a flow. So answers are none, nor is what belongs to a session that runs already.
2. A packet of UDP or SCTP starts a flow where the device has seen no packet of this flow, in either direction, in the
   last two minutes, and it is no answer by rule 3.
3. A packet of UDP or SCTP is an answer where its source port is the lower one and below 32,768: services have the low
   port, and clients a high one. This holds where the device sees one direction only.
4. An attempt makes its source try the pair (destination, port).
5. The event is true, at an attempt, where the source has tried at least `threshold` distinct pairs within the last
   `window_s`, the present one included.

Limits of rules 2 and 3: a scan over UDP or SCTP whose source port is lower than the ports that it tries stays unseen.
Answers of a service whose port is 32,768 or above, or no lower than the client's, count as attempts where the device
does not see the question; so does the first packet of a session over UDP or SCTP that ran before the device began to
look. A device remembers four flows of UDP and SCTP for each entry of memory, those with a watched port alone; of four
in a place the one seen least recently gives way, and its next packet starts a flow again.

Exact with `threshold` remembered pairs a source: of all pairs the most recently tried are kept, so where at least
`threshold` distinct ones lie within the window, all those remembered do.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..fields import Field
from ..tasks import MOST_S
from .port_scan_kernels import ATTEMPT, DATAGRAM, FLOW_WAYS, classify, distinct_pairs, starting
from .selector import Selector, Sightings

PORT_SALT = np.uint64(0x9E3779B97F4A7C15)


class PortScan(Selector):
    """Selects sources that scan."""

    event = "port-scan"
    default_key = "src"
    measured = ("distinct (destination, port) pairs tried within the window, as many as are remembered", "pairs")
    parameters: ClassVar = {
        "ports": Field(list[int], "destination ports that are watched", (22, 23, 445, 3389), minimum=0, maximum=65535),
        "threshold": Field(int, "distinct (destination, port) pairs tried", 10, minimum=1, maximum=4096, unit="pairs"),
        "window_s": Field(float, "time within which they were tried", 60.0, above=0, maximum=MOST_S, unit="s"),
    }
    ports: tuple[int, ...]
    threshold: int
    window_s: float

    def allocate(self, rows: int) -> None:
        """Keep the latest `threshold` pairs of each source, and when each was tried."""
        self.pairs = np.zeros((rows, self.threshold), np.uint64)
        self.tried_ns = np.zeros((rows, self.threshold), np.int64)
        self.flows = np.zeros((rows, FLOW_WAYS), np.uint64)
        self.seen_ns = np.zeros((rows, FLOW_WAYS), np.int64)
        self.watched = np.zeros(65536, np.bool_)
        self.watched[list(self.ports)] = True

    def concerns(self, seen: Sightings) -> NDArray[np.bool_]:
        """Attempts (rule 1); what has been seen of UDP and SCTP is remembered for later ones."""
        packets = seen.packets
        kind = np.empty(len(packets), np.uint8)
        datagrams = classify(
            packets.protocol, packets.tcp_flags, packets.src_port, packets.dst_port,
            seen.where, seen.lost, self.watched, kind,
        )  # fmt: skip
        if datagrams:
            self.look_at_flows(seen, np.flatnonzero(kind == DATAGRAM), kind)
        return kind == ATTEMPT

    def look_at_flows(self, seen: Sightings, which: NDArray[np.int64], kind: NDArray[np.uint8]) -> None:
        """Set the kind of those packets of UDP and SCTP that start a flow (rules 2 and 3) to an attempt."""
        packets = seen.packets[which]
        there, back = (seen.flow_hash.keys(packets, "five-tuple", reverse=reverse) for reverse in (False, True))
        starts = np.empty(len(which), np.bool_)
        starting(
            np.minimum(there, back), seen.where[which], packets.time_ns, packets.src_port, packets.dst_port,
            self.watched, self.flows, self.seen_ns, self.buckets * self.ways, starts,
        )  # fmt: skip
        kind[which[starts]] = ATTEMPT

    def detect(
        self,
        seen: Sightings,
        row: NDArray[np.int64],
        fresh: NDArray[np.bool_],
        true: NDArray[np.bool_],
        value: NDArray[np.float64],
    ) -> None:
        """Remember the pair of each packet and count those within the window."""
        concerned = np.flatnonzero(row >= 0)
        packets = seen.packets[concerned]
        pair = seen.flow_hash.keys(packets, "dst") ^ packets.dst_port.astype(np.uint64) * PORT_SALT
        tried = np.zeros(len(concerned), np.int64)
        distinct_pairs(
            row[concerned], fresh[concerned], pair, packets.time_ns,
            self.pairs, self.tried_ns, np.int64(round(self.window_s * 1e9)), tried,
        )  # fmt: skip
        true[concerned] = tried >= self.threshold
        scans = np.flatnonzero(true)
        value[scans] = tried[tried >= self.threshold]
