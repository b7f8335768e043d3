"""Synthetic traffic beside published figures of backbone links: what is compared, and how each is measured.

The published figures are of captures of the CAIDA monitors: equinix-nyc of 2018-03-15 and of 2019-01-17, and
equinix-chicago of 2016-01-21. No capture gives them all, so each is compared with where it was published:
flows in whole minutes of 2019, the share of one-packet flows in slices of 10,000 packets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .flows import FlowTable
from .info import TraceInfo, tail
from .keys import FlowHash
from .packets import PacketBatch

FULL_RATE = 430_000.0
"""Packets a second of the default traffic, between the published rates of 2018 and of 2019."""
SLICE_NS = round(10_000 / FULL_RATE * 1e9)
"""As long as a slice of 10,000 packets is at the full rate."""
SLICE_EVERY_NS = 10**9
WITHIN = 0.10
"""How far from the middle of the published range a figure may be."""
TCP_PERCENTILES = (50, 90, 99)
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58


@dataclass(frozen=True)
class Published:
    """A published figure: its range, how to print it, where it is from, and if it is a bar or only shown."""

    name: str
    low: float
    high: float
    style: str
    source: str
    bar: bool = True

    @property
    def middle(self) -> float:
        """The middle of the range, which deviations are taken from."""
        return (self.low + self.high) / 2


NYC_2018, NYC_2019 = "equinix-nyc 2018-03-15", "equinix-nyc 2019-01-17"
PUBLISHED = (
    Published("packets a second", 413_000, 422_000, ",.0f", f"{NYC_2018}: a slice, and the mean"),
    Published("five-tuples a minute", 1_790_000, 2_040_000, ",.0f", f"{NYC_2019}, at 456,000 to 503,000/s"),
    Published("mean IP length (B)", 853, 922, ".0f", "both captures"),
    Published("TCP packets", 0.75, 0.81, ".1%", "both captures"),
    Published("UDP packets", 0.19, 0.24, ".1%", "both captures"),
    Published("ICMP packets", 0.0, 0.01, ".2%", "both captures"),
    Published("one-packet flows, slice", 0.56, 0.61, ".1%", "10,000 packets of each capture"),
    Published("tail exponent, minute", 1.2, 1.4, ".2f", "flow lengths, both captures"),
    Published("median IP length (B)", 1390, 1390, ".0f", "both captures", bar=False),
    Published("five-tuples, slice", 3149, 3149, ",.0f", f"{NYC_2018}, 10,000 packets", bar=False),
    Published("one-packet flows, minute", 0.478, 0.478, ".1%", "4 billion flows of a campus (AGH 2015)", bar=False),
    Published("packets of top 1 %, slice", 0.289, 0.289, ".1%", f"{NYC_2018}, 10,000 packets", bar=False),
    Published("CV of flow arrivals", 1.08, 1.08, ".2f", "equinix-chicago 2016-01-21", bar=False),
    Published("TCP flow bytes, p50", 800, 1200, ",.0f", "TCP connections", bar=False),
    Published("TCP flow bytes, p90", 12_000, 18_000, ",.0f", "TCP connections", bar=False),
    Published("TCP flow bytes, p99", 600_000, 600_000, ",.0f", "TCP connections", bar=False),
)


class Slices:
    """The keys of the packets in a short slice of every second."""

    def __init__(self) -> None:
        self._flow_hash = FlowHash.seeded(0)
        self._start_ns: int | None = None
        self._keys: list[NDArray[np.uint64]] = []
        self._numbers: list[NDArray[np.int64]] = []

    def add(self, batch: PacketBatch) -> None:
        """Take the keys of a batch's packets that are in a slice."""
        if self._start_ns is None:
            self._start_ns = int(batch.time_ns[0])
        since_ns = batch.time_ns - self._start_ns
        inside = np.flatnonzero(since_ns % SLICE_EVERY_NS < SLICE_NS)
        if len(inside):
            self._keys.append(self._flow_hash.keys(batch[inside], "five-tuple"))
            self._numbers.append(since_ns[inside] // SLICE_EVERY_NS)

    def counts(self) -> list[NDArray[np.int64]]:
        """Return the packets a flow in each slice, sorted."""
        keys, numbers = np.concatenate(self._keys), np.concatenate(self._numbers)
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        return [np.sort(np.unique(part, return_counts=True)[1]) for part in np.split(keys, starts[1:])]


def measure(batches: Iterable[PacketBatch], rate_scale: float = 1.0) -> dict[str, float]:
    """Return the figures of `PUBLISHED` for a trace, by name.

    `rate_scale` is what counts that grow with the packet rate are multiplied with, for traffic made at a part
    of the full rate. Flows a minute are those of the trace, whatever its length: give it a minute. What too few
    packets do not tell is NaN.
    """
    info, slices = TraceInfo(FlowHash.seeded(0)), Slices()
    for batch in batches:
        info.add(batch)
        slices.add(batch)
    report = info.report({}, 0)
    share = {row["protocol"]: row["packet_share"] for row in report["protocols"]}
    flows = info.flows.to_columns()
    counts = slices.counts()
    top = [count[-max(1, round(len(count) / 100)) :].sum() / count.sum() for count in counts]
    tcp_bytes = np.asarray(flows["bytes"])[np.asarray(flows["protocol"]) == TCP]
    length_tail = tail(info.flow_packets())
    percentiles = np.percentile(tcp_bytes, TCP_PERCENTILES) if len(tcp_bytes) else np.full(3, np.nan)
    return {
        "packets a second": report["packets_per_s"] * rate_scale,
        "five-tuples a minute": report["flows"] * rate_scale,
        "mean IP length (B)": report["ip_bytes"]["mean"],
        "median IP length (B)": report["ip_bytes"]["quantiles"]["p50"],
        "TCP packets": share.get(TCP, 0.0),
        "UDP packets": share.get(UDP, 0.0),
        "ICMP packets": share.get(ICMP, 0.0) + share.get(ICMP6, 0.0),
        "one-packet flows, slice": float(np.mean([np.mean(count == 1) for count in counts])),
        "five-tuples, slice": float(np.mean([len(count) for count in counts])) * rate_scale,
        "packets of top 1 %, slice": float(np.mean(top)),
        "one-packet flows, minute": report["flow_packets"]["one_packet_share"],
        "tail exponent, minute": length_tail.exponent if length_tail else float("nan"),
        "CV of flow arrivals": arrival_variation(info.flows),
        **{f"TCP flow bytes, p{p}": float(v) for p, v in zip(TCP_PERCENTILES, percentiles, strict=True)},
    }


def arrival_variation(flows: FlowTable) -> float:
    """Return standard deviation over mean of the gaps between first packets, in the second half of the trace.

    In the first half many a "first" packet is of a flow that was there before the trace.
    """
    first_ns = np.sort(np.asarray(flows.to_columns()["first_ns"]))
    gaps = np.diff(first_ns[np.searchsorted(first_ns, (first_ns[0] + first_ns[-1]) / 2) :])
    return float(gaps.std() / gaps.mean()) if gaps.any() else float("nan")


def deviation(figure: Published, measured: float) -> float:
    """Return how far a measured figure is from the middle of the published range, as a share of it."""
    return measured / figure.middle - 1


def holds(figure: Published, measured: float) -> bool:
    """Say whether a figure is close enough to the published ones: under its limit, where it has only that."""
    return abs(deviation(figure, measured)) <= WITHIN if figure.low else measured <= figure.high


def table(measured: dict[str, float]) -> list[tuple[str, str, str, str, str]]:
    """Return rows (figure, published, synthetic, deviation, source) as text; bars are judged, the unknown is out."""
    rows = []
    for figure in PUBLISHED:
        known = not np.isnan(measured[figure.name])
        low, high, value = (format(v, figure.style) for v in (figure.low, figure.high, measured[figure.name]))
        span = low if low == high else f"{low} to {high}" if figure.low else f"under {high}"
        off = format(deviation(figure, measured[figure.name]), "+.1%") if figure.low and known else ""
        mark = ("ok" if holds(figure, measured[figure.name]) else "OUT") if figure.bar else ""
        rows.append((figure.name, span, value if known else "-", f"{off} {mark}".strip(), figure.source))
    return rows


def within(measured: dict[str, float]) -> bool:
    """Say whether every bar holds."""
    return all(holds(figure, measured[figure.name]) for figure in PUBLISHED if figure.bar)
