"""The port-scan event: a source that tries secure ports of many destinations.

1. A packet whose destination port is one of `ports` makes its source try the pair (destination, port).
2. The event is true where the source has tried at least `threshold` distinct pairs within the last `window_s`,
   the present packet included.

Exact with `threshold` remembered pairs a source: of all pairs the most recently tried are kept, so where at least
`threshold` distinct ones lie within the window, all those remembered do.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..fields import Field
from ..tasks import MOST_S
from .port_scan_kernels import distinct_pairs
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
        self.watched = np.zeros(65536, np.bool_)
        self.watched[list(self.ports)] = True

    def concerns(self, seen: Sightings) -> NDArray[np.bool_]:
        """Packets to the watched ports."""
        has_ports = (seen.packets.dst_port != 0) | (seen.packets.src_port != 0)
        return self.watched[seen.packets.dst_port] & has_ports & ~seen.lost

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
