"""What the monitors of a task should have, of each flow that is selected in an epoch: from the exact streams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import stream_kernels as sk
from .channels import Channels
from .routes import Routes
from .streams import After, Streams


@dataclass(frozen=True, slots=True)
class Pairs:
    """(flow, monitor) pairs of one epoch, in order: flow `flow[i]` crossed monitor `monitor[i]` with so much."""

    flow: NDArray[np.int64]
    monitor: NDArray[np.int64]
    packets: NDArray[np.int64]
    bytes: NDArray[np.int64]
    after_packets: NDArray[np.int64]
    """Packets after the selection, while it lasted, shape (pairs, delays)."""
    after_bytes: NDArray[np.int64]
    """Bytes after the selection, also those after its end."""

    def __len__(self) -> int:
        return len(self.flow)


@dataclass(frozen=True, slots=True)
class Losses:
    """Packets of selected flows that a link dropped after the selection, by flow and link, for one delay."""

    flow: NDArray[np.int64]
    link: NDArray[np.int64]
    packets: NDArray[np.int64]


class Selected:
    """The flows of a task that are selected in an epoch, and how to find them by key."""

    def __init__(self, numbers: NDArray[np.int32], keys: NDArray[np.uint64]) -> None:
        """`numbers` are those of the flows, `keys` the keys of all flows by number."""
        order = np.argsort(keys[numbers])
        self.numbers = numbers[order].astype(np.int64)
        self.sorted_keys = keys[numbers][order]
        self.may_be = np.zeros(1 << max(16, (16 * len(numbers)).bit_length()), np.bool_)
        """By the low bits of a key: whether a selected flow has them, which few others do."""
        self.may_be[self.low_bits(self.sorted_keys)] = True

    def low_bits(self, key: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return where keys stand in `may_be`."""
        return (key & np.uint64(len(self.may_be) - 1)).astype(np.int64)

    def find(self, key: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the number of each key's flow, -1 where it is not among them."""
        found = np.full(len(key), -1, np.int64)
        some = np.flatnonzero(self.may_be[self.low_bits(key)])
        if len(some):
            at = np.minimum(np.searchsorted(self.sorted_keys, key[some]), len(self.sorted_keys) - 1)
            found[some] = np.where(self.sorted_keys[at] == key[some], self.numbers[at], -1)
        return found


def pairs_of(streams: Streams, after: After, selected: Selected, channels: Channels) -> Pairs:
    """Add up the streams of the selected flows for each monitor that they crossed."""
    flow, row = selected_rows(streams, selected)
    expand, monitor = channels.crossed.expand(streams.route[row])
    monitors = max(len(channels.monitors), 1)
    pair, inverse = np.unique(flow[expand] * monitors + monitor, return_inverse=True)
    volume = np.zeros((len(pair), 2), np.int64)
    np.add.at(volume, inverse, streams.volume[row][expand])
    later = np.zeros((len(pair), *after.volume.shape[1:]), np.int64)
    known = row < len(after.volume)
    some = known[expand]
    np.add.at(later, inverse[some], after.volume[row[expand[some]]])
    after_packets, after_bytes = later[:, :, sk.SELECTED_PACKETS], later[:, :, sk.PAST_BYTES]
    return Pairs(pair // monitors, pair % monitors, volume[:, 0], volume[:, 1], after_packets, after_bytes)


def selected_rows(streams: Streams, selected: Selected) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (flow number, row) of the streams of selected flows."""
    flow = selected.find(streams.key[: len(streams)])
    row = np.flatnonzero(flow >= 0)
    return flow[row], row


def paths_of(streams: Streams, selected: Selected, routes: Routes, flows: int) -> NDArray[np.int64]:
    """Return the number of the whole path that each selected flow took (the last, where a flow took several)."""
    flow, row = selected_rows(streams, selected)
    path = np.zeros(flows, np.int64)
    path[flow] = routes.path_number[streams.route[row]]
    return path


def losses_of(
    streams: Streams,
    after: After,
    selected: Selected,
    routes: Routes,
    delay: int,
) -> Losses:
    """Return what links dropped of the selected flows after their selection."""
    flow, row = selected_rows(streams, selected)
    route = streams.route[row]
    cut = (route >= routes.whole) & (route != routes.outside) & (row < len(after.volume))
    flow, row = flow[cut], row[cut]
    links = [routes.dropping_link(r) for r in streams.route[row].tolist()]
    packets = after.volume[row, delay, sk.PAST_PACKETS] if len(row) else np.zeros(0, np.int64)
    return Losses(flow, np.array(links, np.int64), packets)
