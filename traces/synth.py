"""Synthetic backbone traffic: packets from a seed, in time order, of any length, with the truth beside them.

How it is made:

1. Connections begin as a Poisson stream; each one's protocol, length, sizes, hosts, round-trip time and
   window are hashes of the seed and its number (`synth_model.py` has the figures and their sources).
2. A flow sends rounds: a burst as large as its window, which doubles up to its most, one round-trip time
   after the other, with pauses of heavy-tailed length. TCP sequence numbers advance by the payload; flows
   that are lossy send again a segment that they sent before.
3. At the beginning the connections are there that would be under way on a link watched for ten minutes.
4. Scanners, SYN floods and elephants come on top (`injections.py`).

Same options, same packets; a longer trace begins with the packets of a shorter one. Memory holds the flows
that have packets left, the packets of one slot of time, and the truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SpecError
from .injections import ELEPHANT_SEGMENT_BYTES, SCAN_PORTS, Injection, Rate, events
from .packets import COLUMNS, PacketBatch
from .synth_kernels import FLOW, NEVER, PACKET, arrive, bucket_order, send, to_columns
from .synth_model import BODY, profile_named
from .synth_truth import Truth

EPOCH_NS = 1_521_118_800 * 10**9
"""When every synthetic trace begins: 2018-03-15 13:00:00 UTC."""
WARM_ALL_NS = 10 * 10**9
WARM_LONG_NS = 600 * 10**9
SLOT_PACKETS = 50_000
OPEN_SHARE = 0.2
"""Share of the answers to a scan that are SYN-ACKs; the others are resets."""


def option(default: Any, meaning: str, least: float = 0.0, most: float = float("inf")) -> Any:
    """Declare an option: its default, what it means, and the range of its values."""
    return field(default=default, metadata={"help": meaning, "least": least, "most": most})


@dataclass(frozen=True)
class SynthOptions:
    """What synthetic traffic to make: names, defaults and meanings, for command and task file alike."""

    name: str = option("caida-like", "kind of traffic")
    duration_s: float = option(60.0, "length of the trace in seconds", 1e-6)
    packets_per_s: float = option(
        440_000.0, "mean packet rate; flow arrivals follow, flows stay alike", 1.0, 100e6
    )
    seed: int = option(1, "seed of all that is random", 0, 2**63 - 1)
    bidirectional_share: float = option(0.25, "share of connections with both directions in the trace", 0, 1)
    ipv6_share: float = option(0.0, "share of connections that use IPv6", 0, 1)
    lossy_share: float = option(0.02, "share of TCP connections of 4 packets or more that lose packets", 0, 1)
    retransmission_rate: float = option(0.05, "share of data packets of a lossy flow that repeat one", 0, 0.5)
    scanners: int = option(6, "sources that begin a port scan, in every minute", 0, 100_000)
    scan_rate_per_s: float = option(50.0, "probes a second of a scanner", 0.01, 1e6)
    scan_s: float = option(20.0, "how long a scanner scans, in seconds", 0.001)
    scan_answered_share: float = option(0.4, "share of probes that are answered", 0, 1)
    syn_floods: int = option(1, "SYN floods that begin in every minute", 0, 10_000)
    flood_rate_per_s: float = option(1000.0, "SYNs a second of a flood", 0.01, 1e7)
    flood_s: float = option(10.0, "how long a flood lasts, in seconds", 0.001)
    elephants: int = option(6, "elephants (steady large TCP flows) that begin in every minute", 0, 100_000)
    elephant_mbps: float = option(50.0, "rate of an elephant in megabits a second, IP bytes", 0.1, 1e5)
    elephant_s: float = option(20.0, "how long an elephant lasts, in seconds", 0.001)

    def __post_init__(self) -> None:
        profile_named(self.name)
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name == "name":
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise SpecError(f"synthetic traffic: {f.name} is {value!r}, and a number is needed")
            least, most = f.metadata["least"], f.metadata["most"]
            if not least <= value <= most:
                raise SpecError(
                    f"synthetic traffic: {f.name} is {value}, and {least:g} to {most:g} is allowed"
                )

    def rates(self) -> tuple[Rate, ...]:
        """Return the kinds of injected events with their numbers."""
        per_packet_bits = 8 * (ELEPHANT_SEGMENT_BYTES + 52)
        elephant_packets_per_s = self.elephant_mbps * 1e6 / per_packet_bits
        return (
            Rate("scanner", self.scanners, self.scan_s, self.scan_rate_per_s),
            Rate("syn-flood", self.syn_floods, self.flood_s, self.flood_rate_per_s),
            Rate("elephant", self.elephants, self.elephant_s, elephant_packets_per_s),
        )


class Synthesizer:
    """The packets of synthetic traffic: iterate once; a batch is valid until the next is taken."""

    def __init__(self, options: SynthOptions | None = None) -> None:
        self.options = options or SynthOptions()
        profile = profile_named(self.options.name)
        self._tables = profile.tables()
        self._seed = np.uint64(self.options.seed)
        rate = self.options.retransmission_rate
        self._choices = np.array(
            [
                self.options.bidirectional_share,
                self.options.lossy_share,
                rate / (1 - rate),
                self.options.ipv6_share,
            ]
        )
        flows_per_ns = self.options.packets_per_s / profile.mean_packets() / 1e9
        self._per_ns = flows_per_ns / (1 + self.options.bidirectional_share)
        self._slot_ns = int(min(max(SLOT_PACKETS / self.options.packets_per_s, 0.001), 2.0) * 1e9)
        self._end_ns = round(self.options.duration_s * 1e9)
        self._flows = np.zeros(0, FLOW)
        self._next_ns = np.zeros(0, np.int64)
        self._free = np.zeros(1, np.int64)
        self._model = np.zeros(1, FLOW)
        self._packets = np.zeros(2 * SLOT_PACKETS, PACKET)
        self._ended = np.zeros(4096, FLOW)
        self._truth = Truth(self.options, SCAN_PORTS, EPOCH_NS)
        self._grow(8192)

    @property
    def truth(self) -> dict[str, Any]:
        """What was put into the trace, complete after the last batch; `synth_truth.py` names the tables."""
        return self._truth.tables()

    def __iter__(self) -> Iterator[PacketBatch]:
        self._begin()
        clock = np.array([0, 1 << 40], np.int64)
        pending = [iter(events(rate, self.options.seed)) for rate in self.options.rates()]
        heads: list[Injection | None] = [next(stream, None) for stream in pending]
        for start_ns in range(0, self._end_ns, self._slot_ns):
            end_ns = min(start_ns + self._slot_ns, self._end_ns)
            for i, stream in enumerate(pending):
                while (event := heads[i]) is not None and event.start_ns < end_ns:
                    self._inject(event)
                    heads[i] = next(stream, None)
            self._arrive(clock, end_ns, 1.0)
            batch = self._slot(start_ns, end_ns)
            self._truth.count(batch)
            if len(batch):
                yield batch
        self._truth.ended(self._flows[self._next_ns < NEVER])

    def _begin(self) -> None:
        """Take in the connections under way at the beginning: long ones from far back, all from nearer."""
        longest = float(self._tables[1][:, BODY].max())
        clock = np.array([-WARM_LONG_NS, 1], np.int64)
        self._arrive(clock, -WARM_ALL_NS, longest)
        clock[0] = -WARM_ALL_NS
        self._arrive(clock, -1, 1.0)

    def _arrive(self, clock: NDArray[np.int64], until_ns: int, scale: float) -> None:
        """Begin the connections of a stream up to a time."""
        while not arrive(
            clock,
            until_ns,
            self._per_ns * scale,
            scale,
            self._seed,
            self._choices,
            *self._tables,
            self._model,
            self._flows,
            self._next_ns,
            self._free,
        ):
            self._grow(2 * len(self._flows))

    def _grow(self, places: int) -> None:
        """Make the table of flows larger; the new places are free."""
        old = len(self._flows)
        self._flows = np.concatenate([self._flows, np.zeros(places - old, FLOW)])
        self._next_ns = np.concatenate([self._next_ns, np.full(places - old, NEVER)])
        free = np.zeros(places + 1, np.int64)
        height = int(self._free[0])
        free[1 : height + 1] = self._free[1 : height + 1]
        free[height + 1 : height + 1 + places - old] = np.arange(places - 1, old - 1, -1)
        free[0] = height + places - old
        self._free = free

    def _inject(self, event: Injection) -> None:
        """Put the flows of an event into the table; the first one is what the truth counts."""
        if self._free[0] < len(event.flows):
            self._grow(2 * len(self._flows))
        self._truth.began(event)
        event.flows["injected"][0] = self._truth.events
        for flow in event.flows:
            place = self._free[self._free[0]]
            self._free[0] -= 1
            self._flows[place] = flow
            self._next_ns[place] = flow["round_start_ns"]

    def _slot(self, start_ns: int, end_ns: int) -> PacketBatch:
        """Return the packets of a slot of time, in order."""
        place, filled, ends = 0, 0, 0
        answers = (self.options.scan_answered_share, OPEN_SHARE)
        ports = np.array(SCAN_PORTS)
        while True:
            place, filled, ends = send(
                self._flows,
                self._next_ns,
                self._free,
                place,
                end_ns,
                self._tables[0],
                self._seed,
                ports,
                answers,
                self._packets,
                filled,
                self._ended,
                ends,
            )
            self._truth.ended(self._ended[:ends])
            ends = 0
            if place == len(self._flows):
                break
            if filled == len(self._packets):
                self._packets = np.concatenate([self._packets, np.zeros(filled, PACKET)])
        order = np.empty(filled, np.int32)
        counts = np.empty(len(self._packets) + 1, np.int32)
        width_ns = max(1, -(-self._slot_ns // len(self._packets)))
        bucket_order(self._packets, filled, start_ns, width_ns, counts, order)
        batch = PacketBatch.empty(filled)
        to_columns(self._packets, order, EPOCH_NS, *(getattr(batch, name) for name in COLUMNS))
        return batch
