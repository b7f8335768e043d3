"""The feed of a replay: packets with their routes, keys and exact streams, cut at the ends of epochs.

It runs in a thread of its own beside the tasks, and what it reads comes from another one: three steps of nearly equal
length, so that two cores always have something to do.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..traces.ahead import BUFFERS as BUFFERS_AHEAD
from ..traces.ahead import ahead
from ..traces.keys import FlowHash
from ..traces.packets import PacketBatch
from ..traces.silences import Silences
from ..traces.sites import Sites
from . import route_kernels
from .crossings import Routed
from .identity import Identities
from .notices import Notices
from .routes import Drops, Routes
from .streams import Streams
from .taken import Taken
from .task_replay import EpochEnd, Prepared

READ_AHEAD = 1
"""Batches that are read before the feed asks for them."""
BUFFERS = READ_AHEAD + 2 + BUFFERS_AHEAD + 2
"""Batches in use at a time: those of the two threads, the one in the selectors, and that in the tables."""
BATCH_PACKETS = 1 << 17
"""Packets of a batch: what a batch costs by itself, in threads that wait for each other, is then a tenth of it all."""
DROP_SALT = 0x6C62272E07BB0142
FIRST_STREAMS = 1 << 16
FOLLOWED = "five-tuple"
"""The kind of flow whose packets all take one path."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Which columns the tasks want, so that no others are computed."""

    keys: tuple[str, ...]
    reverse_keys: tuple[str, ...]
    items: tuple[str, ...]


class Feed:
    """Turns batches of a trace into what the tasks take, and epochs' ends; counts what it leaves out."""

    def __init__(
        self,
        batches: Iterable[PacketBatch],
        routes: Routes,
        sites: Sites,
        drops: Drops | None,
        needs: Needs,
        epoch_s: float,
        speed: float,
        seed: int,
        flow_hash: FlowHash,
        stop: threading.Event,
        epoch_start_ns: int | None = None,
        taken: Taken | None = None,
        identifies: bool = False,
    ) -> None:
        """Take what the packets are turned with; `identifies` hands on who sent each stream with an epoch's end."""
        self.batches, self.routes, self.sites, self.drops, self.needs = batches, routes, sites, drops, needs
        self.taken, self.flow_hash = taken, flow_hash
        self.epoch_ns = round(epoch_s * 1e9)
        self.speed = speed
        self.seed = np.uint64(seed ^ DROP_SALT)
        self.notices = Notices()
        self.silences = Silences()
        self.unrouted = np.zeros(2, np.int64)
        self.packets = self.bytes = self.dropped = 0
        self.first_ns = self.last_ns = self._start_ns = 0
        self.error: TraceError | None = None
        self.stop = stop
        self.stopped = False
        """Whether `stop` ended the trace early."""
        self.epoch_start_ns = epoch_start_ns
        """When epoch 0 begins, None for the first packet; packets before it count to it."""
        self._epoch = 0
        self._zeros = np.empty(0, np.uint64)
        self._streams: dict[str, Streams] = {}
        self._streams = self._new_streams()
        self.identifies = identifies
        self._identities = self._new_identities()

    def __iter__(self) -> Iterator[Prepared | EpochEnd]:
        try:
            with closing(ahead(self._lasting(), READ_AHEAD)) as batches:
                for batch in batches:
                    if len(batch):
                        yield from self._take(batch)
                    if self.stop.is_set():
                        break
            self.stopped = self.stop.is_set()
        except TraceError as error:
            self.error = error
        if self.packets:
            yield from self._end_epoch()

    def _lasting(self) -> Iterator[PacketBatch]:
        """Give batches that stay as they are while the threads use them, where the source reuses its buffer sooner."""
        reused = getattr(self.batches, "buffers", 1) < BUFFERS
        for batch in self.batches:
            yield batch.copy() if reused else batch

    def _take(self, batch: PacketBatch) -> Iterator[Prepared | EpochEnd]:
        self.silences.see(batch.time_ns)
        if not self.packets:
            self.first_ns = int(batch.time_ns[0])
            self._start_ns = self.first_ns if self.epoch_start_ns is None else self.epoch_start_ns
            self._epoch = max(self.first_ns - self._start_ns, 0) // self.epoch_ns
        if self.speed != 1.0:
            batch.time_ns[:] = self.first_ns + ((batch.time_ns - self.first_ns) / self.speed).astype(np.int64)
        begin = 0
        while begin < len(batch):
            epoch = max(int(batch.time_ns[begin]) - self._start_ns, 0) // self.epoch_ns
            if epoch > self._epoch:
                yield from self._end_epoch()
                self._epoch = epoch
                start_ns = self._start_ns + epoch * self.epoch_ns
                yield replace(self._prepare(PacketBatch.empty(0), start_ns), begins_ns=start_ns)
            end = int(np.searchsorted(batch.time_ns, self._start_ns + (epoch + 1) * self.epoch_ns))
            yield self._prepare(batch[begin:end])
            begin = end

    def _end_epoch(self) -> Iterator[Prepared | EpochEnd]:
        start_ns = self._start_ns + self._epoch * self.epoch_ns
        end_ns = start_ns + self.epoch_ns
        yield self._prepare(PacketBatch.empty(0), end_ns)
        streams, self._streams = self._streams, self._new_streams()
        identity = {kind: some.joined() for kind, some in self._identities.items()}
        self._identities = self._new_identities()
        yield EpochEnd(self._epoch, start_ns, end_ns, streams, identity)

    def _new_identities(self) -> dict[str, Identities]:
        return {kind: Identities() for kind in self.needs.keys} if self.identifies else {}

    def _new_streams(self) -> dict[str, Streams]:
        """Make room for as many streams as the last epoch had."""
        return {
            kind: Streams(max(len(self._streams.get(kind, ())), FIRST_STREAMS), finds_flows=kind == FOLLOWED)
            for kind in self.needs.keys
        }

    def _prepare(self, batch: PacketBatch, end_ns: int | None = None) -> Prepared:
        serial = self.packets
        self.packets += len(batch)
        self.bytes += int(batch.ip_bytes.sum(dtype=np.int64))
        if len(batch):
            self.last_ns = int(batch.time_ns[-1])
        end_ns = self.last_ns + 1 if end_ns is None else end_ns
        keys_of = self.flow_hash.keys
        key = {kind: keys_of(batch, kind) for kind in self.needs.keys}
        route, row = self._route(batch, key[FOLLOWED], serial)
        routed = Routed(batch.time_ns, batch.ip_bytes, route, serial)
        reverse_key = {
            kind: keys_of(batch, kind, reverse=True) if kind in self.needs.reverse_keys else self._no_keys(len(batch))
            for kind in self.needs.keys
        }
        row |= {
            kind: streams.add(key[kind], route, batch.ip_bytes)
            for kind, streams in self._streams.items()
            if kind not in row
        }
        for kind, identities in self._identities.items():
            identities.add(batch, row[kind])
        notices, path = self.notices.due(end_ns)
        return Prepared(
            batch,
            routed,
            key,
            reverse_key,
            {kind: keys_of(batch, kind) for kind in self.needs.items},
            row,
            dict(self._streams),
            notices,
            {kind: keys_of(notices, kind) for kind in self.needs.keys},
            path,
            end_ns,
        )

    def _no_keys(self, count: int) -> NDArray[np.uint64]:
        """Return zeros, the same ones as before where they are enough: nobody writes to them."""
        if count > len(self._zeros):
            self._zeros = np.zeros(count, np.uint64)
        return self._zeros[:count]

    def _route(
        self, batch: PacketBatch, key: NDArray[np.uint64], serial: int
    ) -> tuple[NDArray[np.int32], dict[str, NDArray[np.int32]]]:
        """Find each packet's route, and drop packets on the way; returns the rows of the streams counted so far."""
        d = self.drops
        settled = d is None and self.taken is None
        route, row, unrouted = self._streams[FOLLOWED].follow(key, batch, self.sites, self.routes, settled)
        self.unrouted += unrouted
        if settled:
            return route, {FOLLOWED: row}
        if self.taken is not None:
            self.taken.put(key, route)
        if d is not None and len(batch):
            path = route.astype(np.int64)
            noticed_ns = np.empty(len(batch), np.int64)
            self.dropped += route_kernels.drop(
                route, serial, self.seed, d.hop_start, d.hop_chance, d.cut, d.round_trip_ns, batch.time_ns, noticed_ns
            )
            self.notices.add(batch, path, noticed_ns)
        return route, {}


def needs_of(kinds: Sequence[tuple[str, bool, str | None]]) -> Needs:
    """Work out what to compute for tasks of (key kind, has reverse tags, kind of the items counted)."""
    keys = dict.fromkeys((FOLLOWED, *(kind for kind, _, _ in kinds)))
    reverse = dict.fromkeys(kind for kind, wanted, _ in kinds if wanted)
    items = dict.fromkeys(item for _, _, item in kinds if item)
    return Needs(tuple(keys), tuple(reverse), tuple(items))
