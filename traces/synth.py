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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .injections import SCAN_PORTS, Injection, events, rates
from .packets import COLUMNS, PacketBatch
from .synth_kernels import FLOW, NEVER, PACKET, arrive, bucket_order, send, to_columns
from .synth_model import PROFILES
from .synth_options import SynthOptions
from .synth_truth import Truth

__all__ = ["EPOCH_NS", "SynthOptions", "Synthesizer"]

EPOCH_NS = 1_521_118_800 * 10**9
"""When every synthetic trace begins: 2018-03-15 13:00:00 UTC."""
WARM_UP = ((-600 * 10**9, 0.02), (-60 * 10**9, 0.25), (-15 * 10**9, 1.0))
"""From when before the trace which share of the connections, the longest, may still be under way."""
SLOT_PACKETS = 50_000
OPEN_SHARE = 0.2
"""Share of the answers to a scan that are SYN-ACKs; the others are resets."""


class Synthesizer:
    """The packets of synthetic traffic: iterate once; a batch is valid until the next is taken."""

    def __init__(self, options: SynthOptions | None = None) -> None:
        self.options = options or SynthOptions()
        profile = PROFILES[self.options.name]
        self._tables = profile.tables(self.options.packets_per_s)
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
        flows_per_ns = self.options.packets_per_s / profile.mean_packets(self.options.packets_per_s) / 1e9
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
        pending = [iter(events(rate, self.options.seed)) for rate in rates(self.options)]
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
        clock = np.array([0, 1], np.int64)
        for (begin_ns, share), (end_ns, _) in zip(WARM_UP, (*WARM_UP[1:], (0, 0.0)), strict=True):
            clock[0] = begin_ns
            self._arrive(clock, end_ns - 1, share)

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
