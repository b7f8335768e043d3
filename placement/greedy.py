"""Greedy by size: the tasks of the most weight for what they ask for first, each on the emptiest devices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .choices import Choices, capacities
from .fitting import Room, emptiest_first, fit_all
from .problem import Problem
from .search import Search


def greedy(search: Search) -> None:
    """Offer the greedy placement."""
    room = Room(search.problem, capacities(search.problem))
    tasks = by_size(search.problem)
    search.offer(fit_all(room, tasks, search.choices, emptiest_first(room)))


def greedy_start(search: Search) -> None:
    """Offer the greedy placement, or the placement to keep with what fits beside it.

    1. What runs and can go on stays. 2. What ran and cannot goes on with as many modules as possible where they
    were; 3. then the others, greedily.
    """
    if not search.kept:
        greedy(search)
        return
    problem = search.problem
    room, choices = Room(problem, capacities(problem)), search.choices
    emptiest = emptiest_first(room)

    def kept_first(task: int, module: int, devices: Sequence[int]) -> Sequence[int]:
        before = search.kept.get(task, {}).get(module)
        rest = [d for d in emptiest(task, module, devices) if d != before]
        return [before, *rest] if before is not None and before in devices else rest

    tasks = by_size(problem)
    stays = {t: _where_it_was(search, t, choices[t]) for t in search.kept}
    whole = [t for t in tasks if stays.get(t)]
    chosen = fit_all(room, whole, [stays.get(t) for t in range(len(tasks))], kept_first)  # 1.
    for group in ([t for t in tasks if t in search.kept], tasks):  # 2., 3.
        chosen |= fit_all(room, [t for t in group if t not in chosen], choices, kept_first)
    search.offer(chosen)


def _where_it_was(search: Search, task: int, choices: Choices | None) -> Choices | None:
    """Return the kept devices of a task as its only choices; None where one of them is none any more."""
    before = search.kept[task]
    if choices is None or any(before.get(m) not in devices for m, devices in enumerate(choices)):
        return None
    return tuple((before[m],) for m in range(len(choices)))


def by_size(problem: Problem) -> list[int]:
    """Return the tasks' positions by the share of all resources that they ask for, over their weight."""
    total = np.maximum(capacities(problem).sum(axis=1), 1e-9)
    sizes = [
        sum(m.memory_entries for m in t.modules) / total[0] + sum(m.cpu_percent for m in t.modules) / total[1]
        for t in problem.tasks
    ]
    return sorted(range(len(sizes)), key=lambda t: (sizes[t] / problem.tasks[t].weight, t))
