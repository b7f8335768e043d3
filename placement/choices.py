"""Which devices a module can really use: its candidates less those that no partner can reach in time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .problem import RESOURCES, Problem, Task

Choices = tuple[tuple[int, ...], ...]
"""For each module of a task, the positions of the devices it may use."""

ROUNDING = 1e-9
"""Relative slack when a latency is compared with its bound, for latencies that are sums of floats."""

Amounts = NDArray[np.float64]
"""Amounts of the two resources, shape (2,) for a module, (2, devices) for devices: entries, percent."""


def capacities(problem: Problem) -> Amounts:
    """Return what every device has, shape (2, devices)."""
    return np.array([[getattr(d, r) for d in problem.devices] for r in RESOURCES], np.float64)


def demands(task: Task) -> Amounts:
    """Return what every module of a task asks for, shape (modules, 2)."""
    return np.array([[getattr(m, r) for r in RESOURCES] for m in task.modules], np.float64)


def close_enough(problem: Problem, task: Task) -> NDArray[np.bool_]:
    """Return which pairs (selector's device, monitor's device) keep the task's latency bound."""
    return problem.latency_ms <= task.max_latency_ms * (1 + ROUNDING)


_Reaches = tuple[list[int], list[int]]
"""For each device: the devices that are near enough as a monitor's, and as a selector's, device d as bit d."""


def _reaches(problem: Problem, task: Task) -> _Reaches:
    close = close_enough(problem, task)
    return [_bits(np.flatnonzero(row).tolist()) for row in close], [_bits(np.flatnonzero(c).tolist()) for c in close.T]


def _bits(devices: Iterable[int]) -> int:
    return sum(1 << d for d in devices)


def task_choices(
    problem: Problem, task: Task, capacity: Amounts | list[list[float]], reaches: _Reaches | None = None
) -> Choices | None:
    """Return the devices that each module of a task can use, or None where the task cannot run at all.

    A device falls out when the module alone asks for more than it has, or when some partner of the module has
    no device within the latency bound; that is repeated until nothing falls out.
    """
    index = problem.index
    options = []
    for module in task.modules:
        entries, cpu = module.memory_entries, module.cpu_percent
        devices = (index[name] for name in module.candidates)
        options.append([d for d in devices if entries <= capacity[0][d] and cpu <= capacity[1][d]])
    if not np.isinf(task.max_latency_ms):
        _prune(options, [m.role == "selector" for m in task.modules], reaches or _reaches(problem, task))
    return tuple(map(tuple, options)) if all(options) else None


def _prune(options: list[list[int]], selects: list[bool], reaches: _Reaches) -> None:
    there = [_bits(devices) for devices in options]
    changed = True
    while changed:
        changed = False
        for module, devices in enumerate(options):
            reach = reaches[0 if selects[module] else 1]
            partners = [there[p] for p in range(len(options)) if selects[p] != selects[module]]
            left = [d for d in devices if all(reach[d] & partner for partner in partners)]
            if len(left) < len(devices):
                options[module], there[module] = left, _bits(left)
                changed = True


def all_choices(problem: Problem, capacity: Amounts | None = None) -> list[Choices | None]:
    """Return `task_choices` of every task, for the devices' own capacity or for what is left of it."""
    room = (capacities(problem) if capacity is None else capacity).tolist()
    reaches: dict[float, _Reaches] = {}
    found = []
    for task in problem.tasks:
        bound = task.max_latency_ms
        if bound not in reaches:
            reaches[bound] = _reaches(problem, task)
        found.append(task_choices(problem, task, room, reaches[bound]))
    return found
