"""Why a task does not run: the constraint that keeps it out, and the least that would have to give."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

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

    def __str__(self) -> str:
        if self.device is None:
            return f"a latency bound of {self.more:g} ms"
        return f"{self.more:g} more {UNIT[self.resource]} on {self.device}"


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

    def __str__(self) -> str:
        lines = [f"{self.task}: {self.constraint}"]
        if self.together:
            lines.append("  it would run with " + " and ".join(map(str, self.together)))
        if self.latency:
            lines.append(f"  it would run with {self.latency}")
        return "\n".join(lines)


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
        where = ", ".join(f"{m} on {d}" for m, d in placement.tasks[name].items())
        return Explanation(name, f"runs: {where}")
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
    rows = ", ".join(f"{r.resource.split('_')[0]} of {r.device}" for r in missing)
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
