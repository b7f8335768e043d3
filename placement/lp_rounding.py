"""LP rounding: solve the relaxed program, then fit the tasks in, those first that it runs most of."""

from __future__ import annotations

from collections.abc import Sequence

from .choices import capacities
from .fitting import Room, fit_all
from .model import PlacementModel, possible
from .search import Search
from .solvers import solve


def lp_rounding(search: Search) -> None:
    """Offer the rounded relaxation, and its optimum as the bound."""
    problem = search.problem
    begun_s = search.elapsed_s
    choices = search.choices
    model = PlacementModel(problem, possible(choices), capacities(problem))
    model.program.setObjective(model.value(search))
    search.build_s += search.elapsed_s - begun_s
    answer = solve(model.program, search, relaxed=True)
    if not answer.found:
        return
    search.tighten(answer.bound - search.offset)
    share = {t: y.varValue or 0.0 for t, y in model.y.items()}

    def most_first(task: int, module: int, devices: Sequence[int]) -> Sequence[int]:
        x = model.x[task][module]
        return sorted(devices, key=lambda d: -(x[d].varValue or 0.0))

    tasks = sorted(share, key=lambda t: (-share[t], t))
    search.offer(fit_all(Room(problem, capacities(problem)), tasks, choices, most_first))
