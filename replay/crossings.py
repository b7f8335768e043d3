"""Crossings: for each monitor of a task, the packets and messages that reach it, in order.

Trace order is the order at every device: a packet is at all devices of its route at its time in the trace. Latency
counts for messages, and for the notice of a drop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..monitors.table import Crossings
from ..monitors.table_kernels import HINT, SELECT
from ..selectors.selection import Selection
from . import crossing_kernels as ck
from .channels import Channels

MIX = 0x9E3779B97F4A7C15


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
        keys: NDArray[np.uint64],
    ) -> None:
        """Send the explicit messages of new selections, and the hints that go with their tags.

        `routes` is the route on which each selection was made, `keys` the keys of all selected flows.
        """
        made = np.array([(s.flow, s.where, s.time_ns) for s in selections], np.int64)
        for targets, kind in ((channels.beside, SELECT), (channels.crossed, HINT)):
            which, monitor = targets.expand(routes)
            flow, where, time_ns = made[which].T
            # not before what caused it, where the monitor is on the selector's device
            at = np.maximum(time_ns + delay_ns + channels.latency_ns[where, monitor], time_ns + 1)
            kinds, spans = np.full(len(at), kind, np.uint64), channels.span[routes[which]]
            rows = (at.astype(np.uint64), monitor.astype(np.uint64), keys[flow], kinds, spans.astype(np.uint64))
            self.waiting = np.concatenate([self.waiting, np.stack(rows, axis=1)])

    def due(self, end_ns: int) -> NDArray[np.uint64]:
        """Take the messages that take effect before a time, in order of time (then selections before hints)."""
        now = self.waiting[:, 0] < np.uint64(end_ns)
        taken = self.waiting[now]
        self.waiting = self.waiting[~now]
        return taken[np.lexsort((taken[:, 3] == HINT, taken[:, 0]))]


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
) -> Callable[[int], Crossings]:
    """Work out what crosses the monitors of a task, for one detection delay (bit `delay` of the masks).

    Returns a function that makes the crossings of one monitor, by its number.
    """
    bit = np.uint8(1 << delay)
    message_ns, monitor = messages[:, 0].astype(np.int64), messages[:, 1].astype(np.int32)
    message_key, message_kind = np.ascontiguousarray(messages[:, 2]), messages[:, 3].astype(np.uint8)
    message_span = messages[:, 4].astype(np.uint8)
    crossed, back = channels.crossed, channels.reverse_reached
    counts = np.zeros(len(channels.monitors), np.int64)
    ck.count(routed.route, reverse, bit, crossed.start, crossed.items, back.start, back.items, monitor, counts)
    ends = np.cumsum(counts)
    origin = np.empty(ends[-1], np.uint32)
    ck.order(
        routed.route, routed.time_ns, forward, reverse, bit,
        crossed.start, crossed.items, channels.reached.items, back.start, back.items,
        message_ns, monitor, ends - counts, origin,
    )  # fmt: skip

    def gather(number: int) -> Crossings:
        begin, end = ends[number] - counts[number], ends[number]
        n = int(counts[number])
        made = Crossings(
            np.empty(n, np.uint64), np.empty(n, np.uint8), np.empty(n, np.uint32), np.empty(n, np.int64),
            np.empty(n, np.uint32), np.empty(n, np.uint8), np.empty(n if len(item) else 0, np.uint64),
        )  # fmt: skip
        ck.gather(
            origin[begin:end], key, reverse_key, routed.ip_bytes, routed.time_ns, item,
            routed.route, channels.span, channels.reverse_span,
            message_key, message_kind, message_span, message_ns,
            routed.serial, np.uint64((seed * MIX + number) % 2**64),
            made.key, made.kind, made.ip_bytes, made.time_ns, made.luck, made.span, made.item,
        )  # fmt: skip
        return made

    return gather
