"""The placement that runs now: reading it, and what moves when it is left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import PlacementError
from .problem import Problem, read_json
from .result import Assignment, Move
from .search import Chosen, Kept, moves

GONE = -1
"""Position of a device that a kept module ran on and that the problem does not have any more."""


def load_kept(path: str | Path) -> Assignment:
    """Read a placement {task: {module: device}}, or a JSON output of `mozart place` that has one.

    Raises PlacementError naming what is wrong with the file.
    """
    document = read_json(path, "placement")
    if isinstance(document, dict) and "rows" in document and "placement" in document:
        document = document["placement"]
    _refuse_other(document, path)
    return document


def _refuse_other(document: Any, path: str | Path) -> None:
    wanted = 'a placement is {"task": {"module": "device"}}'
    if not isinstance(document, dict):
        raise PlacementError(f"{path}: {wanted}")
    for task, modules in document.items():
        if not isinstance(modules, dict) or not all(isinstance(d, str) for d in modules.values()):
            raise PlacementError(f"{path}: task {task}: {wanted}")


def positions(problem: Problem, kept: Assignment) -> Kept:
    """Return a placement by positions, without tasks and modules that the problem no longer has."""
    tasks = {task.name: t for t, task in enumerate(problem.tasks)}
    found: dict[int, Mapping[int, int]] = {}
    for name, devices in kept.items():
        if name in tasks:
            modules = problem.tasks[tasks[name]].modules
            found[tasks[name]] = {
                m: problem.index.get(devices[module.name], GONE)
                for m, module in enumerate(modules)
                if module.name in devices
            }
    return found


def named_moves(problem: Problem, kept: Assignment, where: Kept, chosen: Chosen) -> tuple[Move, ...]:
    """Return the kept modules that stop or run elsewhere, by name."""
    found = []
    for t, m, _, now in moves(where, chosen):
        task = problem.tasks[t]
        module = task.modules[m].name
        to = None if now is None else problem.devices[now].name
        found.append(Move(task.name, module, kept[task.name][module], to))
    return tuple(found)
