"""Greedy by size: the tasks of the most weight for what they ask for first, each on the emptiest devices."""

from __future__ import annotations

import numpy as np

from .choices import all_choices, capacities
from .fitting import Room, emptiest_first, fit_all
from .problem import Problem
from .search import Search


def greedy(search: Search) -> None:
    """Offer the greedy placement."""
    room = Room(search.problem, capacities(search.problem))
    tasks = by_size(search.problem)
    search.offer(fit_all(room, tasks, all_choices(search.problem), emptiest_first(room)))


def greedy_start(search: Search) -> None:
    """Offer the placement to keep, with what fits beside it, and the greedy one."""
    problem = search.problem
    if search.kept:
        room = Room(problem, capacities(problem))
        choices = all_choices(problem)
        chosen = {}
        for task, before in search.kept.items():
            options = choices[task]
            where = tuple(before.get(m, -1) for m in range(len(problem.tasks[task].modules)))
            if options and all(d in o for d, o in zip(where, options, strict=True)):
                alone = tuple((d,) for d in where)
                if fit_all(room, [task], {task: alone}, lambda t, m, d: d):  # type: ignore[arg-type]
                    chosen[task] = where
        rest = [t for t in by_size(problem) if t not in chosen]
        search.offer(chosen | fit_all(room, rest, choices, emptiest_first(room)))
    greedy(search)


def by_size(problem: Problem) -> list[int]:
    """Return the tasks' positions by the share of all resources that they ask for, over their weight."""
    total = np.maximum(capacities(problem).sum(axis=1), 1e-9)
    sizes = [
        sum(m.memory_entries for m in t.modules) / total[0] + sum(m.cpu_percent for m in t.modules) / total[1]
        for t in problem.tasks
    ]
    return sorted(range(len(sizes)), key=lambda t: (sizes[t] / problem.tasks[t].weight, t))
