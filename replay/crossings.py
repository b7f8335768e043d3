"""Crossings: for each monitor of a task, the packets and messages that reach it, in order.

Trace order is the order at every device: a packet is at all devices of its route at its time in the trace. Latency
counts for messages, and for the notice of a drop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..monitors.table import Crossings
from ..monitors.table_kernels import HINT, SELECT
from ..selectors.selection import Selection
from . import crossing_kernels as ck
from .channels import Channels


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
    """Messages on their way: (time of effect, monitor, key, kind), for one task and one detection delay."""

    def __init__(self) -> None:
        self.waiting = np.zeros((0, 4), np.uint64)

    def send(self, selections: list[Selection], routes: NDArray[np.int32], channels: Channels, delay_ns: int,
             keys: NDArray[np.uint64]) -> None:  # fmt: skip
        """Send the explicit messages of new selections, and the hints that go with their tags.

        `routes` is the route on which each selection was made, `keys` the keys of all selected flows.
        """
        rows = []
        for selection, route in zip(selections, routes, strict=True):
            for targets, kind in ((channels.beside[route], SELECT), (channels.crossed[route], HINT)):
                for m in targets:
                    at = selection.time_ns + delay_ns + channels.latency_ns[selection.where, m]
                    rows.append((np.uint64(at), np.uint64(m), keys[selection.flow], np.uint64(kind)))
        if rows:
            self.waiting = np.concatenate([self.waiting, np.array(rows, np.uint64)])

    def due(self, end_ns: int) -> NDArray[np.uint64]:
        """Take the messages that take effect before a time, in order of time."""
        now = self.waiting[:, 0] < np.uint64(end_ns)
        taken = self.waiting[now]
        self.waiting = self.waiting[~now]
        return taken[np.argsort(taken[:, 0], kind="stable")]


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
) -> list[Crossings]:
    """Return what crosses each monitor of a task, for one detection delay (bit `delay` of the masks)."""
    bit = np.uint8(1 << delay)
    monitor = messages[:, 1].astype(np.int32)
    crossed, back = channels.crossed, channels.reverse_reached
    counts = np.zeros(len(channels.monitors), np.int64)
    ck.count(routed.route, reverse, bit, crossed.start, crossed.items, back.start, back.items, monitor, counts)
    ends = np.cumsum(counts)
    place = ends - counts
    total = int(ends[-1])
    key_out, kind_out = np.empty(total, np.uint64), np.empty(total, np.uint8)
    bytes_out, time_out = np.empty(total, np.uint32), np.empty(total, np.int64)
    luck_out, item_out = np.empty(total, np.uint32), np.empty(total if len(item) else 0, np.uint64)
    ck.fill(
        routed.route, key, reverse_key, routed.ip_bytes, routed.time_ns, item, forward, reverse, bit,
        routed.serial, np.uint64(seed), crossed.start, crossed.items, channels.reached.items, back.start, back.items,
        messages[:, 0].astype(np.int64), monitor, messages[:, 2], messages[:, 3].astype(np.uint8),
        place, key_out, kind_out, bytes_out, time_out, luck_out, item_out,
    )  # fmt: skip
    return [
        Crossings(*(column[a:b] for column in (key_out, kind_out, bytes_out, time_out, luck_out)), item_out[a:b])
        for a, b in zip(ends - counts, ends, strict=True)
    ]
