"""The outcome of a task: selected flows captured or not, over all epochs, for each mode and memory size.

A flow is captured when every monitor of the task that its packets crossed has a record of it from an epoch in which
it was selected. Volumes are counted at each monitor crossed, over the epochs in which the flow was selected, for the
flows that can be reached; flows of which no packet crosses a monitor after the selection are `unreachable` and are
counted apart. What a record holds of a flow is an unbroken run of packets up to the last, so its part from before
the selection is what it has more than all that came after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..monitors.records import Records
from .floor import fewest_missed
from .truth import Pairs, Selected

Match = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Numbers of one monitor's records that are of selected flows which crossed it, and the number of the pair of each."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One way of running a task's monitors: a row of the report."""

    mode: str
    memory_entries: int
    probability: float


@dataclass(slots=True)
class Totals:
    """Sums of one setting that concern no single flow."""

    selected_collisions: int = 0
    refused_samples: int = 0
    report_bytes: int = 0
    error_sum: float = 0.0
    errors: int = 0


class Outcome:
    """What became of the selected flows of one task with one detection delay."""

    def __init__(self, settings: Sequence[Setting], monitors: int, delay: int) -> None:
        self.settings = settings
        self.monitors = max(monitors, 1)
        self.delay = delay
        self.selected_flows = 0
        self.pair = np.zeros(0, np.int64)
        self.volume = np.zeros((0, 2), np.int64)
        """Bytes, and bytes from before the selection, of each (flow, monitor) pair."""
        self.after_packets = np.zeros(0, np.int64)
        self.epochs = np.zeros((0, 2), np.int64)
        """First and last epoch of each pair."""
        self.captured = np.zeros((0, len(settings)), np.bool_)
        self.recorded = np.zeros((0, len(settings), 2), np.int64)
        """Bytes recorded, and those of before the selection, of each pair with each setting."""
        self.totals = [Totals() for _ in settings]

    def end_epoch(
        self, epoch: int, pairs: Pairs, selected: Selected, records: Sequence[Sequence[Records]]
    ) -> list[list[Match]]:
        """Take the truth and the records (by setting and monitor) of an epoch; return which record is of which pair."""
        found = pairs.flow * self.monitors + pairs.monitor
        at = self._places(found, epoch)
        later = pairs.after_bytes[:, self.delay]
        self.volume[at, 0] += pairs.bytes
        self.volume[at, 1] += pairs.bytes - later
        self.after_packets[at] += pairs.after_packets[:, self.delay]
        matches: list[list[Match]] = []
        for s, by_monitor in enumerate(records):
            matches.append([])
            for monitor, report in enumerate(by_monitor):
                flow = selected.find(report.flow)
                mine = np.flatnonzero(flow >= 0)
                place = np.searchsorted(found, flow[mine] * self.monitors + monitor)
                # a message can make a record of a flow that then sends nothing across this monitor
                there = place < len(found)
                there[there] = found[place[there]] == (flow[mine] * self.monitors + monitor)[there]
                mine, place = mine[there], place[there]
                matches[s].append((mine, place))
                recorded = report.bytes[mine]
                some = report.packets[mine] > 0
                self.captured[at[place[some]], s] = True
                self.recorded[at[place], s, 0] += recorded
                self.recorded[at[place], s, 1] += np.maximum(recorded - later[place], 0)
                error = np.abs(report.estimate_bytes[mine][some] / pairs.bytes[place][some] - 1)
                self.totals[s].error_sum += float(error.sum())
                self.totals[s].errors += int(some.sum())
        return matches

    def _places(self, found: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Return where each pair stands, making places for new ones."""
        old = len(self.pair)
        joined = np.union1d(self.pair, found)
        if len(joined) > old:
            moved = np.searchsorted(joined, self.pair)
            for name in ("volume", "after_packets", "epochs", "captured", "recorded"):
                before = getattr(self, name)
                grown = np.zeros((len(joined), *before.shape[1:]), before.dtype)
                grown[moved] = before
                setattr(self, name, grown)
            new = np.ones(len(joined), np.bool_)
            new[moved] = False
            self.epochs[new] = epoch
            self.pair = joined
        at = np.searchsorted(self.pair, found)
        self.epochs[at, 1] = epoch
        return at

    # what the rows are made of, after the last epoch

    @cached_property
    def _flow_start(self) -> NDArray[np.int64]:
        """First pair of each flow."""
        flow = self.pair // self.monitors
        return np.flatnonzero(np.concatenate([[True], flow[1:] != flow[:-1]])) if len(flow) else np.zeros(0, np.int64)

    @cached_property
    def _reachable(self) -> NDArray[np.bool_]:
        """Flows of which a packet crossed a monitor after the selection."""
        return np.add.reduceat(self.after_packets, self._flow_start) > 0 if len(self.pair) else np.zeros(0, np.bool_)

    @cached_property
    def _flow_end(self) -> NDArray[np.int64]:
        """One behind the last pair of each flow."""
        return np.append(self._flow_start, len(self.pair))[1:]

    def _floor(self, entries: int) -> int:
        monitor = self.pair % self.monitors
        flows = [
            (frozenset(monitor[a:b].tolist()), int(self.epochs[a:b, 0].min()), int(self.epochs[a:b, 1].max()))
            for a, b, reachable in zip(self._flow_start, self._flow_end, self._reachable, strict=True)
            if reachable
        ]
        return fewest_missed(flows, entries)

    def rows(self) -> list[dict[str, Any]]:
        """Return the figures of each setting, under the names of the report."""
        reachable = int(self._reachable.sum())
        of_reachable = np.repeat(self._reachable, self._flow_end - self._flow_start)
        volume = self.volume[of_reachable].sum(axis=0)
        floors = {s.memory_entries: self._floor(s.memory_entries) for s in self.settings}
        rows = []
        for s, setting in enumerate(self.settings):
            whole = (
                np.logical_and.reduceat(self.captured[:, s], self._flow_start) if len(self.pair) else self._reachable
            )
            captured = int((whole & self._reachable).sum())
            recorded = self.recorded[of_reachable, s].sum(axis=0)
            totals = self.totals[s]
            rows.append(
                {
                    "mode": setting.mode,
                    "memory_entries": setting.memory_entries,
                    "probability": setting.probability,
                    "selected_flows": self.selected_flows,
                    "captured_flows": captured,
                    "not_captured_ratio": ratio(reachable - captured, reachable),
                    "unreachable_flows": self.selected_flows - reachable,
                    "unreachable_captured_flows": int((whole & ~self._reachable).sum()),
                    "floor_ratio": ratio(floors[setting.memory_entries], reachable),
                    "selected_bytes": int(volume[0]),
                    "captured_bytes": int(recorded[0]),
                    "pre_event_bytes": int(volume[1]),
                    "pre_event_captured_bytes": int(recorded[1]),
                    "volume_error": ratio(totals.error_sum, totals.errors),
                    "selected_collisions": totals.selected_collisions,
                    "refused_samples": totals.refused_samples,
                    "report_bytes": totals.report_bytes,
                }
            )
        return rows


def ratio(part: float, whole: float) -> float | None:
    """Return part / whole, or None where there is no whole."""
    return part / whole if whole else None
