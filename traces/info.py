"""What is in a trace: rates, sizes, protocols and the distribution of flow lengths, from one pass over it.

Memory is that of the exact flow table; all else is histograms of fixed size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .flows import FlowTable
from .keys import FlowHash
from .packets import IPV4_PREFIX, PacketBatch, since_ns
from .silences import Silences

PROTOCOL_NAMES = {
    1: "ICMP",
    2: "IGMP",
    4: "IPv4 in IP",
    6: "TCP",
    17: "UDP",
    41: "IPv6 in IP",
    47: "GRE",
    50: "ESP",
    51: "AH",
    58: "ICMPv6",
    89: "OSPF",
    132: "SCTP",
}
QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999)
USUAL_SIZE_BYTES, LARGEST_SIZE_BYTES = 65575, 1 << 20
"""The longest packet that is no jumbogram and no offloaded segment; what is longer than the second is counted as that
long in the quantiles."""

TAIL_STARTS_PACKETS = (6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128, 160, 200, 256)
"""Where a tail may start: the estimate is good from about 6 on."""

SMALLEST_TAIL_FLOWS = 100


class TimeBins:
    """Packets and bytes over time in `BINS` bins, whose width doubles when the trace outgrows them."""

    BINS = 4096

    def __init__(self) -> None:
        self.start_ns = 0
        self.width_ns = 1000
        self.packets = np.zeros(self.BINS, np.int64)
        self.bytes = np.zeros(self.BINS, np.int64)

    def add(self, time_ns: NDArray[np.int64], ip_bytes: NDArray[np.uint32]) -> None:
        """Count packets; their times never fall, and the first of all starts the first bin."""
        if not self.packets.any():
            self.start_ns = int(time_ns[0])
        while int(time_ns[-1]) - self.start_ns >= self.width_ns * self.BINS:
            self._double()
        where = (since_ns(time_ns, self.start_ns) // np.uint64(self.width_ns)).astype(np.int64)
        self.packets += np.bincount(where, minlength=self.BINS)
        self.bytes += np.bincount(where, ip_bytes, self.BINS).astype(np.int64)

    def _double(self) -> None:
        for counts in (self.packets, self.bytes):
            pairs = counts.reshape(-1, 2).sum(axis=1)
            counts[: len(pairs)], counts[len(pairs) :] = pairs, 0
        self.width_ns *= 2


class TraceInfo:
    """The tallies of one trace: add its batches, then ask for the `report`."""

    def __init__(self, flow_hash: FlowHash) -> None:
        """Start with none; no figure depends on which hash tells flows apart."""
        self.packets = 0
        self.bytes = 0
        self.first_ns = 0
        self.last_ns = 0
        self.ipv6_packets = 0
        self.sizes = np.zeros(USUAL_SIZE_BYTES + 1, np.int64)
        self.longest_bytes = 0
        self.protocol_packets = np.zeros(256, np.int64)
        self.protocol_bytes = np.zeros(256, np.int64)
        self.time_bins = TimeBins()
        self.flows = FlowTable(flow_hash)
        self.silences = Silences()

    def add(self, batch: PacketBatch) -> None:
        """Count the packets of a batch."""
        if not len(batch):
            return
        if not self.packets:
            self.first_ns = int(batch.time_ns[0])
        self.last_ns = int(batch.time_ns[-1])
        self.packets += len(batch)
        self.bytes += int(batch.ip_bytes.sum(dtype=np.int64))
        self.ipv6_packets += len(batch) - int(np.count_nonzero(_is_ipv4(batch.src) & _is_ipv4(batch.dst)))
        self.longest_bytes = max(self.longest_bytes, int(batch.ip_bytes.max()))
        if min(self.longest_bytes, LARGEST_SIZE_BYTES) >= len(self.sizes):
            self.sizes = np.concatenate((self.sizes, np.zeros(LARGEST_SIZE_BYTES - USUAL_SIZE_BYTES, np.int64)))
        self.sizes += np.bincount(np.minimum(batch.ip_bytes, LARGEST_SIZE_BYTES), minlength=len(self.sizes))
        self.protocol_packets += np.bincount(batch.protocol, minlength=256)
        self.protocol_bytes += np.bincount(batch.protocol, batch.ip_bytes, 256).astype(np.int64)
        self.silences.see(batch.time_ns)
        self.time_bins.add(batch.time_ns, batch.ip_bytes)
        self.flows.add(batch)

    def flow_packets(self) -> NDArray[np.int64]:
        """Return the packets of every flow, sorted."""
        packets = self.flows.packets().view(np.int64)
        packets.sort()
        return packets

    def report(self, skipped: dict[str, int], reordered: int, untimed: int = 0) -> dict[str, Any]:
        """Return all figures by name, as `mozart trace info --json` shows them; the unknown is None."""
        duration_s = (self.last_ns - self.first_ns) / 1e9
        sizes = histogram_summary(self.sizes, self.bytes)
        return {
            "packets": self.packets,
            "flows": len(self.flows),
            "bytes": self.bytes,
            "first_ns": self.first_ns if self.packets else None,
            "duration_s": duration_s,
            "packets_per_s": self.packets / duration_s if duration_s and not untimed else None,
            "mbit_per_s": self.bytes * 8e-6 / duration_s if duration_s and not untimed else None,
            "ipv6_packet_share": self.ipv6_packets / self.packets if self.packets else None,
            "ip_bytes": sizes and {**sizes, "max": self.longest_bytes},
            "protocols": self._protocols(),
            "flow_packets": flow_summary(self.flow_packets()),
            "skipped": dict(skipped),
            "reordered": reordered,
            "untimed": untimed,
            "silences": self.silences.to_dict(),
        }

    def _protocols(self) -> list[dict[str, Any]]:
        order = np.argsort(-self.protocol_packets, kind="stable")
        return [
            {
                "protocol": int(number),
                "name": PROTOCOL_NAMES.get(int(number), f"protocol {number}"),
                "packets": int(self.protocol_packets[number]),
                "packet_share": float(self.protocol_packets[number] / self.packets),
                "byte_share": float(self.protocol_bytes[number] / self.bytes) if self.bytes else None,
            }
            for number in order
            if self.protocol_packets[number]
        ]


def histogram_summary(counts: NDArray[np.int64], total: int) -> dict[str, Any] | None:
    """Return mean (of the exact total) and quantiles of a histogram of whole numbers; None if empty."""
    cumulated = np.cumsum(counts)
    if not cumulated[-1]:
        return None
    ranks = np.ceil(np.array(QUANTILES) * cumulated[-1])
    values = np.searchsorted(cumulated, ranks)
    return {
        "mean": float(total / cumulated[-1]),
        "quantiles": {quantile_name(q): int(v) for q, v in zip(QUANTILES, values, strict=True)},
        "max": int(np.flatnonzero(counts)[-1]),
    }


def flow_summary(packets: NDArray[np.int64]) -> dict[str, Any] | None:
    """Return the distribution of packets a flow, given sorted, or None where there is no flow."""
    if not len(packets):
        return None
    ranks = np.ceil(np.array(QUANTILES) * len(packets)).astype(np.int64) - 1
    top = packets[-max(1, round(len(packets) / 100)) :]
    return {
        "mean": float(packets.mean()),
        "quantiles": {quantile_name(q): int(v) for q, v in zip(QUANTILES, packets[ranks], strict=True)},
        "max": int(packets[-1]),
        "one_packet_share": float(np.searchsorted(packets, 2) / len(packets)),
        "top_1_percent_packet_share": float(top.sum() / packets.sum()),
        "tail": (found := tail(packets)) and vars(found),
    }


@dataclass(frozen=True)
class Tail:
    """A Pareto tail: P(packets > x) falls as x to the power of -`exponent` from `from_packets` on."""

    exponent: float
    standard_error: float
    from_packets: int
    flows: int


def tail(packets: NDArray[np.int64]) -> Tail | None:
    """Estimate the tail exponent of packets a flow (sorted), or None where fewer than 100 flows make a tail.

    The maximum-likelihood estimate for a discrete power law, as approximated by Clauset, Shalizi and Newman
    (SIAM Review 51, 2009), and their choice of where the tail starts:

    1. for each start x in a fixed grid, over the flows of p >= x packets: exponent =
       flows / sum(ln(p / (x - 1/2)));
    2. the start is that where the fitted and the observed distribution differ least (Kolmogorov-Smirnov).
    """
    best: tuple[float, Tail] | None = None
    for start in TAIL_STARTS_PACKETS:
        rest = packets[np.searchsorted(packets, start) :]
        if len(rest) < SMALLEST_TAIL_FLOWS or rest[-1] == start:
            break
        exponent = float(len(rest) / np.log(rest / (start - 0.5)).sum())  # 1.
        distance = _distance(rest, start, exponent)
        if best is None or distance < best[0]:  # 2.
            best = distance, Tail(exponent, exponent / float(np.sqrt(len(rest))), start, len(rest))
    return best and best[1]


def _distance(rest: NDArray[np.int64], start: int, exponent: float) -> float:
    """Return the greatest difference of the observed and the fitted share of flows longer than x."""
    values, first = np.unique(rest, return_index=True)
    observed = 1 - np.append(first[1:], len(rest)) / len(rest)
    fitted = ((values + 0.5) / (start - 0.5)) ** -exponent
    return float(np.abs(observed - fitted).max())


def quantile_name(share: float) -> str:
    """Name a quantile: p50 for 0.5, p99.9 for 0.999."""
    return f"p{share * 100:g}"


def _is_ipv4(address: NDArray[np.uint64]) -> NDArray[np.bool_]:
    return (address[:, 0] == 0) & (address[:, 1] >> np.uint64(32) == IPV4_PREFIX >> 32)
