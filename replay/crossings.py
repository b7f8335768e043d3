"""Crossings: for each monitor of a task, the packets and messages that reach it, in order.

Trace order is the order at every device: a packet is at all devices of its route at its time in the trace. Latency
counts for messages, and for the notice of a drop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..monitors.table import Crossings
from ..monitors.table_kernels import HINT, SELECT
from ..selectors.selection import NewSelections, Selection
from ..topologies.lists import starts
from . import crossing_kernels as ck
from .channels import Channels

MIX = 0x9E3779B97F4A7C15
MOST_TABLE = 1 << 26
"""Largest table of (monitor, route), in bytes; where it would be larger, packets are dealt to their monitors."""


@dataclass(frozen=True, slots=True)
class Routed:
    """A batch on its way through the network: what the tasks need of it, as columns."""

    time_ns: NDArray[np.int64]
    ip_bytes: NDArray[np.uint32]
    route: NDArray[np.int32]
    """Route of each packet (routes.py)."""
    serial: int
    """Number of the first packet in the trace; what the sampling draws from."""


class Messages:
    """Messages on their way: (time of effect, monitor, key, kind, span), for one task and one detection delay."""

    def __init__(self) -> None:
        self.waiting = np.zeros((0, 5), np.uint64)

    def send(
        self,
        selections: Sequence[Selection],
        routes: NDArray[np.integer],
        channels: Channels,
        delay_ns: int,
        hold_ns: int,
        keys: NDArray[np.uint64],
    ) -> None:
        """Send the explicit messages of new selections, and the hints that go with their tags.

        `routes` is the route on which each selection was made, `keys` the keys of all selected flows. A selection whose
        hints would not all be there within its hold has none: some monitors would count from packets that no tag tells
        the others of.
        """
        made = NewSelections.of(selections)
        for targets, kind in ((channels.beside, SELECT), (channels.crossed, HINT)):
            which, monitor = targets.expand(routes)
            flow, where, time_ns = made.flow[which], made.where[which], made.time_ns[which]
            at = arrival_ns(time_ns + delay_ns, time_ns, channels.latency_ns[where, monitor])
            last = np.zeros(len(made), np.int64)
            np.maximum.at(last, which, at)
            sent = (last[which] <= time_ns + hold_ns) | (kind != HINT)
            self._put(at[sent], monitor[sent], keys[flow[sent]], kind, channels.span[routes[which[sent]]])

    def begin_epoch(
        self,
        start_ns: int,
        selections: NDArray[np.int64],
        routes: NDArray[np.integer],
        channels: Channels,
        delay_ns: int,
        keys: NDArray[np.uint64],
    ) -> None:
        """Tell the monitors beside the paths again what they forgot with the last epoch: selections still in force.

        A message that arrived before the epoch is forgotten too, also one that came while no epoch was open because
        there were no packets. `selections` are (flow, device, time), shape (selections, 3); the rest is as for `send`.
        """
        self.waiting = self.waiting[self.waiting[:, 0] >= np.uint64(start_ns)]
        which, monitor = channels.beside.expand(routes)
        flow, where, time_ns = selections[which].T
        latency_ns = channels.latency_ns[where, monitor]
        forgotten = arrival_ns(time_ns + delay_ns, time_ns, latency_ns) < start_ns
        spans = channels.span[routes[which]]
        self._put(start_ns + latency_ns[forgotten], monitor[forgotten], keys[flow[forgotten]], SELECT, spans[forgotten])

    def _put(
        self,
        at_ns: NDArray[np.int64],
        monitor: NDArray[np.int64],
        key: NDArray[np.uint64],
        kind: int,
        span: NDArray[np.uint8],
    ) -> None:
        kinds = np.full(len(at_ns), kind, np.uint64)
        columns = (at_ns.astype(np.uint64), monitor.astype(np.uint64), key, kinds, span.astype(np.uint64))
        self.waiting = np.concatenate([self.waiting, np.stack(columns, axis=1)])

    def due(self, end_ns: int) -> NDArray[np.uint64]:
        """Take the messages that take effect before a time, in order of time (then selections before hints)."""
        now = self.waiting[:, 0] < np.uint64(end_ns)
        taken = self.waiting[now]
        self.waiting = self.waiting[~now]
        return taken[np.lexsort((taken[:, 3] == HINT, taken[:, 0]))]


def arrival_ns(
    sent_ns: NDArray[np.int64], caused_ns: NDArray[np.int64], latency_ns: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return when messages take effect: after what caused them, also where the monitor is on the selector's device."""
    return np.maximum(sent_ns + latency_ns, caused_ns + 1)


@dataclass(frozen=True, slots=True)
class Told:
    """What monitors are told beside the packets that cross them: reverse tags and messages, as columns.

    Those of monitor m are the rows `start[m]` to `start[m + 1]`, in order.
    """

    start: NDArray[np.int64]
    before: NDArray[np.int64]
    """Number of the packet of the batch before which it takes effect."""
    key: NDArray[np.uint64]
    kind: NDArray[np.uint8]
    time_ns: NDArray[np.int64]
    span: NDArray[np.uint8]

    @classmethod
    def of(
        cls,
        routed: Routed,
        channels: Channels,
        reverse_key: NDArray[np.uint64],
        reverse: NDArray[np.uint8],
        messages: NDArray[np.uint64],
    ) -> Told:
        """Put in order what the packets with a reverse tag (`reverse` is not 0) and the messages tell.

        A reverse tag takes effect behind its packet, a message before the first packet that is not earlier.
        """
        packet = np.flatnonzero(reverse)
        which, tagged = channels.reverse_reached.expand(routed.route[packet])
        packet = packet[which]
        message_ns = messages[:, 0].astype(np.int64)
        monitor = np.concatenate([tagged, messages[:, 1].astype(np.int64)])
        before = np.concatenate([packet + 1, np.searchsorted(routed.time_ns, message_ns)])
        order = np.lexsort((before, monitor))
        return cls(
            np.searchsorted(monitor[order], np.arange(len(channels.monitors) + 1)),
            before[order],
            np.concatenate([reverse_key[packet], messages[:, 2]])[order],
            np.concatenate([np.full(len(packet), SELECT), messages[:, 3]]).astype(np.uint8)[order],
            np.concatenate([routed.time_ns[packet], message_ns])[order],
            np.concatenate([channels.reverse_span[routed.route[packet]], messages[:, 4]]).astype(np.uint8)[order],
        )

    def of_monitor(self, number: int) -> Told:
        """Return what one monitor is told."""
        some = slice(self.start[number], self.start[number + 1])
        return Told(self.start, self.before[some], self.key[some], self.kind[some], self.time_ns[some], self.span[some])


class Room:
    """Room for the crossings of one monitor at a time: what stands in it is valid until the next ones come."""

    def __init__(self) -> None:
        self._give(1)

    def _give(self, size: int) -> None:
        self.origin = np.empty(size, np.uint32)
        self.columns = Crossings(
            np.empty(size, np.uint64), np.empty(size, np.uint8), np.empty(size, np.uint32), np.empty(size, np.int64),
            np.empty(size, np.uint32), np.empty(size, np.uint8), np.empty(0, np.uint64),
        )  # fmt: skip

    def reserve(self, size: int) -> None:
        """See that there is room for so many crossings, and one more that is written and not counted."""
        if size >= len(self.origin):
            self._give(size + 1)

    def taken(self, count: int, item: NDArray[np.uint64]) -> Crossings:
        """Return the first crossings, with the items of the packets that they come from."""
        c = self.columns
        items = item[self.origin[:count]] if len(item) else item
        return Crossings(
            c.key[:count], c.kind[:count], c.ip_bytes[:count], c.time_ns[:count], c.luck[:count], c.span[:count], items
        )


Crossing = Callable[[int, Room, Told], int]
"""Writes what crosses a monitor into a room; returns how much."""


def crossings(
    routed: Routed,
    channels: Channels,
    key: NDArray[np.uint64],
    reverse_key: NDArray[np.uint64],
    item: NDArray[np.uint64],
    forward: NDArray[np.uint8],
    reverse: NDArray[np.uint8],
    delay: int,
    messages: NDArray[np.uint64],
    seed: int,
) -> Callable[[int, Room], Crossings]:
    """Work out what crosses the monitors of a task, for one detection delay (bit `delay` of the masks).

    Returns a function that makes the crossings of one monitor, by its number, in some room. `item` may be empty.
    """
    every_told = Told.of(routed, channels, reverse_key, reverse & np.uint8(1 << delay), messages)
    if len(channels.monitors) * len(channels.where) > MOST_TABLE:
        crossing = _from_dealt(routed, channels, key, forward, delay, seed)
    else:
        crossing = _from_tables(routed, channels, key, forward, delay, seed)

    def gather(number: int, room: Room) -> Crossings:
        told = every_told.of_monitor(number)
        room.reserve(len(routed.route) + len(told.key))
        return room.taken(crossing(number, room, told), item)

    return gather


def _from_tables(
    routed: Routed, channels: Channels, key: NDArray[np.uint64], forward: NDArray[np.uint8], delay: int, seed: int
) -> Crossing:
    """Find each monitor's packets by looking at all of them: the fastest way for few monitors."""
    crosses, reached = tables_of(channels)

    def cross(number: int, room: Room, told: Told) -> int:
        c = room.columns
        count: int = ck.cross(
            routed.route, key, routed.ip_bytes, routed.time_ns, forward, delay, routed.serial,
            _own_seed(seed, number), crosses[number], reached[number], channels.span,
            told.before, told.key, told.kind, told.time_ns, told.span,
            room.origin, np.empty(len(told.key), np.int64), c.key, c.kind, c.ip_bytes, c.time_ns, c.luck, c.span,
        )  # fmt: skip
        return count

    return cross


def _from_dealt(
    routed: Routed, channels: Channels, key: NDArray[np.uint64], forward: NDArray[np.uint8], delay: int, seed: int
) -> Crossing:
    """Deal each packet to the monitors that it crosses, once: for many monitors, each crossed by few packets."""
    lists = channels.crossed
    counts = np.zeros(len(channels.monitors), np.int64)
    ck.count_dealt(routed.route, lists.start, lists.items, counts)
    begin = starts(counts)
    packet, reached = np.empty(begin[-1], np.uint32), np.empty(begin[-1], np.uint8)
    ck.deal(routed.route, lists.start, lists.items, channels.reached.items, begin[:-1].copy(), packet, reached)

    def cross(number: int, room: Room, told: Told) -> int:
        c, mine = room.columns, slice(begin[number], begin[number + 1])
        count: int = ck.cross_dealt(
            packet[mine], reached[mine], routed.route, key, routed.ip_bytes, routed.time_ns, forward, delay,
            routed.serial, _own_seed(seed, number), channels.span,
            told.before, told.key, told.kind, told.time_ns, told.span,
            room.origin, np.empty(counts[number] + len(told.key), np.uint8), np.empty(len(told.key), np.int64),
            c.key, c.kind, c.ip_bytes, c.time_ns, c.luck, c.span,
        )  # fmt: skip
        return count

    return cross


def _own_seed(seed: int, monitor: int) -> np.uint64:
    return np.uint64((seed * MIX + monitor) % 2**64)


_tables: WeakKeyDictionary[Channels, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = WeakKeyDictionary()


def tables_of(channels: Channels) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return for each (monitor, route) whether packets cross the monitor, and whether tags reach it: 1 or 0."""
    if channels not in _tables:
        lists = channels.crossed
        route, monitor = lists.expand(np.arange(len(lists.start) - 1))
        crosses, reached = (np.zeros((len(channels.monitors), len(lists.start) - 1), np.uint8) for _ in range(2))
        crosses[monitor, route] = 1
        reached[monitor, route] = channels.reached.items
        _tables[channels] = crosses, reached
    return _tables[channels]
