"""MAM, Maximize Allocated Modules: the baseline that places modules and does not know that a task needs all.

The paper's slides give its name and result only. Two readings, both here: an exact program over all modules,
and a greedy allocation module by module. In both, what counts in the end is the tasks that happen to be
complete; the modules of the others keep their memory and CPU for nothing. Two modules of one task keep its
latency bound where both are placed.
"""

from __future__ import annotations

import pulp

from .choices import Choices, capacities
from .fitting import Room, close_to_all, emptiest_first
from .model import PlacementModel
from .problem import Problem
from .search import EPSILON, Search
from .solvers import solve

Modules = dict[int, dict[int, int]]
"""Task -> module -> device, by position; not every module need be there."""


def mam(search: Search) -> None:
    """Search for the placement of the most modules, then offer the tasks that are complete in it."""
    problem = search.problem
    begun_s = search.elapsed_s
    model = PlacementModel(problem, _alone(problem), capacities(problem), whole=False)
    model.program.setObjective(model.modules())
    search.build_s += search.elapsed_s - begun_s
    if solve(model.program, search).found:
        found = {t: _placed(x) for t, x in model.x.items()}
        offer_complete(search, found)


def mam_greedy(search: Search) -> None:
    """Place the modules that ask for the least first, whatever their task, each on its emptiest device."""
    problem = search.problem
    room = Room(problem, capacities(problem))
    order, choices = emptiest_first(room), _alone(problem)
    total = room.left.sum(axis=1) + EPSILON
    waiting = [(t, m) for t, task in enumerate(problem.tasks) for m in range(len(task.modules))]
    waiting.sort(key=lambda tm: float((room.asks[tm[0]][tm[1]] / total).sum()))
    found: Modules = {t: {} for t in choices}
    for t, m in waiting:
        selects = [module.role == "selector" for module in problem.tasks[t].modules]
        for d in order(t, m, choices[t][m]):
            if room.holds(t, m, d) and close_to_all(found[t], selects, room.close(t), m, d):
                room.put(t, m, d)
                found[t][m] = d
                break
    offer_complete(search, found)


def _alone(problem: Problem) -> dict[int, Choices]:
    """Return the devices of every module for itself; a module that none can hold has none."""
    index, room = problem.index, capacities(problem)
    return {
        t: tuple(
            tuple(
                d
                for d in map(index.__getitem__, module.candidates)
                if module.memory_entries <= room[0, d] and module.cpu_percent <= room[1, d]
            )
            for module in task.modules
        )
        for t, task in enumerate(problem.tasks)
    }


def _placed(x: list[dict[int, pulp.LpVariable]]) -> dict[int, int]:
    """Return the devices of the modules of one task that a solved model has placed."""
    return {m: d for m, devices in enumerate(x) for d, v in devices.items() if (v.varValue or 0.0) > 0.5}


def offer_complete(search: Search, found: Modules) -> None:
    """Offer the tasks whose modules are all there, and note the modules of the others."""
    sizes = {t: len(search.problem.tasks[t].modules) for t in found}
    complete = {t: tuple(w[m] for m in range(sizes[t])) for t, w in found.items() if len(w) == sizes[t]}
    search.offer(complete)
    search.partial = {t: w for t, w in found.items() if w and t not in complete}
