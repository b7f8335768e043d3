"""One task of a replay: its selectors, what they select, and its monitors in every setting, side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..monitors import layout_kernels as lk
from ..monitors.measures import MEASURES
from ..monitors.modes import MODES
from ..monitors.records import Records
from ..monitors.table import Crossings, Table
from ..selectors.events import EVENTS
from ..selectors.selection import Selections, Tags
from ..selectors.selector import Sightings
from ..tasks import Sampling, Task
from ..traces.keys import FlowHash
from ..traces.packets import PacketBatch
from . import route_kernels
from .channels import NOWHERE, Channels
from .crossings import Messages, Room, Routed, crossings
from .flow_rows import EpochRows, Facts, gathered
from .identity import Identity
from .locate import Hop, LinkLoss, compare, hops_between, learn_truth, located
from .outcome import Outcome, Setting
from .routes import Routes, link_chances
from .selection_log import Chosen, SelectionLog
from .streams import After, Streams
from .truth import Pairs, Selected, losses_of, pairs_of, paths_of
from .unselected_rows import UnselectedRows

Job = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch with all that the tasks share: routes, keys by kind, and rows of the streams."""

    packets: PacketBatch
    routed: Routed
    key: Mapping[str, NDArray[np.uint64]]
    reverse_key: Mapping[str, NDArray[np.uint64]]
    item: Mapping[str, NDArray[np.uint64]]
    row: Mapping[str, NDArray[np.int32]]
    streams: Mapping[str, Streams]
    notices: PacketBatch
    """Dropped packets, at the time at which their senders learn of it."""
    notice_key: Mapping[str, NDArray[np.uint64]]
    notice_path: NDArray[np.int64]
    end_ns: int
    """Messages that take effect before this time are delivered with the batch."""
    begins_ns: int | None = None
    """Where the batch, which then has no packets, stands for the start of an epoch: when that is."""


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """The end of an epoch: [start, end), with the exact streams of what was in it, by key kind."""

    number: int
    start_ns: int
    end_ns: int
    streams: Mapping[str, Streams]
    identity: Mapping[str, Identity] = field(default_factory=dict)
    """By key kind, who sent each stream; empty where nobody wants it."""


class TaskReplay:
    """Runs one task over batches, for all modes, memory sizes and detection delays."""

    def __init__(
        self,
        task: Task,
        channels: Channels,
        routes: Routes,
        sampling: Sampling,
        settings: Sequence[Setting],
        delays_ms: Sequence[float],
        loss: Mapping[str, float],
        seed: int,
        flow_hash: FlowHash,
        with_flows: bool = False,
    ) -> None:
        """Start with nothing selected; `with_flows` keeps the rows of flows too (`take_flows`).

        Rows of records that nobody selected are among them where an epoch's end says who sent its streams.
        """
        self.task, self.channels, self.routes, self.seed, self.flow_hash = task, channels, routes, seed, flow_hash
        self.key_kind = task.selector.key
        self.settings, self.delays_ms = settings, tuple(delays_ms)
        selector = task.selector
        self.selector = EVENTS[selector.event](len(channels.selectors), selector.memory_entries, **selector.parameters)
        self.timed = True
        """Whether the packets have times; without, events that are rates are true of no flow."""
        self.selections = Selections(selector.hold_s, self.delays_ms)
        self.messages = [Messages() for _ in delays_ms]
        self.after = After(len(delays_ms))
        self.counts = MEASURES[task.monitor.measure].counts
        self.tables = [
            [[self._table(setting, sampling) for _ in channels.monitors] for setting in settings] for _ in delays_ms
        ]
        """By delay, setting and monitor."""
        self.outcomes = [Outcome(settings, len(channels.monitors), d) for d in range(len(delays_ms))]
        self.selected_at: list[tuple[int, int, int]] = []
        self.selected_on: dict[tuple[int, int], int] = {}
        """Path on which a flow was last selected at a device, by (flow, device)."""
        self.log = SelectionLog(self.selections) if with_flows else None
        self.facts = Facts(task.name, selector.event, self.key_kind, channels.selectors, channels.monitors)
        self.watched = np.diff(channels.crossed.start) > 0
        """By route: whether a monitor is on it."""
        self._flows: list[list[Any]] = [[] for _ in delays_ms]
        self._prepare_location(loss)

    def _table(self, setting: Setting, sampling: Sampling) -> Table:
        measure = MEASURES[self.task.monitor.measure](**self.task.monitor.parameters)
        return Table(
            MODES[setting.mode], setting.memory_entries, setting.probability, measure,
            sampling.preserve_bytes, sampling.early_removal_bytes,
        )  # fmt: skip

    def _prepare_location(self, loss: Mapping[str, float]) -> None:
        links = self.routes.topology.links
        self.link_names = [link.name for link in links]
        self.link_chance = link_chances(self.routes.topology, loss)
        self.locates = bool(loss) and self.key_kind == "five-tuple" and self.task.selector.event == "loss"
        self.hops: list[Hop] = []
        if self.locates:
            reached = [self.channels.tagged_on(route) for route in range(self.routes.whole)]
            self.hops = hops_between(self.channels.monitors, self.routes, reached)
        self.link_loss = [[LinkLoss(len(links)) for _ in self.settings] for _ in self.delays_ms]

    def take(self, batch: Prepared) -> list[Job]:
        """Detect and tag; returns what remains to be done to the tables, as jobs that may run side by side."""
        tags = self._select(batch)
        if batch.begins_ns is not None:
            self._begin_epoch(batch.begins_ns)
            return []
        self.after.add(
            len(batch.streams[self.key_kind]), batch.row[self.key_kind], tags.after, tags.past, batch.routed.ip_bytes
        )
        jobs: list[Job] = []
        for d in range(len(self.delays_ms)):
            due = self.messages[d].due(batch.end_ns)
            item = batch.item[self.counts] if self.counts else np.empty(0, np.uint64)
            crossing = crossings(
                batch.routed, self.channels, batch.key[self.key_kind], batch.reverse_key[self.key_kind], item,
                tags.forward, tags.reverse, d, due, self.seed,
            )  # fmt: skip
            jobs.extend(
                _job(crossing, number, tables) for number, tables in enumerate(zip(*self.tables[d], strict=True))
            )
        return jobs

    def _select(self, batch: Prepared) -> Tags:
        """Run the selectors over a batch and over the notices that are due, and send the messages."""
        route, kind = batch.routed.route, self.key_kind
        where, back = np.empty(len(route), np.int32), np.empty(len(route), np.int32)
        route_kernels.find_selectors(route, self.channels.where, self.channels.reverse_where, where, back)
        seen = Sightings(batch.packets, batch.key[kind], where, np.zeros(len(where), np.bool_), self.flow_hash)
        reverse_key = batch.reverse_key[kind]
        keep: Any = slice(None)
        if len(batch.notices):
            seen, reverse_key, back, route, keep = self._with_notices(batch, seen, back)
        value = np.empty(len(seen.key))
        true = self.selector.events(seen, value)
        if self.selector.needs_times and not self.timed:
            true[:] = False
        tags, selections = self.selections.select(seen.key, seen.where, reverse_key, back, true, seen.packets.time_ns)
        if selections:
            # the selector does not know that a link will drop the packet: its messages go to all of the path
            routes = self.routes.path_number[route[selections.row]]
            if self.log is not None:
                rows = selections.row
                self.log.add(selections, seen.packets[rows], value[rows], self.watched[routes])
            hold_ns, keys = self.selections.hold_ns, self.selections.keys()
            for messages, delay_ns in zip(self.messages, self.selections.delays_ns, strict=True):
                messages.send(selections, routes, self.channels, int(delay_ns), hold_ns, keys)
            self.selected_at.extend((s.flow, s.where, s.time_ns) for s in selections)
            self.selected_on.update(((s.flow, s.where), int(r)) for s, r in zip(selections, routes, strict=True))
        return Tags(tags.forward[keep], tags.reverse[keep], tags.after[keep], tags.past[keep])

    def _begin_epoch(self, start_ns: int) -> None:
        """Tell the monitors beside the paths again of the selections that are in force."""
        selections = self.selections.in_force(start_ns)
        routes = np.array([self.selected_on[flow, where] for flow, where, _ in selections.tolist()], np.int64)
        for messages, delay_ns in zip(self.messages, self.selections.delays_ns, strict=True):
            messages.begin_epoch(start_ns, selections, routes, self.channels, int(delay_ns), self.selections.keys())

    def _with_notices(self, batch: Prepared, seen: Sightings, back: NDArray[np.int32]) -> tuple[Any, ...]:
        """Put the notices among the packets, in order of time; each before the packets that are not earlier."""
        at = np.searchsorted(seen.packets.time_ns, batch.notices.time_ns, side="left")
        where = self.channels.where[batch.notice_path]
        senders = [self.routes.all[p].devices[0] for p in batch.notice_path]
        hears = [self.channels.selectors[w] == s if w >= 0 else False for w, s in zip(where, senders, strict=True)]
        packets = PacketBatch(
            *(np.insert(a, at, b, axis=0) for a, b in zip(seen.packets.columns(), batch.notices.columns(), strict=True))
        )
        lost = np.insert(seen.lost, at, True)
        key = np.insert(seen.key, at, batch.notice_key[self.key_kind])
        sightings = Sightings(
            packets, key, np.insert(seen.where, at, np.where(hears, where, NOWHERE)), lost, self.flow_hash
        )
        route = np.insert(batch.routed.route, at, batch.notice_path)
        reverse_key = np.insert(batch.reverse_key[self.key_kind], at, np.uint64(0))
        return sightings, reverse_key, np.insert(back, at, NOWHERE), route, ~lost

    def end_epoch(self, end: EpochEnd) -> list[Job]:
        """Compare the reports with the truth and start the next epoch; returns jobs, one a detection delay.

        The jobs may run while the next batch is taken, so they read nothing that `take` changes.
        """
        streams = end.streams[self.key_kind]
        active = self.selections.active_flows(end.start_ns, end.end_ns)
        keys = self.selections.keys()
        selected = Selected(active, keys)
        pairs = pairs_of(streams, self.after, selected, self.channels)
        path = paths_of(streams, selected, self.routes, len(keys)) if self.locates else np.zeros(0, np.int64)
        rows = None
        if self.log is not None:
            lasting, unseen = self.log.end_epoch(end.number, end.start_ns, end.end_ns, np.unique(pairs.flow))
            rows = EpochRows(self.facts, end.number, lasting, unseen, pairs)
        others = None
        if self.log is not None and end.identity:
            who = end.identity[self.key_kind]
            others = UnselectedRows(self.facts, end.number, selected, streams, who, self.channels)
        after, self.after = self.after, After(len(self.delays_ms))
        for outcome in self.outcomes:
            outcome.selected_flows = len(keys)

        def job(d: int) -> Job:
            def run() -> None:
                if others is not None:
                    self._add_unselected(d, others)
                self._end_epoch(d, end.number, pairs, selected, path, streams, after, rows)

            return run

        return [job(d) for d in range(len(self.delays_ms))]

    def _end_epoch(
        self,
        d: int,
        number: int,
        pairs: Any,
        selected: Selected,
        path: Any,
        streams: Streams,
        after: After,
        rows: EpochRows | None,
    ) -> None:
        outcome = self.outcomes[d]
        records: list[list[Records]] = []
        complete: list[list[bool]] = []
        overfull: list[list[bool]] = []
        for s, tables in enumerate(self.tables[d]):
            reports = [table.records() for table in tables]
            records.append(reports)
            heeds_tags = MODES[self.settings[s].mode].heeds_tags
            overfull.append([bool(table.counters[lk.SELECTED_COLLISIONS]) for table in tables])
            complete.append([heeds_tags and not full for full in overfull[s]])
            for table, report in zip(tables, reports, strict=True):
                totals = outcome.totals[s]
                totals.selected_collisions += int(table.counters[lk.SELECTED_COLLISIONS])
                totals.refused_samples += int(table.counters[lk.REFUSED_SAMPLES])
                totals.report_bytes += table.report_bytes(report)
                table.start_epoch()
        matches = outcome.end_epoch(number, pairs, selected, records)
        if rows is not None and len(rows):
            for s, setting in enumerate(self.settings):
                recorded = gathered(matches[s], records[s], overfull[s])
                self._flows[d].append(rows.table(setting, d, self.delays_ms[d], recorded))
        if self.locates:
            losses = losses_of(streams, after, selected, self.routes, d)
            for s, found in enumerate(self.link_loss[d]):
                reports_all = MODES[self.settings[s].mode].reports_all
                compare(found, records[s], complete[s], selected, self.hops, path, reports_all)
                learn_truth(found, losses)

    def _add_unselected(self, d: int, rows: UnselectedRows) -> None:
        """Keep the rows of what the tables hold of flows that nobody selected."""
        for setting, tables in zip(self.settings, self.tables[d], strict=True):
            self._flows[d].append(
                rows.table(setting, self.delays_ms[d], [table.records(every=True) for table in tables])
            )

    def take_flows(self) -> list[Any]:
        """Return and forget the rows of flows of the epochs that have ended, as arrow tables."""
        tables = [table for by_delay in self._flows for table in by_delay]
        self._flows = [[] for _ in self.delays_ms]
        return tables

    def end_flows(self) -> None:
        """Make the rows of the selections that still last and crossed no monitor: the trace has ended."""
        if self.log is None:
            return
        none = np.zeros(0, np.int64)
        width = np.zeros((0, len(self.delays_ms)), np.int64)
        rows = EpochRows(self.facts, 0, Chosen.none(), self.log.end(), Pairs(none, none, none, none, width, width))
        for d, delay_ms in enumerate(self.delays_ms) if len(rows) else ():
            for setting in self.settings:
                self._flows[d].append(rows.table(setting, d, delay_ms, gathered([], [], [])))

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of the report: one a delay and setting."""
        return [
            {"task": self.task.name, "detection_delay_ms": delay, **row}
            for delay, outcome in zip(self.delays_ms, self.outcomes, strict=True)
            for row in outcome.rows()
        ]

    def located_links(self) -> list[dict[str, Any]]:
        """Return where packets were lost, by delay and setting; empty where the task does not locate loss."""
        if not self.locates:
            return []
        return [
            {
                "task": self.task.name,
                "mode": setting.mode,
                "memory_entries": setting.memory_entries,
                "detection_delay_ms": delay,
                **located(self.link_loss[d][s], self.link_names, self.link_chance, self.hops),
            }
            for d, delay in enumerate(self.delays_ms)
            for s, setting in enumerate(self.settings)
        ]


class _OfThread(threading.local):
    """What each thread that runs jobs has for itself."""

    def __init__(self) -> None:
        self.room = Room()


_of_thread = _OfThread()


def _job(crossings_of: Callable[[int, Room], Crossings], number: int, tables: Sequence[Table]) -> Job:
    """Return the job of one monitor: make its crossings, and take them into its table in every setting."""

    def run() -> None:
        crossing = crossings_of(number, _of_thread.room)
        if len(crossing):
            for table in tables:
                table.observe(crossing)

    return run
