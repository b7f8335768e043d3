"""The placement problem of a task file: which modules its tasks expand to over a topology, and what they ask for.

A role names devices that all take part, so it expands to one module for each, with that device as its only candidate:
`source-host` is one selector on every host that sends, `path-switches` one monitor on every switch of a path between
hosts, `ecmp-switch` and `ecmp-peers` one on every member of a set where equal-cost paths part. A list of device names
expands to one module, and the list is its candidates: the algorithm chooses. A selector sees the packets that cross its
device, so of a list only the devices on a path are its candidates; monitors beside the paths are told by messages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np

from ..errors import PlacementError
from ..tasks import MonitorSpec, SelectorSpec, Spec
from ..tasks import Task as TaskSpec
from ..topologies.host_paths import host_paths
from ..topologies.roles import Role, RoutedPath, beside_path, on_path, routed_paths
from ..topologies.topology import Topology, first_of
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
    where = _where(spec, topology, pairs)
    return Problem(tuple(devices), topology.latency_ms, tuple(_task(task, where) for task in spec.tasks))


def wrong_places(spec: Spec, topology: Topology) -> Iterator[tuple[int, str, str]]:
    """Yield all that is wrong with where modules are to stand: a task's number, "selector" or "monitor", and what."""
    where = _where(spec, topology)
    for number, task in enumerate(spec.tasks):
        for role, asks in (("selector", task.selector), ("monitor", task.monitor)):
            yield from ((number, role, what) for what in _wrong(role, asks, where))


def place_of(task: TaskSpec, placed: Mapping[str, str]) -> tuple[Role, Role]:
    """Return where a placed task's selectors and monitors run: its roles, and of a list the device that was chosen.

    `placed` is the task's part of an assignment: module name -> device.
    """
    selector_at: Role = task.selector.at if isinstance(task.selector.at, str) else (placed["selector"],)
    monitor_at: Role = task.monitor.at if isinstance(task.monitor.at, str) else (placed["monitor"],)
    return selector_at, monitor_at


class _Where(Protocol):
    """A topology and the paths over it: which devices have a role, and which are on any path."""

    topology: Topology
    crossed: set[str]

    def devices(self, role: str) -> tuple[str, ...]:
        """Return the devices that have a role on any of the paths, in the topology's order."""


class _AllPaths:
    """All paths between all hosts."""

    def __init__(self, topology: Topology, ecmp: str | float) -> None:
        self.topology = topology
        self._paths = host_paths(topology, ecmp)
        self.crossed = {topology.devices[i] for i in np.unique(self._paths.devices)}
        self.devices = cache(self._paths.devices_of)


@dataclass
class _SomePaths:
    """The paths between some hosts."""

    topology: Topology
    paths: Sequence[RoutedPath]
    crossed: set[str]

    def devices(self, role: str) -> tuple[str, ...]:
        found = {d for path in self.paths for d in (*on_path(path, role), *beside_path(path, role))}
        return tuple(d for d in self.topology.devices if d in found)


def _where(spec: Spec, topology: Topology, pairs: HostPairs | None = None) -> _Where:
    if pairs is None:
        return _AllPaths(topology, spec.topology.ecmp)
    paths = [path for a, b in pairs for path in routed_paths(topology, a, b, spec.topology.ecmp)]
    return _SomePaths(topology, paths, {d for path in paths for d in path.devices})


def _task(task: TaskSpec, where: _Where) -> Task:
    modules = [
        *_modules(f"task {task.name}", "selector", task.selector, where),
        *_modules(f"task {task.name}", "monitor", task.monitor, where),
    ]
    bound = math.inf if task.max_latency_ms is None else task.max_latency_ms
    return Task(task.name, tuple(modules), task.weight, bound)


def _modules(task: str, role: str, asks: SelectorSpec | MonitorSpec, where: _Where) -> list[Module]:
    wrong = list(_wrong(role, asks, where))
    if wrong:
        raise PlacementError(f"{task}: {role}: at: {'; '.join(wrong)}")
    if isinstance(asks.at, str):
        return [_module(f"{role}-{d}", role, asks, (d,), where) for d in where.devices(asks.at)]
    return [_module(role, role, asks, _candidates(role, asks.at, where), where)]


def _candidates(role: str, devices: Sequence[str], where: _Where) -> tuple[str, ...]:
    """Return those of the devices where the module can be: a selector sees nothing beside the paths."""
    return tuple(d for d in devices if role == "monitor" or d in where.crossed)


def _wrong(role: str, asks: SelectorSpec | MonitorSpec, where: _Where) -> Iterator[str]:
    """Yield what is wrong with the devices, or the role, where a module is to stand."""
    name = where.topology.name
    if isinstance(asks.at, str):
        if not where.devices(asks.at):
            more = "; the paths have no equal-cost alternatives (see topology.ecmp)" if "ecmp" in asks.at else ""
            yield f"no path of {name} has a device for the {role} at {asks.at}{more}"
        return
    there = where.topology.index
    unknown = [d for d in asks.at if d not in there]
    if unknown:
        devices = f"{first_of(where.topology.switches)}, {first_of(where.topology.hosts)}"
        yield f"{name} has no device {', '.join(unknown)}; it has {devices}"
    known = [d for d in asks.at if d in there]
    candidates = _candidates(role, known, where)
    if known and not candidates:
        yield f"no path of {name} crosses {', '.join(known)}"
    mixed = [*candidates, *unknown]
    if len({d[0] for d in mixed}) > 1:  # h or s
        yield f"{', '.join(mixed)}: candidates are all hosts or all switches, not both"


def _module(
    name: str, role: str, asks: SelectorSpec | MonitorSpec, candidates: tuple[str, ...], where: _Where
) -> Module:
    on_hosts = candidates[0] in where.topology.hosts
    entries = float(asks.memory_entries) if role == "monitor" and not on_hosts else 0.0
    return Module(name, role, entries, float(asks.cpu_percent) if on_hosts else 0.0, candidates)
