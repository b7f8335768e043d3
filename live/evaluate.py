"""Judge a live run by what every device saw: the rows of a replay's report, and what became of packets and tags.

1. Read what the devices saw (observations.py), what their agents reported, and the plans that they followed, each for
   its time (history.py): a task that was added or removed meanwhile is judged by the time in which it ran.
2. For each task: the flows that its selectors selected, and for how long (selected.py); what each of its monitors
   should have of them, from the packets that crossed its device; and what the monitors reported. From there on a row
   is made as a replay makes it (replay/outcome.py).
3. Count packets sent, delivered, tagged, and arrived with a tag; what devices dropped; what modules cost.
4. Replay what was really sent, with the same epochs, places and paths (paths_taken.py), for the rows beside; and once
   more with tags that come as late as half of them came, which shows what of the difference is due to that.

A monitor's packets count to the epoch in which its device saw them. A packet is after a selection if it was sent after
the completing packet, as in a replay, so packets that were under way when the tag was set count as missed.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..agents.epochs import NEVER_NS
from ..agents.reports import records_of
from ..bus.config import DeviceConfig, MonitorConfig, SelectorConfig
from ..bus.messages import unpack
from ..controller.plan import spec_of
from ..controller.planned import Plan, load_plans
from ..errors import BusError, LiveError
from ..monitors.measures import MEASURES
from ..monitors.records import Records
from ..monitors.table import ENTRY_BYTES
from ..placement.spec_problem import place_of
from ..replay.flow_rows import Facts, no_records
from ..replay.flows import Flows
from ..replay.outcome import Outcome, Setting
from ..replay.result import Result
from ..replay.routes import Routes
from ..replay.run import replay
from ..replay.taken import Taken
from ..replay.truth import Pairs, Selected
from ..tasks import Spec, Task
from ..topologies.catalogue import load as load_topology
from .flow_rows import TaskFlows
from .history import History, Module, Span, Stint
from .latencies import event_to_tag, explicit, quantiles
from .lost import lost_ns
from .observations import NOT_SENT, Observations
from .paths_taken import paths_taken
from .selected import Lasting, Selection, selections_of

SENT_FILE = "sent.pcap"
LOST = ("kernel_drops", "ring_losses", "interface_losses", "cut_off", "malformed")
"""Counters of packets that a device did not measure."""
FAULTS = (
    "tagger_faults", "module_faults", "device_faults", "observations_lost", "disk_faults", "reports_lost",
    "messages_lost",
)  # fmt: skip
"""Counters of what went wrong at a device."""


@dataclass(frozen=True, slots=True)
class Report:
    """One report of a device's agent."""

    header: dict[str, Any]
    columns: dict[str, NDArray[Any]]


@dataclass(slots=True)
class Evaluation:
    """What a live run found."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """As a replay's: one a task."""
    packets: dict[str, int] = field(default_factory=dict)
    """sent, delivered, tagged, arrived_tagged, changed (delivered with another DSCP than sent, where no task tags)."""
    drops: dict[str, dict[str, int]] = field(default_factory=dict)
    """By device, what it did not measure, refused or was late for: counters that are not 0."""
    event_to_tag_ms: dict[str, Any] = field(default_factory=dict)
    """p50, p99 and count of flows that kept sending; `all` the same of all tagged ones; `in_force` of what the agents
    say of their tags, whether or not a packet came then; `never`: how many had no tagged packet."""
    tag_times_ms: list[float] = field(default_factory=list)
    """Of each flow that kept sending."""
    in_force_ms: list[float] = field(default_factory=list)
    """Of each selection with a tag."""
    explicit_ms: dict[str, Any] = field(default_factory=dict)
    devices: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By device: packets measured, CPU in percent, measured and as the placement assumed, memory, gaps."""
    selected_keys: dict[str, NDArray[np.uint64]] = field(default_factory=dict)
    flows: Flows = field(default_factory=Flows)
    """What became of each selected flow at each monitor (recordsets.FLOWS)."""
    notes: list[str] = field(default_factory=list)
    """What stands in the way of exactness."""
    lost_ns: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """When each packet was sent that did not arrive."""
    sent_s: float | None = None
    """From the first packet sent to the last; None where none was."""


def read_reports(folder: Path) -> dict[str, list[Report]]:
    """Return the reports of each device, in order of their numbers; raises LiveError, naming it, for a damaged one."""
    found: dict[str, list[Report]] = {}
    for path in sorted(folder.glob("*/*.npz")):
        try:
            report = Report(*unpack(path.read_bytes()))
        except BusError as error:
            raise LiveError(f"{path}: {error}") from None
        found.setdefault(path.parent.name, []).append(report)
    for reports in found.values():
        reports.sort(key=lambda report: report.header["sequence"])
    return found


class Evaluator:
    """A run's plan, observations and reports, and what follows from them."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        """Read a run from its folder; raises LiveError for a damaged report."""
        self.plan, self.folder = plan, folder
        self.reports = read_reports(folder / "reports")
        taken = {
            device: [(revision, from_ns) for report in reports for revision, from_ns in report.header.get("taken", ())]
            for device, reports in self.reports.items()
        }
        self.history = History(load_plans(folder) | {plan.revision: plan}, taken)
        self.observations = Observations(folder / "observations", plan.devices)
        self.sampling = _any(plan.devices)
        """What all devices were told alike: mode, epochs, probability."""
        self.selections: dict[tuple[str, str], list[Selection]] = {}
        """By task and device."""

    def evaluate(self) -> Evaluation:
        """Do steps 2 and 3."""
        found = Evaluation(packets=self._packets(), drops=self._drops(), devices=self._devices())
        tags: list[NDArray[np.int64]] = []
        messages: list[int] = []
        for task in self.history.tasks:
            for device, stints in self.history.selectors(task).items():
                columns = [report.columns for report in self.reports.get(device, ())]
                self.selections[task, device] = []
                for stint in stints:
                    config, made = stint.config, selections_of(stint, device, columns, self.observations)
                    self.selections[task, device] += made
                    if config.code is not None:
                        tags.append(event_to_tag(config, device, made, self.observations))
                    messages += explicit(config, made, self._told(config, made), self._records_by_device(task))
            row, keys, flows = self._row(task)
            found.rows.append(row)
            found.selected_keys[task] = keys
            found.flows.tables += flows
        times = np.concatenate(tags) if tags else np.zeros((0, 2), np.int64)
        in_force = [taken for task in self.history.tasks for taken in self._in_force(task)]
        found.event_to_tag_ms = {**_tag_times(times), "in_force": quantiles(in_force)}
        found.in_force_ms = [taken / 1e6 for taken in in_force]
        found.tag_times_ms = (times[(times[:, 0] >= 0) & (times[:, 1] > 0), 0] / 1e6).tolist()
        found.explicit_ms = quantiles(messages)
        found.notes = self._notes()
        found.lost_ns = lost_ns(self.observations)
        sent_ns = self.observations.sent.time_ns
        found.sent_s = float(sent_ns[-1] - sent_ns[0]) / 1e9 if len(sent_ns) else None
        return found

    # one task's row

    def _row(self, task: str) -> tuple[dict[str, Any], NDArray[np.uint64], list[Any]]:
        """Return a task's row, the keys of the flows that it selected, and the rows of these flows as tables."""
        monitors, selectors = self.history.monitors(task), self.history.selectors(task)
        delay_ms = max((stint.config.detection_delay_ms for stint in _all(selectors)), default=0.0)
        made = [s for device in selectors for s in self.selections[task, device]]
        lasting = Lasting(made, round(delay_ms * 1e6))
        entries = max((stint.config.memory_entries for stint in _all(monitors)), default=0)
        setting = Setting(self.sampling.mode, entries, self.sampling.probability)
        outcome = Outcome([setting], len(monitors), 0)
        outcome.selected_flows = len(lasting.keys)
        crossed = self._crossed(monitors, lasting)
        flows = TaskFlows(
            self._facts(task), made, lasting, np.unique(crossed["flow"]), known=bool(self.observations.seen)
        )
        reports = [self._reported(task, device) for device in monitors]
        epochs = {e for each in reports for e in each} | set(np.unique(crossed["epoch"]).tolist())
        for epoch in sorted(epochs):
            start_ns = self.sampling.epoch_start_ns + epoch * self.sampling.epoch_ns
            span = start_ns, start_ns + self.sampling.epoch_ns
            selected = Selected(lasting.active(*span), lasting.keys)
            pairs = _pairs(crossed, epoch, selected, len(lasting.keys))
            records = [_merged(each.get(epoch, [])) for each in reports]
            (matches,) = outcome.end_epoch(epoch, pairs, selected, [records])
            overfull = [self._overfull(task, device, epoch) for device in monitors]
            flows.add(epoch, span, (setting, delay_ms), selected, (pairs, matches), records, overfull)
        flows.end((setting, delay_ms), self.sampling.epoch_start_ns, self.sampling.epoch_ns)
        self._add_totals(outcome, task, monitors)
        (row,) = outcome.rows()
        return {"task": task, "detection_delay_ms": delay_ms, **row}, lasting.keys, flows.tables

    def _facts(self, task: str) -> Facts:
        """Return what is the same in all rows of a task's flows."""
        monitors, selectors = self.history.monitors(task), self.history.selectors(task)
        config = next((stint.config for stint in _all(selectors)), None)
        event, key = ("", "five-tuple") if config is None else (config.event, config.key)
        return Facts(task, event, key, list(selectors), list(monitors))

    def _overfull(self, task: str, device: str, epoch: int) -> bool:
        """Say whether a monitor turned selected flows away in an epoch."""
        said = [
            report.header["tasks"].get(task, {}).get("monitor", {}).get("counters", {})
            for report in self.reports.get(device, ())
            if report.header["epoch"] == epoch
        ]
        return any(counters.get("selected_collisions", 0) for counters in said)

    def _crossed(
        self, monitors: Mapping[str, list[Stint[MonitorConfig]]], lasting: Lasting
    ) -> dict[str, NDArray[np.int64]]:
        """Return, of the packets of selected flows that crossed each monitor: columns, a row a packet."""
        columns: dict[str, list[NDArray[Any]]] = {name: [] for name in ("flow", "monitor", "epoch", "bytes")}
        columns |= {"past": [], "during": []}
        for number, (device, stints) in enumerate(monitors.items()):
            seen = self.observations.seen.get(device)
            if seen is None:
                continue
            flow = lasting.numbers(seen.keys(stints[-1].config.key))
            watched = np.any([stint.watched(device, self.observations) for stint in stints], axis=0)
            mine = np.flatnonzero((flow >= 0) & watched)
            flow, sent_ns, serial = flow[mine], seen.sent_ns[mine], seen.serial[mine]
            columns["flow"].append(flow)
            columns["monitor"].append(np.full(len(mine), number))
            since_ns = seen.packets.time_ns[mine] - self.sampling.epoch_start_ns
            columns["epoch"].append(since_ns // self.sampling.epoch_ns)
            columns["bytes"].append(seen.packets.ip_bytes[mine])
            columns["past"].append(lasting.past(flow, sent_ns, serial))
            columns["during"].append(lasting.during(flow, sent_ns, serial))
        empty = np.zeros(0, np.int64)
        return {name: np.concatenate([empty, *parts]).astype(np.int64) for name, parts in columns.items()}

    def _reported(self, task: str, device: str) -> dict[int, list[Records]]:
        """Return a monitor's records by epoch."""
        found: dict[int, list[Records]] = {}
        for report in self.reports.get(device, ()):
            if "monitor" in report.header["tasks"].get(task, {}):
                found.setdefault(report.header["epoch"], []).append(records_of(report.columns, task))
        return found

    def _records_by_device(self, task: str) -> dict[str, list[Records]]:
        reported = {device: self._reported(task, device) for device in self.history.monitors(task)}
        return {device: [r for many in by_epoch.values() for r in many] for device, by_epoch in reported.items()}

    def _add_totals(self, outcome: Outcome, task: str, monitors: Mapping[str, list[Stint[MonitorConfig]]]) -> None:
        totals = outcome.totals[0]
        for device, stints in monitors.items():
            row_bytes = ENTRY_BYTES + MEASURES[stints[-1].config.measure].row_bytes
            for report in self.reports.get(device, ()):
                said = report.header["tasks"].get(task, {}).get("monitor")
                if said is not None:
                    totals.selected_collisions += said["counters"].get("selected_collisions", 0)
                    totals.refused_samples += said["counters"].get("refused_samples", 0)
                    totals.report_bytes += len(report.columns[f"{task}/monitor/flow"]) * row_bytes

    def _told(self, config: SelectorConfig, made: Sequence[Selection]) -> dict[int, Sequence[str]]:
        """Return the monitors that were told of each selection by message; by index."""
        if not config.tells:
            return {}
        name_of = self.observations.pairs.name
        return {i: config.tells.get(name_of(each.pair), ()) for i, each in enumerate(made) if each.pair >= 0}

    def _in_force(self, task: str) -> list[int]:
        """Return the ns from each event of a task to when its tag was in force."""
        made = [selection for (name, _), many in self.selections.items() if name == task for selection in many]
        return [s.installed_ns - s.time_ns for s in made if s.installed_ns >= 0]

    # packets and devices

    @cached_property
    def _tags(self) -> bool:
        """Whether tasks tag, at any time."""
        return any(plan.codes for plan in self.history.plans)

    def _packets(self) -> dict[str, int]:
        """Count packets by what became of them; all that are not counted as delivered were lost on the way."""
        delivered = arrived_tagged = changed = 0
        tagged: set[int] = set()
        for device, seen in self.observations.seen.items():
            dscp = seen.packets.dscp
            if device.startswith("h"):
                came = ~seen.outgoing
                delivered += int(came.sum())
                if self._tags:
                    came &= self.history.tagging(device, seen.packets.time_ns)
                    arrived_tagged += int((dscp[came] != 0).sum())
                else:
                    known = came & (seen.serial != NOT_SENT)
                    changed += int((dscp[known] != self.observations.sent.dscp[seen.serial[known]]).sum())
            if self._tags and (device.startswith("s") or self._tags_itself(device)):
                inside = (dscp != 0) & self.history.tagging(device, seen.packets.time_ns)
                if device.startswith("h"):
                    inside &= seen.outgoing
                tagged.update(np.unique(seen.serial[inside]).tolist())
        return {
            "sent": len(self.observations.sent),
            "delivered": delivered,
            "tagged": len(tagged - {NOT_SENT}),
            "arrived_tagged": arrived_tagged,
            "changed": changed,
        }

    def _tags_itself(self, host: str) -> bool:
        """Say whether a host has a selector that tags: then the DSCP of all that it sends is ours."""
        told = [stretch.config for stretch in self.history.stretches[host]]
        return any(selector.code is not None for config in told for selector in config.selectors)

    def _drops(self) -> dict[str, dict[str, int]]:
        names = (*LOST, *FAULTS, "late_selections", "refused_selections", "messages_malformed", "messages_late")
        sums = {
            device: {name: sum(r.header["counters"].get(name, 0) for r in reports) for name in names}
            for device, reports in self.reports.items()
        }
        return {d: kept for d, counts in sums.items() if (kept := {name: n for name, n in counts.items() if n})}

    def _devices(self) -> dict[str, dict[str, Any]]:
        found = {}
        for device, reports in self.reports.items():
            headers = [report.header for report in reports]
            span_s = (max(h["end_ns"] for h in headers) - min(h["start_ns"] for h in headers)) / 1e9
            told = [stretch.config for stretch in self.history.stretches[device]]
            found[device] = {
                "packets": sum(h["counters"]["packets"] for h in headers),
                "cpu_percent": 100 * sum(h["cpu_s"] for h in headers) / span_s if span_s > 0 else None,
                "assumed_cpu_percent": max(map(_assumed_cpu_percent, told)),
                "memory_bytes": max(h["memory_bytes"] for h in headers),
                "gaps_ns": [gap for h in headers for gap in h["gaps"]],
            }
        return found

    def _notes(self) -> list[str]:
        notes = []
        if self.observations.missing:
            notes.append(f"no observations of {', '.join(self.observations.missing)}")
        unknown = sum(int((seen.serial == NOT_SENT).sum()) for seen in self.observations.seen.values())
        if unknown:
            notes.append(f"{unknown:,} packets were seen by a device and not by the host that sent them")
        lost = [device for device, counts in self._drops().items() if any(name in counts for name in LOST)]
        if lost:
            notes.append(f"{', '.join(lost)} did not measure all packets, so what is exact is so but for those")
        notes += [self._note(task) for task in self.history.tasks if not self.history.whole(task)]
        moved = [task for task in self.history.tasks if self.history.moved(task)]
        return notes + [f"{task} has moved; the replay beside it has it where it was last" for task in moved]

    def _note(self, task: str) -> str:
        """Say when a task ran that did not run all the time."""
        start_ns = self.history.run[0]
        sent_ns = self.observations.sent.time_ns
        last_ns = int(sent_ns[-1]) if len(sent_ns) else start_ns
        spans = [
            f"from {(begin - start_ns) / 1e9:.1f} s to {(min(end, max(last_ns, begin)) - start_ns) / 1e9:.1f} s"
            for begin, end in self.history.spans(task)
        ]
        beside = "so is the replay beside it" if len(spans) == 1 else "there is no replay beside it"
        return f"{task} ran {' and '.join(spans)} of the run, and is judged by that time; {beside}"

    # the replay beside it

    def replayed(self, late: bool = False, stop: threading.Event | None = None) -> Result:
        """Write what was sent as a capture into the run's folder, and replay it as the plan has it (step 4).

        A task that ran for a part of the run is replayed by itself, with what was sent then. With `late` the tags of
        each task come as late as half of them came in the run, which `evaluate` must have found before. Raises
        LiveError where nothing was sent. What `stop` ends early is no whole replay.
        """
        whole = [task for task in self.plan.placement if self.history.whole(task)]
        found = self._replay(self.plan, whole, (0, NEVER_NS), self.folder / SENT_FILE, late, stop)
        if found is None:
            raise LiveError("no host sent a packet while the agents measured; there is nothing to replay")
        for task in self.history.tasks:
            spans = self.history.spans(task)
            if task in whole or len(spans) != 1:
                continue
            file = self.folder / f"sent-{task}.pcap"
            part = self._replay(self.history.plan_of(task), [task], spans[0], file, late, stop)
            if part is not None:
                found.rows += part.rows
                found.located_links += part.located_links
                found.selected_keys = {**found.selected_keys, **part.selected_keys}
        return found

    def _replay(
        self, plan: Plan, tasks: Sequence[str], span: Span, path: Path, late: bool, stop: threading.Event | None
    ) -> Result | None:
        """Replay some tasks of a plan with what was sent in a time; None where that is nothing."""
        if not self.observations.write_sent(path, self._tags, span):
            return None
        spec = spec_as_planned(plan, tasks)
        if late:
            spec = dataclasses.replace(spec, tasks=tuple(map(self._as_late, spec.tasks)))
        return replay(
            spec, trace=str(path), mode=[self.sampling.mode], epoch_start_ns=self.sampling.epoch_start_ns, flows=False,
            taken=self._taken, flow_secret=self.sampling.flow_secret, stop=stop,
        )  # fmt: skip

    @cached_property
    def _taken(self) -> Taken:
        """The paths that flows took: the switches' choice among equal ones is not the replay's."""
        topology = spec_as_planned(self.plan).topology
        routes = Routes(load_topology(topology.name, **topology.options), topology.ecmp, ())
        return paths_taken(routes, self.plan.switches, self.observations)

    def _as_late(self, task: Task) -> Task:
        """Return a task whose tags come as late as half of them came; as it is, where it has none."""
        taken = self._in_force(task.name)
        if not taken:
            return task
        delay_ms = max(task.selector.detection_delay_ms, float(np.median(taken)) / 1e6)
        return dataclasses.replace(task, selector=dataclasses.replace(task.selector, detection_delay_ms=delay_ms))


def spec_as_planned(plan: Plan, tasks: Iterable[str] | None = None) -> Spec:
    """Return the task file of a plan: with the tasks that run, on the devices that were chosen, at recorded speed.

    With `tasks` those alone. Without the loss of links: a replay's senders would hear of it and send again, which
    those of a recorded trace do not, so that it would select flows that no selector of the run could.
    """
    spec = spec_of(json.loads(json.dumps(plan.request["spec"])))
    names = plan.placement.keys() & (plan.placement.keys() if tasks is None else set(tasks))
    placed = tuple(_as_placed(task, plan.placement[task.name]) for task in spec.tasks if task.name in names)
    return dataclasses.replace(spec, tasks=placed, loss={}, traffic=dataclasses.replace(spec.traffic, speed=1.0))


def _as_placed(task: Task, modules: Mapping[str, str]) -> Task:
    selector_at, monitor_at = (at if isinstance(at, str) else tuple(at) for at in place_of(task, modules))
    return dataclasses.replace(
        task,
        selector=dataclasses.replace(task.selector, at=selector_at),
        monitor=dataclasses.replace(task.monitor, at=monitor_at),
    )


def _all(stints: Mapping[str, Sequence[Stint[Module]]]) -> list[Stint[Module]]:
    return [stint for many in stints.values() for stint in many]


def _assumed_cpu_percent(config: DeviceConfig) -> float:
    return sum(s.cpu_percent for s in config.selectors) + sum(m.cpu_percent for m in config.monitors)


def _any(devices: Mapping[str, DeviceConfig]) -> DeviceConfig:
    return next(iter(devices.values()))


def _pairs(crossed: Mapping[str, NDArray[np.int64]], epoch: int, selected: Selected, flows: int) -> Pairs:
    """Add up the packets of an epoch by flow and monitor, for the flows selected in it."""
    active = np.zeros(flows, np.bool_)
    active[selected.numbers] = True
    now = np.flatnonzero(crossed["epoch"] == epoch)
    now = now[active[crossed["flow"][now]]]
    flow, monitor, volume = (crossed[name][now] for name in ("flow", "monitor", "bytes"))
    width = int(crossed["monitor"].max(initial=0)) + 1
    pair, inverse = np.unique(flow * width + monitor, return_inverse=True)
    sums = np.zeros((len(pair), 4), np.int64)
    during, past = crossed["during"][now], crossed["past"][now]
    np.add.at(sums, inverse, np.stack([np.ones_like(volume), volume, during, past * volume], axis=1))
    return Pairs(pair // width, pair % width, sums[:, 0], sums[:, 1], sums[:, 2:3], sums[:, 3:4])


def _merged(parts: Sequence[Records]) -> Records:
    """Join a monitor's records of one epoch; where it reported twice (it was restarted), add up each flow's."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return no_records()
    flow = np.concatenate([part.flow for part in parts])
    keys, first, inverse = np.unique(flow, return_index=True, return_inverse=True)
    joined: dict[str, Any] = {}
    for name in (f.name for f in dataclasses.fields(Records) if f.name not in ("flow", "measured")):
        column = np.concatenate([getattr(part, name) for part in parts])
        joined[name] = column[first]
        if name in ("packets", "bytes", "pre_packets", "pre_bytes", "estimate_bytes"):
            joined[name] = np.zeros(len(keys), column.dtype)
            np.add.at(joined[name], inverse, column)
    return Records(keys, **joined, measured={})


def _tag_times(times: NDArray[np.int64]) -> dict[str, Any]:
    """Sum up how long tags took: of flows that kept sending, and of all."""
    taken = times[times[:, 0] >= 0]
    kept = taken[taken[:, 1] > 0]
    return {**quantiles(kept[:, 0]), "all": quantiles(taken[:, 0]), "never": len(times) - len(taken)}
