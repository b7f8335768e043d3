"""The placement problem of a task file: which modules its tasks expand to over a topology, and what they ask for.

A role names devices that all take part, so it expands to one module for each, with that device as its only candidate:
`source-host` is one selector on every host that sends, `path-switches` one monitor on every switch of a path between
hosts, `ecmp-switch` and `ecmp-peers` one on every member of a set where equal-cost paths part. A list of device names
expands to one module, and the list is its candidates: the algorithm chooses. A selector sees the packets that cross its
device, so of a list only the devices on a path are its candidates; monitors beside the paths are told by messages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations

from ..errors import PlacementError
from ..tasks import MonitorSpec, SelectorSpec, Spec
from ..tasks import Task as TaskSpec
from ..topologies.roles import Role, RoutedPath, beside_path, on_path, routed_paths
from ..topologies.topology import Topology
from .problem import Device, Module, Problem, Task

HostPairs = Sequence[tuple[str, str]]


def problem_from_spec(spec: Spec, topology: Topology, pairs: HostPairs | None = None) -> Problem:
    """Expand the tasks of a task file over the paths between pairs of hosts (without `pairs`: all).

    What is scarce is the monitors' table memory on switches, and CPU on hosts: a monitor on a switch asks for its
    `memory_entries`, every module on a host for its `cpu_percent`; a selector's own state on a switch is no part
    of the table. Raises PlacementError for a role that no device has on these paths, and for an unknown device.
    """
    resources = spec.resources
    devices = [Device(host, 0.0, float(resources.host_cpu_percent)) for host in topology.hosts]
    devices += [Device(switch, float(resources.switch_memory_entries), 0.0) for switch in topology.switches]
    used = list(pairs) if pairs is not None else list(permutations(topology.hosts, 2))
    paths = [path for a, b in used for path in routed_paths(topology, a, b, spec.topology.ecmp)]
    where = _Where(topology, paths, {d for path in paths for d in path.devices})
    return Problem(tuple(devices), topology.latency_ms, tuple(_task(task, where) for task in spec.tasks))


def place_of(task: TaskSpec, placed: Mapping[str, str]) -> tuple[Role, Role]:
    """Return where a placed task's selectors and monitors run: its roles, and of a list the device that was chosen.

    `placed` is the task's part of an assignment: module name -> device.
    """
    selector_at: Role = task.selector.at if isinstance(task.selector.at, str) else (placed["selector"],)
    monitor_at: Role = task.monitor.at if isinstance(task.monitor.at, str) else (placed["monitor"],)
    return selector_at, monitor_at


@dataclass
class _Where:
    """A topology and the paths over it: which devices have a role, found once for each role."""

    topology: Topology
    paths: Sequence[RoutedPath]
    crossed: set[str]
    known: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def devices(self, role: str) -> tuple[str, ...]:
        """Return the devices that have a role on any of the paths."""
        if role not in self.known:
            found = {d for path in self.paths for d in (*on_path(path, role), *beside_path(path, role))}
            self.known[role] = tuple(d for d in self.topology.devices if d in found)
        return self.known[role]


def _task(task: TaskSpec, where: _Where) -> Task:
    modules = [
        *_modules(f"task {task.name}", "selector", task.selector, where),
        *_modules(f"task {task.name}", "monitor", task.monitor, where),
    ]
    bound = math.inf if task.max_latency_ms is None else task.max_latency_ms
    return Task(task.name, tuple(modules), task.weight, bound)


def _modules(task: str, role: str, asks: SelectorSpec | MonitorSpec, where: _Where) -> list[Module]:
    name, here = where.topology.name, f"{task}: {role}"
    if isinstance(asks.at, str):
        devices = where.devices(asks.at)
        if not devices:
            more = "; the paths have no equal-cost alternatives (see topology.ecmp)" if "ecmp" in asks.at else ""
            raise PlacementError(f"{task}: no path of {name} has a device for the {role} at {asks.at}{more}")
        return [_module(here, f"{role}-{d}", role, asks, (d,), where) for d in devices]
    unknown = [d for d in asks.at if d not in where.topology.index]
    if unknown:
        raise PlacementError(f"{here}: at: {name} has no device {', '.join(unknown)}")
    candidates = tuple(d for d in asks.at if role == "monitor" or d in where.crossed)
    if not candidates:
        raise PlacementError(f"{here}: at: no path of {name} crosses {', '.join(asks.at)}")
    return [_module(here, role, role, asks, candidates, where)]


def _module(
    here: str, name: str, role: str, asks: SelectorSpec | MonitorSpec, candidates: tuple[str, ...], where: _Where
) -> Module:
    """Return the module with these candidates. Raises PlacementError where they are hosts and switches mixed."""
    hosts = [d for d in candidates if d in where.topology.hosts]
    if hosts and len(hosts) < len(candidates):
        raise PlacementError(f"{here}: at: {', '.join(candidates)}: candidates are all hosts or all switches, not both")
    entries = float(asks.memory_entries) if role == "monitor" and not hosts else 0.0
    return Module(name, role, entries, float(asks.cpu_percent) if hosts else 0.0, candidates)
