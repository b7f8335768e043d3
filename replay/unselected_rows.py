"""The rows of records that nobody selected: what a monitor has of flows no selection of which lasts in the epoch.

They are rows of the table of flows (`recordsets.FLOWS`) whose columns of the selection are null. A monitor that heeds
tags reports no such record; a replay reads them from its table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..monitors.records import CAPTURES, Records
from ..recordsets import FLOWS
from .channels import Channels
from .flow_rows import Facts, coded, constant, dictionary, figures_of, gathered, identity_columns
from .identity import Identity
from .outcome import Setting
from .streams import After, Streams
from .truth import Pairs, Selected, pairs_of


class UnselectedRows:
    """The rows of one task in one epoch, with the exact streams that tell what is true of them."""

    def __init__(
        self,
        facts: Facts,
        epoch: int,
        selected: Selected,
        streams: Streams,
        identity: Identity,
        channels: Channels,
    ) -> None:
        """Take the flows that are selected, which have no rows here, and the streams with who sent each."""
        self.facts, self.epoch, self.selected, self.channels = facts, epoch, selected, channels
        self.streams, self.identity = streams, identity
        key = streams.key
        self._order = np.argsort(key, kind="stable")
        self._key = key[self._order]

    def table(self, setting: Setting, delay_ms: float, reports: Sequence[Records]) -> Any:
        """Return the rows of one setting and detection delay as an arrow table; `reports` are whole tables."""
        import pyarrow as pa

        mine = [self._unselected(report) for report in reports]
        monitor = np.repeat(np.arange(len(mine)), [len(rows) for rows in mine])
        found = [(rows, rows) for rows in mine]
        records = gathered(found, reports, []).records
        n = len(records)
        nothing = {
            name: pa.nulls(n, FLOWS.arrow_schema().field(name).type)
            for name in ("event", "event_value", "selected_ns", "selector", "selection", "why_not", "pre_event_bytes")
        }
        columns: dict[str, Any] = {
            **nothing,
            "task": constant(self.facts.task, n),
            **identity_columns(self.identity[self._row_of(records.flow)], self.facts.key),
            "mode": constant(setting.mode, n),
            "memory_entries": pa.array(np.full(n, setting.memory_entries, np.int64)),
            "detection_delay_ms": pa.array(np.full(n, delay_ms)),
            "epoch": pa.array(np.full(n, self.epoch, np.int64)),
            "monitor": coded(monitor, self.facts.monitors),
            "captured": pa.array(np.ones(n, np.bool_)),
            "capture_mode": dictionary(pa.array(records.capture.astype(np.int32)), CAPTURES),
            **{name: _known(value, known) for name, (value, known) in figures_of(records).items()},
            **self._truth(records.flow, monitor),
        }
        return pa.Table.from_arrays([columns[name] for name in FLOWS.names], schema=FLOWS.arrow_schema())

    def _unselected(self, report: Records) -> NDArray[np.int64]:
        """Return the numbers of the records with packets of flows that are not selected."""
        return np.flatnonzero((self.selected.find(report.flow) < 0) & (report.packets > 0))

    def _row_of(self, flow: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the first stream of each flow."""
        return self._order[np.searchsorted(self._key, flow)]

    def _truth(self, flow: NDArray[np.uint64], monitor: NDArray[np.int64]) -> dict[str, Any]:
        """Return the columns of what crossed the monitors: packets and bytes."""
        import pyarrow as pa

        keys, number = np.unique(flow, return_inverse=True)
        pairs = self._pairs(keys)
        width = max(len(self.channels.monitors), 1)
        at = np.searchsorted(pairs.flow * width + pairs.monitor, number * width + monitor)
        return {"true_packets": pa.array(pairs.packets[at]), "true_bytes": pa.array(pairs.bytes[at])}

    def _pairs(self, keys: NDArray[np.uint64]) -> Pairs:
        """Return what each of some flows sent across each monitor; flows have the numbers of their keys."""
        return pairs_of(self.streams, After(1), Selected(np.arange(len(keys), dtype=np.int32), keys), self.channels)


def _known(value: NDArray[Any], known: Any) -> Any:
    """Return a column that is null where a value is not known."""
    import pyarrow as pa

    return pa.array(value, mask=~np.broadcast_to(known, len(value)))
