"""Checks a placement against the words of the problem, in plain loops that share nothing with any model."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import PlacementError
from .problem import Problem, Task
from .result import Assignment

SLACK = 1e-6
"""Relative slack on sums of floating-point demands."""


def violations(problem: Problem, tasks: Assignment, partial: Assignment) -> Iterator[str]:
    """Yield one line for every rule of the problem that the placement breaks.

    `tasks` must be complete tasks within their latency bounds; `partial` modules need a candidate and room.
    """
    known = {task.name: task for task in problem.tasks}
    for name in [*tasks, *partial]:
        if name not in known:
            yield f"task {name} is placed but is not in the problem"
        elif name in tasks and name in partial:
            yield f"task {name} is both complete and partial"
    for name, devices in tasks.items():
        if name in known:
            yield from _task_violations(problem, known[name], dict(devices))
    for name, devices in partial.items():
        if name in known:
            yield from _candidate_violations(known[name], dict(devices))
    yield from _capacity_violations(problem, known, (tasks, partial))


def _task_violations(problem: Problem, task: Task, devices: dict[str, str]) -> Iterator[str]:
    for module in task.modules:
        if module.name not in devices:
            yield f"task {task.name} runs without its module {module.name}"
    yield from _candidate_violations(task, devices)
    for first in task.modules:
        for second in task.modules:
            if first.role != "selector" or second.role != "monitor":
                continue
            source, target = devices.get(first.name), devices.get(second.name)
            if source not in problem.index or target not in problem.index:
                continue
            latency = problem.latency_ms[problem.index[source], problem.index[target]]
            if latency > task.max_latency_ms * (1 + SLACK):
                yield (
                    f"task {task.name}: {first.name} on {source} and {second.name} on {target} are "
                    f"{latency} ms apart, and {task.max_latency_ms} ms is the bound"
                )


def _candidate_violations(task: Task, devices: dict[str, str]) -> Iterator[str]:
    modules = {module.name: module for module in task.modules}
    for name, device in devices.items():
        if name not in modules:
            yield f"task {task.name} has no module {name}"
        elif device not in modules[name].candidates:
            yield f"task {task.name}: {device} is no candidate of module {name}"


def _capacity_violations(problem: Problem, known: dict[str, Task], placed: tuple[Assignment, ...]) -> Iterator[str]:
    memory = {device.name: 0.0 for device in problem.devices}
    cpu = dict(memory)
    for assignment in placed:
        for name, devices in assignment.items():
            for module in known[name].modules if name in known else ():
                place = devices.get(module.name)
                if place in memory:
                    memory[place] += module.memory_entries
                    cpu[place] += module.cpu_percent
    for device in problem.devices:
        if memory[device.name] > device.memory_entries + SLACK * max(1.0, device.memory_entries):
            yield f"device {device.name}: {memory[device.name]} entries used of {device.memory_entries}"
        if cpu[device.name] > device.cpu_percent + SLACK * max(1.0, device.cpu_percent):
            yield f"device {device.name}: {cpu[device.name]} % CPU used of {device.cpu_percent}"


def check(problem: Problem, tasks: Assignment, partial: Assignment, algorithm: str) -> None:
    """Raise PlacementError with every violation: an algorithm that returns such a placement has a defect."""
    broken = list(violations(problem, tasks, partial))
    if broken:
        raise PlacementError(
            f"algorithm {algorithm} returned a placement that breaks the problem's constraints; this is a "
            "defect of mozart, please report it with the problem file:\n" + "\n".join(broken[:20])
        )
