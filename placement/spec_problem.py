"""The placement problem of a task file: which modules its tasks expand to over a topology, and what they ask for.

A role names devices that all take part, so it expands to one module for each, with that device as its only candidate:
`source-host` is one selector on every host that sends, `path-switches` one monitor on every switch of a path between
hosts, `ecmp-switch` and `ecmp-peers` one on every member of a set where equal-cost paths part. A list of device names
expands to one module, and the list is its candidates: the algorithm chooses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations

from ..errors import PlacementError
from ..tasks import MonitorSpec, SelectorSpec, Spec
from ..tasks import Task as TaskSpec
from ..topologies.roles import RoutedPath, beside_path, on_path, routed_paths
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
    tasks = tuple(_task(task, topology, paths) for task in spec.tasks)
    return Problem(tuple(devices), topology.latency_ms, tasks)


def _task(task: TaskSpec, topology: Topology, paths: Sequence[RoutedPath]) -> Task:
    modules = [
        *_modules(f"task {task.name}: selector", "selector", task.selector, topology, paths),
        *_modules(f"task {task.name}: monitor", "monitor", task.monitor, topology, paths),
    ]
    bound = math.inf if task.max_latency_ms is None else task.max_latency_ms
    return Task(task.name, tuple(modules), task.weight, bound)


def _modules(
    where: str, role: str, asks: SelectorSpec | MonitorSpec, topology: Topology, paths: Sequence[RoutedPath]
) -> list[Module]:
    if not isinstance(asks.at, str):
        unknown = [name for name in asks.at if name not in topology.index]
        if unknown:
            raise PlacementError(f"{where}: at: {topology.name} has no device {', '.join(unknown)}")
        return [_module(role, role, asks, tuple(asks.at), topology)]
    devices = {d for path in paths for d in (*on_path(path, asks.at), *beside_path(path, asks.at))}
    if not devices:
        raise PlacementError(f"{where}: at: no device is {asks.at} on the paths of the traffic over {topology.name}")
    ordered = [d for d in topology.devices if d in devices]
    return [_module(f"{role}-{d}", role, asks, (d,), topology) for d in ordered]


def _module(
    name: str, role: str, asks: SelectorSpec | MonitorSpec, candidates: tuple[str, ...], topology: Topology
) -> Module:
    """Return the module with these candidates. Raises PlacementError where they are hosts and switches mixed."""
    hosts = [d for d in candidates if d in topology.hosts]
    if hosts and len(hosts) < len(candidates):
        raise PlacementError(f"{name}: at: {', '.join(candidates)}: candidates are all hosts or all switches, not both")
    entries = float(asks.memory_entries) if role == "monitor" and not hosts else 0.0
    return Module(name, role, entries, float(asks.cpu_percent) if hosts else 0.0, candidates)
