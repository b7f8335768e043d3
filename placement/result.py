"""What a placement algorithm returns: which module runs where, how good that is, and how sure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .problem import RESOURCES, Problem, Task

OPTIMAL = "optimal"
FEASIBLE = "feasible"
NOTHING = "infeasible-nothing-placed"
TIMED_OUT = "timed-out"
NOTHING_FOUND = "nothing-found"
STATUSES = {
    OPTIMAL: "proved: no placement runs tasks of more weight",
    FEASIBLE: "checked against every constraint; how far from the best at most, the gap says",
    NOTHING: "proved: not one task can be placed",
    TIMED_OUT: "stopped by the time limit before any task was placed, and without a proof that none can be",
    NOTHING_FOUND: "no task was placed, and it is not proved that none can be",
}
"""Every status, and what it means."""

Assignment = Mapping[str, Mapping[str, str]]
"""Task name -> module name -> device name."""


@dataclass(frozen=True, slots=True)
class Move:
    """A module that ran before and does not run there now; `to` is None where it stops."""

    task: str
    module: str
    source: str
    to: str | None


@dataclass(frozen=True)
class Placement:
    """A checked answer to a placement problem.

    `tasks` has the tasks that run, each with all of its modules; `partial` the modules that an algorithm
    placed for tasks that do not run (only MAM does). `value` is the weight of the tasks that run, less the
    price of moves; `bound` an upper bound on it for any placement, None where the algorithm gives none.
    `moves_proved`: no placement of that value moves fewer modules; `latency_proved`: among those, none has
    less total latency. `proved_s`: after how many seconds the value was proved to be the most. `stopped_by`: what cut
    the search short, "time", "steps" or "interrupted"; None where it came to its end.
    """

    algorithm: str
    status: str
    tasks: Assignment
    partial: Assignment = field(default_factory=dict)
    value: float = 0.0
    bound: float | None = None
    latency_proved: bool = False
    moves: tuple[Move, ...] = ()
    moves_proved: bool = False
    build_s: float = 0.0
    solve_s: float = 0.0
    stopped_by: str | None = None
    proved_s: float | None = None

    @property
    def proved(self) -> bool:
        """Whether the value is proved to be the most (or that nothing fits), and no limit has cut the search short."""
        return self.status in (OPTIMAL, NOTHING) and self.stopped_by is None

    @property
    def interrupted(self) -> bool:
        """Whether the user has ended the search."""
        return self.stopped_by == "interrupted"

    @property
    def gap(self) -> float | None:
        """Share of the bound that is not reached, 0 when proved optimal; None without a bound."""
        if self.bound is None:
            return None
        return max(0.0, self.bound - self.value) / self.bound if self.bound > 0 else 0.0

    @property
    def placed_modules(self) -> int:
        """Number of modules that have a device, those of tasks that do not run included."""
        return sum(len(modules) for placed in (self.tasks, self.partial) for modules in placed.values())

    def to_json(self) -> dict[str, dict[str, str]]:
        """Return the tasks that run as {task: {module: device}}, what `--keep` reads."""
        return {task: dict(modules) for task, modules in self.tasks.items()}


def pair_latencies(problem: Problem, task: Task, devices: Mapping[str, str]) -> Iterator[float]:
    """Yield the latency in ms of every selector-monitor pair of a placed task."""
    for selector in task.selectors:
        for monitor in task.monitors:
            yield problem.latency(devices[selector.name], devices[monitor.name])


def average_latency_ms(problem: Problem, placement: Placement) -> float | None:
    """Return the mean latency over all selector-monitor pairs of the tasks that run; None without a pair."""
    found = [
        latency
        for task in problem.tasks
        if task.name in placement.tasks
        for latency in pair_latencies(problem, task, placement.tasks[task.name])
    ]
    return sum(found) / len(found) if found else None


def device_loads(problem: Problem, placement: Placement) -> dict[str, dict[str, float]]:
    """Return for each device what the placed modules use of each resource, in the resource's unit."""
    loads = {device.name: dict.fromkeys(RESOURCES, 0.0) for device in problem.devices}
    for placed in (placement.tasks, placement.partial):
        for task in problem.tasks:
            for module in task.modules:
                device = placed.get(task.name, {}).get(module.name)
                if device is not None:
                    for resource in RESOURCES:
                        loads[device][resource] += getattr(module, resource)
    return loads


def as_row(problem: Problem, placement: Placement, max_latency_ms: float | None) -> dict[str, Any]:
    """Return the placement as one row of the comparison, with the column names of the JSON output."""
    return {
        "algorithm": placement.algorithm,
        "max_latency_ms": max_latency_ms,
        "tasks": len(problem.tasks),
        "placed_tasks": len(placement.tasks),
        "placed_share": len(placement.tasks) / len(problem.tasks) if problem.tasks else 0.0,
        "placed_modules": placement.placed_modules,
        "avg_latency_ms": average_latency_ms(problem, placement),
        "status": placement.status,
        "proved": placement.proved,
        "stopped_by": placement.stopped_by,
        "bound": placement.bound,
        "gap": placement.gap,
        "build_s": placement.build_s,
        "solve_s": placement.solve_s,
        "moved_modules": len(placement.moves),
    }
