"""One monitor on a device: which packets and messages cross it, taken into its table (monitors/table.py).

A packet of a watched pair crosses as itself, tagged where it carries the task's code and the monitor stands behind the
selector. A tag on a packet of the opposite direction selects the flow that it answers. A message takes effect when it
arrives here. Sampling draws from a hash of the run's seed and
secret, the device, the task and the number of the packet at the device: no sender can foretell what is sampled.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bus.config import DeviceConfig, MonitorConfig
from ..errors import BusError
from ..monitors.measures import MEASURES
from ..monitors.modes import MODES
from ..monitors.records import Records
from ..monitors.table import Crossings, Table
from ..monitors.table_kernels import HINT, SELECT
from ..traces.keys import KEY_KINDS
from . import pair_kernels as pk
from .pairs import Pairs
from .parameters import parameters_of

COUNTERS = ("refused_samples", "selected_collisions", "evictions", "moves", "selected_flows")
"""What a table counts, in the order of monitors/table_kernels.py."""
MESSAGE_KINDS = {"select": SELECT, "hint": HINT}


class Monitoring:
    """The monitor of one task on one device."""

    def __init__(self, config: MonitorConfig, device: DeviceConfig, pairs: Pairs) -> None:
        """Make an empty table; raises BusError for what the configuration names and does not exist."""
        for name, known, what in (
            (device.mode, MODES, "mode"), (config.measure, MEASURES, "measure"), (config.key, KEY_KINDS, "key")
        ):  # fmt: skip
            if name not in known:
                raise BusError(f"task {config.task} at {device.device}: no {what} {name!r}; see {', '.join(known)}")
        mode = MODES[device.mode]
        kind = MEASURES[config.measure]
        measure = kind(**parameters_of(config.task, config.measure, kind.parameters, config.parameters))
        self.counts = measure.counts
        self.table = Table(
            mode, config.memory_entries, mode.probability(device.probability), measure,
            device.preserve_bytes, device.early_removal_bytes,
        )  # fmt: skip
        own = f"{device.seed}/{device.flow_secret}/{device.device}/{config.task}".encode()
        self.seed = np.uint64(int.from_bytes(hashlib.blake2b(own, digest_size=8).digest(), "little"))
        self._messages: list[tuple[int, int, int, int]] = []
        self._room = 0
        self.route(config, pairs)

    def route(self, config: MonitorConfig, pairs: Pairs) -> None:
        """Take the pairs and the code of a configuration that is otherwise the one that we have."""
        self.config = config
        self._does = pairs.mark(config.watches, pk.WATCHED)
        pairs.mark(config.heeds_tag, pk.HEEDS_TAG, self._does)
        pairs.mark(config.heeds_reverse_tag, pk.HEEDS_REVERSE_TAG, self._does)
        self._span = pairs.values(config.span)
        self._reverse_span = pairs.reversed(self._span)
        self._value = 0 if config.code is None else config.code.value
        self._mask = 0 if config.code is None else config.code.mask

    @property
    def wants_reverse_keys(self) -> bool:
        """Whether reverse tags concern it."""
        return bool(self.config.heeds_reverse_tag)

    @property
    def memory_bytes(self) -> int:
        """Size of its table."""
        table = self.table
        measured = table.measure.row_bytes * len(table.fp)
        return int(table.fp.nbytes + table.rank.nbytes + table.stats.nbytes + measured)

    def tell(self, key: int, kind: str, span: int, arrived_ns: int) -> None:
        """Take a message about a flow, which is in effect from its arrival on."""
        self._messages.append((arrived_ns, MESSAGE_KINDS[kind], key, min(max(span, 0), 255)))

    def take(
        self,
        packets: Any,
        pair: NDArray[np.int32],
        key: NDArray[np.uint64],
        reverse_key: NDArray[np.uint64],
        item: NDArray[np.uint64],
        serial: int,
        until_ns: int,
    ) -> None:
        """Take packets, the first of which is number `serial` at the device, and the messages before `until_ns`."""
        due = sorted(m for m in self._messages if m[0] < until_ns)
        self._messages = [m for m in self._messages if m[0] >= until_ns]
        crossings = self._crossings(packets, pair, key, reverse_key, item, serial, until_ns, due)
        if len(crossings):
            self.table.observe(crossings)

    def _crossings(
        self,
        packets: Any,
        pair: NDArray[np.int32],
        key: NDArray[np.uint64],
        reverse_key: NDArray[np.uint64],
        item: NDArray[np.uint64],
        serial: int,
        until_ns: int,
        messages: list[tuple[int, int, int, int]],
    ) -> Crossings:
        made = self._make_room(2 * len(key) + len(messages))
        columns = list(zip(*messages, strict=True)) or [(), (), (), ()]
        n = pk.cross(
            key, reverse_key, item, packets.ip_bytes, packets.time_ns, packets.dscp, pair,
            self._does, self._span, self._reverse_span, self._value, self._mask,
            np.array(columns[0], np.int64), np.array(columns[2], np.uint64), np.array(columns[1], np.uint8),
            np.array(columns[3], np.uint8), until_ns, serial, self.seed,
            made.key, made.kind, made.ip_bytes, made.time_ns, made.luck, made.span, made.item,
        )  # fmt: skip
        cut = {name: getattr(made, name)[:n] for name in ("key", "kind", "ip_bytes", "time_ns", "luck", "span", "item")}
        return replace(made, **cut)

    def _make_room(self, rows: int) -> Crossings:
        """Return columns for so many crossings: the same ones as before, where they are large enough."""
        if rows > self._room or self._room == 0:
            self._room = max(rows, 2 * self._room, 1024)
            n = self._room
            self._columns = Crossings(
                np.empty(n, np.uint64), np.empty(n, np.uint8), np.empty(n, np.uint32), np.empty(n, np.int64),
                np.empty(n, np.uint32), np.empty(n, np.uint8), np.zeros(n if self.counts else 0, np.uint64),
            )  # fmt: skip
        return self._columns

    def records(self) -> Records:
        """Return the records of the epoch so far."""
        return self.table.records()

    def summary(self) -> dict[str, Any]:
        """Return what a report's header says of it."""
        counters = {name: int(value) for name, value in zip(COUNTERS, self.table.counters, strict=False)}
        return {"counters": counters, "probability": self.table.probability, "cpu_percent": self.config.cpu_percent}

    def start_epoch(self) -> None:
        """Start anew."""
        self.table.start_epoch()
