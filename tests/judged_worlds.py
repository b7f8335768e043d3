"""Runs for the tests of judging: a network that behaves as a replay's does, as the folder that its run would leave."""

import dataclasses
from typing import Any

import numpy as np
from mozart.agents.observed import Observed
from mozart.agents.reports import monitor_columns, selector_columns
from mozart.bus.messages import pack
from mozart.monitors.table import Table
from mozart.replay.task_replay import TaskReplay
from mozart.replay.vocabulary import load
from mozart.topologies.topology import Topology
from mozart.traces.packets import PacketBatch, concatenate
from mozart.traces.sites import HashSites
from mozart.traces.synth import Synthesizer, SynthOptions

SECOND_NS = 10**9
VALUE = 0.25
"""What selectors say that they measured."""
TOPOLOGY = {"name": "b4"}
TASKS: list[dict[str, Any]] = [
    {
        "name": "lossy-flows",
        "selector": {"event": "loss", "threshold": 0.02, "min_packets": 5, "at": "source-host", "hold_s": 1.5},
        "monitor": {"measure": "volume", "at": "path-switches", "memory_entries": 64},
    },
    {
        "name": "scanners",
        "selector": {"event": "port-scan", "ports": [22, 23, 445, 3389], "threshold": 5, "at": "egress-switch"},
        "monitor": {"measure": "distinct-destinations", "key": "src", "at": "ingress-switch"},
    },
    {
        "name": "ecmp-elephants",
        "selector": {"event": "elephant", "key": "src+dst", "threshold_mbps": 0.5, "window_s": 1, "at": "ecmp-switch"},
        "monitor": {"measure": "volume", "at": "ecmp-peers", "memory_entries": 32},
    },
]
TRAFFIC = {"lossy_share": 0.5, "scanners": 20, "syn_floods": 0, "elephants": 10, "elephant_mbps": 2}


def spec_of(tasks=TASKS, epoch_s=2.0, topology=TOPOLOGY):
    document = {
        "topology": topology,
        "sampling": {"probability": 0.05, "epoch_s": epoch_s},
        "tasks": tasks,
        "traffic": {"trace": "none.pcap"},
    }
    return load(document)


def packets_for(topology: Topology) -> PacketBatch:
    """Synthetic packets that go from one host to another, eight seconds of them."""
    options = SynthOptions(duration_s=8, packets_per_s=2500, seed=5, **TRAFFIC)  # type: ignore[arg-type]
    batch = concatenate([b.copy() for b in Synthesizer(options)])
    src, dst = HashSites(topology.hosts).hosts_of(batch)
    batch = batch[np.flatnonzero(src != dst)]
    number = np.arange(len(batch))  # no two at the same time: those would have no order that all devices agree on
    return dataclasses.replace(batch, time_ns=np.maximum.accumulate(batch.time_ns - number) + number)


class Watching:
    """What a replay's tables and selectors had to say, by task: the stand-in for the agents of a network."""

    def __init__(self, monkeypatch):
        self.tasks: dict[str, TaskReplay] = {}
        self.records: dict[int, list] = {}
        self.routes: list[np.ndarray] = []
        """Of all packets, batch by batch, as the first task has them."""
        made, taken, recorded, watching = TaskReplay.__init__, TaskReplay.take, Table.records, self

        def take(task_replay, batch):
            if task_replay is next(iter(watching.tasks.values())):
                watching.routes.append(batch.routed.route.copy())
            return taken(task_replay, batch)

        def make(task_replay, task, *more):
            made(task_replay, task, *more)
            watching.tasks[task.name] = task_replay

        def records(table):
            found = recorded(table)
            watching.records.setdefault(id(table), []).append((found, table.counters.copy()))
            return found

        monkeypatch.setattr(TaskReplay, "__init__", make)
        monkeypatch.setattr(TaskReplay, "take", take)
        monkeypatch.setattr(Table, "records", records)


def write_observations(folder, routes, route, topology, batch):
    """Let every device see its packets at the time at which they are sent."""
    for device in topology.devices:
        crosses = np.array([device in r.devices for r in routes.all])
        sends = np.array([bool(r.devices) and r.devices[0] == device for r in routes.all])
        mine = np.flatnonzero(crosses[route])
        log = Observed(folder, device)
        log.add(batch[mine], sends[route[mine]].astype(np.uint8))
        log.close()


def who(batch, times, task, flows):
    """Return the columns of a report that say whom a selector selected: the packets that completed the events."""
    key, wanted = task.flow_hash.keys(batch, task.key_kind), task.selections.keys()[flows]
    at = [int(np.flatnonzero((batch.time_ns == t) & (key == k))[0]) for t, k in zip(times, wanted, strict=True)]
    packets = batch[np.array(at, np.int64)]
    columns = {name: getattr(packets, name) for name in ("src", "dst", "src_port", "dst_port", "protocol")}
    return {**columns, "value": np.full(len(at), VALUE)}


def write_reports(folder, plan, watching, epochs, batch, first_epoch=0, sequence=0, taken=()):
    """Write what the replay's tables and selectors said as reports of agents, the first of which say what was taken."""
    sequences = dict.fromkeys(plan.devices, sequence)
    for epoch in range(epochs):
        for device in plan.devices:
            tasks: dict[str, dict] = {}
            columns = {}
            told = plan.devices[device]
            start_ns = told.epoch_start_ns + (first_epoch + epoch) * told.epoch_ns
            for name, task in watching.tasks.items():
                if device in task.channels.monitors:
                    table = task.tables[0][0][task.channels.monitors.index(device)]
                    records, counters = watching.records[id(table)][epoch]
                    said = {"refused_samples": int(counters[0]), "selected_collisions": int(counters[1])}
                    tasks[name] = {"monitor": {"counters": said, "probability": 0.05}}
                    columns.update(monitor_columns(name, records))
                if device in task.channels.selectors:
                    mine = [
                        s
                        for s in task.selected_at
                        if task.channels.selectors[s[1]] == device and start_ns <= s[2] < start_ns + told.epoch_ns
                    ]
                    found = {
                        "flow": task.selections.keys()[[s[0] for s in mine]],
                        "time_ns": np.array([s[2] for s in mine], np.int64),
                        "installed_ns": np.full(len(mine), -1, np.int64),
                        **who(batch, [s[2] for s in mine], task, [s[0] for s in mine]),
                    }
                    columns.update(selector_columns(name, found))
                    tasks.setdefault(name, {})["selector"] = {"selections": len(mine), "evicted": 0}
            sequences[device] += 1
            counts = {"packets": 1, "kernel_drops": int(device == "s3"), "late_selections": 0}
            header = {
                "device": device, "revision": 1, "epoch": first_epoch + epoch, "sequence": sequences[device],
                "final": False, "start_ns": start_ns, "end_ns": start_ns + told.epoch_ns, "gaps": [],
                "counters": counts,
                "cpu_s": 0.01, "memory_bytes": 5, "tasks": tasks, "taken": list(taken) if epoch == 0 else [],
            }  # fmt: skip
            place = folder / device
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{first_epoch + epoch}-{sequences[device]}.npz").write_bytes(pack(header, columns))
