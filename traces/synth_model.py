"""What synthetic backbone traffic is made of: shares, lengths, sizes, windows, and where each figure is from.

A *connection* is one exchange between a client and a server; each of its directions is a flow (five-tuple). A
link carries both directions of a chosen share of them and one, at random, of the others: so the mix of flows
does not depend on that share. Lengths are drawn for the direction that carries data; the other one
acknowledges every second packet. This module turns the figures into the small arrays that the kernels read;
it knows nothing of time or state.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

BODY = 20
"""Flow lengths up to this many packets come from a table, longer ones from a Pareto tail."""


@dataclass(frozen=True)
class Lengths:
    """Lengths of flows: P(length > n) at some n up to `BODY`, then a Pareto tail of exponent `alpha`."""

    survival: dict[int, float]
    alpha: float

    def table(self) -> NDArray[np.float64]:
        """Return P(length > n) for n of 0 to `BODY`, straight lines between the given points."""
        points = {0: 1.0, **self.survival}
        return np.interp(np.arange(BODY + 1), list(points), list(points.values()))

    def draw(self, survival: NDArray[np.float64], longest: float) -> NDArray[np.int64]:
        """Return the lengths at given values of P(length > n), as the kernel draws them, cut at `longest`."""
        table = self.table()
        body = np.searchsorted(-table, -survival, "left")
        if table[BODY] <= 0:
            return np.clip(body, 1, BODY)
        tail = np.minimum(BODY * (table[BODY] / survival) ** (1 / self.alpha), longest).astype(np.int64) + 1
        return np.where(survival < table[BODY], tail, np.maximum(body, 1))

    def mean_directions(self, longest: float) -> float:
        """Return the mean length of a flow, over the two directions of a connection taken equally often."""
        edges = np.append(np.geomspace(1e-9, 1e-2, 200_001), np.linspace(1e-2, 1, 200_001)[1:])
        survival = (edges[1:] + edges[:-1]) / 2
        data = self.draw(survival, longest)
        both = (data + np.where(data < 3, data, 2 + data // 2)) / 2
        return float(np.sum(both * np.diff(edges)))


@dataclass(frozen=True)
class Profile:
    """One kind of traffic; a name of `PROFILES` stands for it.

    Shares are of flows (five-tuples) unless said. Times are medians and sigmas of lognormal draws, one a
    connection.
    """

    tcp_share: float
    udp_share: float
    tcp_lengths: Lengths
    udp_lengths: Lengths
    icmp_lengths: Lengths
    rtt_ms: float
    rtt_sigma: float
    gap_us: float
    gap_sigma: float
    window_factor: float
    window_power: float
    window_sigma: float
    pause_share: float
    pause_ms: float
    pause_packets: float
    upload_share: float
    short_segment_share: float
    request_share: float
    paced_share: float
    fastest_share: float
    longest_s: float
    sizes: dict[int, float] = field(default_factory=dict)
    ports: dict[int, float] = field(default_factory=dict)
    attempt_ports: dict[int, float] = field(default_factory=dict)

    def mean_packets(self, packets_per_s: float) -> float:
        """Return the mean number of packets of a flow over its whole life, on a link of this rate."""
        icmp_share = 1 - self.tcp_share - self.udp_share
        longest = self.longest(packets_per_s)
        return (
            self.tcp_share * self.tcp_lengths.mean_directions(longest)
            + self.udp_share * self.udp_lengths.mean_directions(longest)
            + icmp_share * self.icmp_lengths.mean_directions(longest)
        )

    def longest(self, packets_per_s: float) -> float:
        """Return the packets of the longest flow: the fastest on a link of this rate, for `longest_s`."""
        return max(1000.0, self.fastest_share * packets_per_s * self.longest_s)

    def tables(self, packets_per_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return what the kernels read: numbers (by `NUMBERS`), length tables (3, 23), and quantiles."""
        numbers = np.array([getattr(self, name) for name in NUMBERS], np.float64)
        numbers[NUMBERS.index("fastest_share")] *= packets_per_s
        lengths = np.zeros((3, BODY + 3))
        for row, kind in enumerate((self.tcp_lengths, self.udp_lengths, self.icmp_lengths)):
            lengths[row] = (*kind.table(), kind.alpha, self.longest(packets_per_s))
        return (
            numbers,
            lengths,
            np.stack([quantiles(s) for s in (self.sizes, self.ports, self.attempt_ports)]),
        )


NUMBERS = (
    "tcp_share",
    "udp_share",
    "rtt_ms",
    "rtt_sigma",
    "gap_us",
    "gap_sigma",
    "window_factor",
    "window_power",
    "window_sigma",
    "pause_share",
    "pause_ms",
    "pause_packets",
    "upload_share",
    "short_segment_share",
    "request_share",
    "paced_share",
    "fastest_share",
)
"""Order of the numbers of a profile in the array that the kernels read."""


def quantiles(shares: dict[int, float], points: int = 1024) -> NDArray[np.float64]:
    """Return `points` values, each as often as its share asks; a value below 0 stands for "any port"."""
    ends = np.cumsum(list(shares.values()))
    at = (np.arange(points) + 0.5) / points * ends[-1]
    return np.array(list(shares), np.float64)[np.searchsorted(ends, at)]


# Published of backbone captures (`calibration.PUBLISHED` has the ranges and their sources): the shares of packets
# by protocol, the mean and the usual sizes of packets, the tail exponent of 1.2 to 1.4, about 15 packets a flow
# and minute, the share of one-packet flows in a slice of 10,000 packets, the 1/30 of such a slice that its largest
# flow has (half of it as the lasting rate of the fastest flow). Lengths up to 20 packets, shares of flows, windows,
# gaps and pauses were fitted to these together; round-trip times and ports are usual ones.
CAIDA_LIKE = Profile(
    tcp_share=0.62,
    udp_share=0.35,
    tcp_lengths=Lengths({1: 0.60, 2: 0.52, 3: 0.48, 5: 0.42, 10: 0.32, 20: 0.21}, 1.25),
    udp_lengths=Lengths({1: 0.30, 2: 0.20, 3: 0.16, 5: 0.13, 10: 0.12, 20: 0.108}, 1.25),
    icmp_lengths=Lengths({1: 0.40, 2: 0.25, 4: 0.15, 10: 0.08, 20: 0.0}, 1.25),
    rtt_ms=60.0,
    rtt_sigma=0.8,
    gap_us=25.0,
    gap_sigma=1.5,
    window_factor=0.9,
    window_power=0.48,
    window_sigma=0.7,
    pause_share=0.25,
    pause_ms=600.0,
    pause_packets=1000.0,
    upload_share=0.15,
    short_segment_share=0.04,
    request_share=0.06,
    paced_share=0.2,
    fastest_share=1 / 60,
    longest_s=120.0,
    sizes={
        1500: 0.63,
        1480: 0.10,
        1400: 0.07,
        1420: 0.05,
        1452: 0.05,
        1140: 0.03,
        1378: 0.02,
        1472: 0.03,
        1340: 0.02,
    },
    ports={
        443: 0.62,
        80: 0.19,
        5222: 0.02,
        25: 0.01,
        993: 0.01,
        22: 0.004,
        3389: 0.001,
        8080: 0.01,
        -1: 0.135,
    },
    attempt_ports={443: 0.3, 80: 0.2, 445: 0.15, 23: 0.05, 22: 0.02, 3389: 0.02, -1: 0.26},
)

PROFILES = {"caida-like": CAIDA_LIKE}
"""The figures of each kind of synthetic traffic, by its name in `synth_options.KINDS`."""
