"""An integer program for each task, in the order of the problem: best for the task, blind to the rest."""

from __future__ import annotations

import pulp

from .choices import capacities, task_choices
from .fitting import Room
from .model import PlacementModel
from .search import Chosen, Search
from .solvers import solve


def per_task(search: Search) -> None:
    """Place each task with the least latency that what is left allows, or leave it out for good."""
    room = Room(search.problem, capacities(search.problem))
    chosen: Chosen = {}
    for t, task in enumerate(search.problem.tasks):
        choices = task_choices(search.problem, task, room.left)
        if choices is None:
            continue
        begun_s = search.elapsed_s
        model = PlacementModel(search.problem, {t: choices}, room.left)
        model.program.sense = pulp.LpMinimize
        model.program.setObjective(model.latency())
        model.at_least(model.weight(), task.weight, "runs")
        search.build_s += search.elapsed_s - begun_s
        if solve(model.program, search).found:
            chosen |= model.chosen()
            room.take(t, chosen[t])
            search.offer(chosen)
        if not search.left_s:
            return
