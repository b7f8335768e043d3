"""Placing the tasks of a live network: which run, on which devices, and why the others do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import PlacementError, SpecError
from ..placement.algorithms import place
from ..placement.explain import explain
from ..placement.problem import Problem
from ..placement.search import STEPS
from ..placement.spec_problem import place_of, problem_from_spec
from ..replay.channels import Channels
from ..replay.meaning import wrong_key
from ..replay.routes import Routes
from ..tasks import MonitorSpec, SelectorSpec, Spec, Task
from .planned import Kept
from .reach import Reach, reaches


@dataclass(frozen=True)
class Placed:
    """A task that runs."""

    task: Task
    modules: Mapping[str, str]
    """Module -> device."""
    reaches: tuple[Reach, ...]
    kinds: tuple[str, ...]
    """The channels that it needs."""


Refusals = list[dict[str, str]]


def place_tasks(
    spec: Spec, routes: Routes, cut_off: Collection[str], keep: Kept, time_limit_s: float
) -> tuple[list[Placed], Refusals]:
    """Place the tasks of a spec on the devices of `routes.topology`; returns those that run, and why others do not."""
    refused: Refusals = []
    problems: list[Problem] = []
    for task in spec.tasks:
        try:
            problems.append(_problem(spec, _with_devices(task, cut_off), routes))
        except (PlacementError, SpecError) as error:
            refused.append({"task": task.name, "reason": str(error)})
    if not problems:
        return [], refused
    problem = problems[0].with_tasks(task for each in problems for task in each.tasks)
    placement = place(problem, time_limit_s=time_limit_s, max_steps=STEPS, seed=spec.seed % 2**31, keep=keep.placement)
    placed, named = [], {refusal["task"] for refusal in refused}
    for task in spec.tasks:
        try:
            if task.name in placement.tasks:
                placed.append(_placed(task, placement.tasks[task.name], routes))
            elif task.name not in named:
                reason = str(explain(problem, placement, task.name)).removeprefix(f"{task.name}: ")
                refused.append({"task": task.name, "reason": reason.replace("\n  ", "; ")})
        except SpecError as error:
            refused.append({"task": task.name, "reason": str(error)})
    return placed, refused


def moves(before: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return {task, module, source, to} of modules that ran before and stop or run elsewhere, or are new in their task.

    `to` is None where a module stops, `source` where it is new; tasks that are new as a whole have not moved.
    """
    return [
        {"task": task, "module": module, "source": source, "to": to}
        for task in before
        for module in sorted({*before[task], *now.get(task, {})})
        if (source := before[task].get(module)) != (to := now.get(task, {}).get(module))
    ]


def _with_devices(task: Task, cut_off: Collection[str]) -> Task:
    """Return the task without candidates that are cut off; raises SpecError where none is left."""

    def usable(module: SelectorSpec | MonitorSpec, what: str) -> Any:
        if isinstance(module.at, str) or not set(module.at) & set(cut_off):
            return module
        left = tuple(device for device in module.at if device not in cut_off)
        if not left:
            raise SpecError(f"task {task.name}: {what}: at: {', '.join(module.at)}: cut off by links that are down")
        return dataclasses.replace(module, at=left)

    return dataclasses.replace(
        task, selector=usable(task.selector, "selector"), monitor=usable(task.monitor, "monitor")
    )


def _problem(spec: Spec, task: Task, routes: Routes) -> Problem:
    wrong = wrong_key(task)
    if wrong:
        raise SpecError(f"task {task.name}: monitor.key {wrong}")
    return problem_from_spec(dataclasses.replace(spec, tasks=(task,)), routes.topology)


def _placed(task: Task, modules: Mapping[str, str], routes: Routes) -> Placed:
    channels = Channels(task, routes, *place_of(task, modules))
    found = reaches(channels, routes)
    return Placed(task, modules, found, _kinds(found))


def _kinds(found: Sequence[Reach]) -> tuple[str, ...]:
    return tuple(
        kind
        for kind, needed in (
            ("tag", any(reach.by_tag for reach in found)),
            ("reverse tag", any(reach.by_reverse_tag for reach in found)),
            ("message", any(reach.by_message for reach in found)),
        )
        if needed
    )
