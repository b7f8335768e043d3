"""Why a task does not run: the constraint that keeps it out, and the least that would have to give."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
import pulp

from ..errors import PlacementError
from .choices import Choices, all_choices, capacities, task_choices
from .fitting import Room
from .model import PlacementModel
from .problem import RESOURCES, Problem, Task
from .result import Placement
from .search import Search
from .solvers import solve

PLENTY = 1e12
UNIT = {"memory_entries": "entries of memory", "cpu_percent": "% CPU"}


@dataclass(frozen=True, slots=True)
class Relaxation:
    """One thing that would have to give: more of a resource on a device, or a longer latency bound."""

    device: str | None
    resource: str
    more: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """What keeps a task out, by the name of the constraint, and the cheapest relaxations that let it in.

    `together` are all needed at once (the others stay where they are); `latency` is enough by itself. A task whose
    bound no devices keep, and that has no room with a longer one either, needs both `together`.
    """

    task: str
    constraint: str
    together: tuple[Relaxation, ...] = ()
    latency: Relaxation | None = None
    modules: dict[str, str] = field(default_factory=dict)
    """Where the modules are, of a task that runs."""

    def __str__(self) -> str:
        """Return the text: the constraint, and under it, indented by two, what would let the task in."""
        lines = [f"{self.task}: {self.constraint}"]
        lines += [f"  {text}" for text in _stations(self.modules)]
        if self.together:
            lines.append("  it would run with " + " and ".join(_eased(self.together)))
        if self.latency:
            lines.append("  it would run with " + " and ".join(_eased((self.latency,))))
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the explanation as plain values; `latency_ms` is the longer bound that is enough by itself."""
        return {
            "task": self.task,
            "runs": bool(self.modules),
            "constraint": self.constraint,
            "together": [{"device": r.device, "resource": r.resource, "more": r.more} for r in self.together],
            "latency_ms": self.latency and self.latency.more,
            "modules": self.modules,
        }


def _eased(relaxations: Sequence[Relaxation]) -> Iterator[str]:
    """Yield what would have to give, one text for all devices that lack the same."""
    for relaxation in relaxations:
        if relaxation.device is None:
            yield f"a latency bound of {relaxation.more:g} ms"
    there = sorted((r for r in relaxations if r.device), key=lambda r: (r.resource, r.more))
    for (resource, more), same in groupby(there, key=lambda r: (r.resource, r.more)):
        devices = [r.device for r in same if r.device]
        yield f"{more:g} more {UNIT[resource]} on {'each of ' * (len(devices) > 1)}{listed(devices)}"


def _stations(modules: dict[str, str]) -> Iterator[str]:
    """Yield where modules are; those of a role, each named after its device, share a line."""
    places: dict[str, list[str]] = {}
    for module, device in modules.items():
        places.setdefault(module.removesuffix(f"-{device}"), []).append(device)
    yield from (f"{name} on {listed(devices)}" for name, devices in places.items())


def listed(devices: Iterable[str]) -> str:
    """Return names with commas; three or more that are numbered in a row, such as s1, s2, s3, become s1 to s3."""
    parts: list[list[str]] = []
    for device in devices:
        before = re.fullmatch(r"(\D*)(\d+)", parts[-1][-1]) if parts else None
        if before and device == f"{before[1]}{int(before[2]) + 1}":
            parts[-1].append(device)
        else:
            parts.append([device])
    return ", ".join(f"{part[0]} to {part[-1]}" if len(part) > 2 else ", ".join(part) for part in parts)


def explain(problem: Problem, placement: Placement, name: str, solver: str = "highs") -> Explanation:
    """Explain one task of a placed problem. Raises PlacementError for a task that is not in it.

    1. A module without any candidate; 2. a latency bound that no devices keep, whatever is free; 3. capacity: in
    what the tasks that run leave, the least shares of the devices' resources by which the task does not fit.
    """
    position = {task.name: t for t, task in enumerate(problem.tasks)}
    if name not in position:
        raise PlacementError(f"no task {name!r} in the problem")
    t = position[name]
    task = problem.tasks[t]
    if name in placement.tasks:
        return Explanation(name, "runs", modules=dict(placement.tasks[name]))
    for module in task.modules:
        if not module.candidates:
            return Explanation(name, f"module {module.name} has no candidate device")
    left = _left(problem, placement)
    longer = _least_bound(problem, task, left, solver)
    latency = None if longer is None else Relaxation(None, "latency", longer)
    choices = task_choices(problem, task, np.full_like(left, PLENTY))
    if choices is None:
        constraint = f"latency: no candidates are within {task.max_latency_ms:g} ms"
        return Explanation(name, constraint, () if latency else _latency_and_room(problem, t, left, solver), latency)
    missing = _missing(problem, t, choices, left, solver)
    if not missing:
        return Explanation(name, "fits into what is left: the search stopped before it was tried")
    scarce = {resource: [r.device for r in missing if r.resource == resource and r.device] for resource in RESOURCES}
    rows = ", ".join(f"{r.split('_')[0]} of {listed(devices)}" for r, devices in scarce.items() if devices)
    return Explanation(name, f"capacity: {rows}, where the other tasks stay as they are", missing, latency)


def _latency_and_room(problem: Problem, t: int, left: np.ndarray, solver: str) -> tuple[Relaxation, ...]:
    """Return the shortest longer bound that some devices keep, and what is missing on them."""
    plenty = np.full_like(left, PLENTY)
    longer = _least_bound(problem, problem.tasks[t], plenty, solver)
    if longer is None:
        return ()
    eased = problem.with_tasks([replace(problem.tasks[t], max_latency_ms=longer)])
    choices = task_choices(eased, eased.tasks[0], plenty)
    missing = _missing(eased, 0, choices, left, solver) if choices else ()
    return (Relaxation(None, "latency", longer), *missing)


def _left(problem: Problem, placement: Placement) -> np.ndarray:
    room = Room(problem, capacities(problem))
    for placed in (placement.tasks, placement.partial):
        for t, task in enumerate(problem.tasks):
            for m, module in enumerate(task.modules):
                device = placed.get(task.name, {}).get(module.name)
                if device is not None:
                    room.put(t, m, problem.index[device])
    return np.maximum(room.left, 0.0)


def _missing(problem: Problem, t: int, choices: Choices, left: np.ndarray, solver: str) -> tuple[Relaxation, ...]:
    """Return what is missing where, so that the shares of all capacity that are missing add up to the least."""
    model = PlacementModel(problem, {t: choices}, left)
    total = np.maximum(capacities(problem).sum(axis=1), 1.0)
    cost, slacks = [], {}
    for r, resource in enumerate(RESOURCES):
        for d, device in enumerate(problem.devices):
            row = model.capacity_row(r, d)
            if row is not None:
                slack = model.program.add_variable(f"more_{r}_{d}", 0)
                row.expr.addterm(slack, -1)
                slacks[slack] = (device.name, resource)
                cost.append((slack, 1 / total[r]))
    model.at_least(model.weight(), problem.tasks[t].weight, "runs")
    model.program.sense = pulp.LpMinimize
    model.program.setObjective(pulp.LpAffineExpression(cost))
    solve(model.program, Search(problem, solver=solver))
    return tuple(
        Relaxation(device, resource, round(slack.varValue, 6))
        for slack, (device, resource) in slacks.items()
        if (slack.varValue or 0.0) > 1e-6
    )


def _least_bound(problem: Problem, task: Task, left: np.ndarray, solver: str) -> float | None:
    """Return the shortest longer bound under which the task fits into what is left; None where none does."""
    if math.isinf(task.max_latency_ms):
        return None
    longer = np.unique(problem.latency_ms[problem.latency_ms > task.max_latency_ms])
    low, high = 0, len(longer)
    while low < high:  # a longer bound never hurts, so halving finds the shortest
        middle = (low + high) // 2
        if _fits(problem, replace(task, max_latency_ms=float(longer[middle])), left, solver):
            high = middle
        else:
            low = middle + 1
    return float(longer[low]) if low < len(longer) else None


def _fits(problem: Problem, task: Task, left: np.ndarray, solver: str) -> bool:
    alone = problem.with_tasks([task])
    choices = all_choices(alone, left)[0]
    if choices is None:
        return False
    model = PlacementModel(alone, {0: choices}, left)
    model.at_least(model.weight(), task.weight, "runs")
    model.program.setObjective(model.weight())
    return solve(model.program, Search(alone, solver=solver)).found
