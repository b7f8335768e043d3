"""What a selector is: an event detector with bounded state for each flow. One small contract a plug-in.

A selector sees the packets that cross its device, in order, and says of each whether the event is now true for the
packet's flow; `selection.py` makes selections of that, with their hold and delay. To add one: name the event and its
parameters, allocate state for a number of rows, and write `detect`, where `row[i]` is the state row of packet i's
flow and `fresh[i]` says that the row is new to the flow (start it anew). Where the event is true, `detect` also says
what was measured (`value[i]`), in the unit of the threshold. Then add the class to `events.EVENTS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..fields import Field
from ..traces.keys import KEY_KINDS, FlowHash
from ..traces.memory import zeroed
from ..traces.packets import PacketBatch
from . import state_kernels


@dataclass(frozen=True, slots=True)
class Sightings:
    """What the selectors of one task see, in order; all columns have the length of the batch."""

    packets: PacketBatch
    key: NDArray[np.uint64]
    """Flow key of each packet (traces/keys.py)."""
    where: NDArray[np.int32]
    """Number of the device whose selector the packet crosses, or -1 where it crosses none."""
    lost: NDArray[np.bool_]
    """The row is no packet but the sender's notice that this packet was dropped, at the time of the notice."""
    flow_hash: FlowHash
    """What made the keys: for keys of other kinds, so that all that a selector remembers is under the run's secret."""


class Selector:
    """What a plug-in implements, and the state table that all of them share.

    State is bounded: `memory_entries` flows a device, eight to a bucket (rounded down to whole buckets); where a
    bucket is full the flow seen least recently is forgotten, and `evicted` counts it.
    """

    event = ""
    default_key = "five-tuple"
    keys: tuple[str, ...] = KEY_KINDS
    """The flow keys that the event has a meaning for."""
    parameters: ClassVar[Mapping[str, Field]] = {}
    measured: ClassVar[tuple[str, str]] = ("", "")
    """What the selector measures of a flow, and its unit (empty for a share)."""
    needs_times = False
    """Whether the event is a rate: it is true of no flow of a trace whose packets have no time."""
    state_words = 1
    """64-bit words of `state` for each row: the first is when the flow was last seen, others are the plug-in's own."""

    def __init__(self, devices: int, memory_entries: int, **parameters: Any) -> None:
        """Make the selectors of a task on a number of devices, with the values of `parameters`."""
        for name, field in self.parameters.items():
            setattr(self, name, parameters.pop(name, field.default))
        if parameters:
            raise TypeError(f"selector {self.event} has no parameter {', '.join(parameters)}")
        ways = min(memory_entries, state_kernels.WAYS)
        self.ways = ways
        self.buckets = memory_entries // ways
        rows = devices * self.buckets * ways
        self.fp = zeroed(rows, np.uint64)
        self.state = zeroed(rows * self.state_words, np.int64).reshape(rows, self.state_words)
        self.counters = np.zeros(1, np.int64)
        self.allocate(rows)

    @property
    def evicted(self) -> int:
        """Number of times that a flow's state was given up for want of memory."""
        return int(self.counters[0])

    def events(self, seen: Sightings, value: NDArray[np.float64] | None = None) -> NDArray[np.bool_]:
        """Return for each sighting whether the event is now true for its flow; there, set what was measured in `value`.

        Elsewhere `value` stays as it was.
        """
        n = len(seen.key)
        row, fresh, true = np.empty(n, np.int64), np.zeros(n, np.bool_), np.zeros(n, np.bool_)
        concerned = self.concerns(seen)
        if concerned is not None and not concerned.any():
            return true
        where = seen.where if concerned is None else np.where(concerned, seen.where, np.int32(-1))
        state_kernels.locate(
            seen.key, where, seen.packets.time_ns,
            self.fp, self.state, self.buckets, self.ways, self.counters, row, fresh,
        )  # fmt: skip
        self.detect(seen, row, fresh, true, np.empty(n) if value is None else value)
        return true

    # what a plug-in writes

    def allocate(self, rows: int) -> None:
        """Make state for a number of flows, beside the `state_words`."""
        raise NotImplementedError

    def concerns(self, seen: Sightings) -> NDArray[np.bool_] | None:
        """Return which sightings bear on the event (None: all); others take no state. Default: all but notices."""
        return ~seen.lost

    def detect(
        self,
        seen: Sightings,
        row: NDArray[np.int64],
        fresh: NDArray[np.bool_],
        true: NDArray[np.bool_],
        value: NDArray[np.float64],
    ) -> None:
        """Set `true[i]` and `value[i]` where the event is true at sighting i; -1 in `row` is none of its concern."""
        raise NotImplementedError
