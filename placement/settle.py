"""The integer program over what prices leave open: exact, and smaller than the whole."""

from __future__ import annotations

import math

import numpy as np

from .choices import Choices, capacities
from .layout import Layout
from .model import PlacementModel, possible
from .prices import Prices
from .search import EPSILON, Search
from .solvers import solve


def settle(search: Search, choices: list[Choices | None], layout: Layout, prices: Prices) -> None:
    """Decide what the prices leave open by one program over it; its optimum is proved to be the problem's.

    A better placement gains at least a step. What costs more than the gap between the bound and that is in no
    such placement: choices are left out, and tasks that gain more than the gap run in all of them.
    """
    gap = prices.bound - search.offset - (search.score.value + search.step) + EPSILON
    if gap < 0:
        search.tighten(search.score.value)
        return
    gain = np.maximum(layout.weight - prices.cheapest, 0.0)
    open_choices: list[Choices | None] = []
    for t, options in enumerate(choices):
        open_choices.append(None if options is None else _open(layout, prices, t, gain[t], gap))
    program = possible(open_choices)
    model = PlacementModel(search.problem, program, capacities(search.problem))
    for t in program:
        if gain[t] > gap:
            model.y[t].lowBound = 1
    stay = 0.5 * search.step / max(1, sum(len(before) for before in search.kept.values()))
    model.program.setObjective(model.value(search) + stay * model.stays(search))
    answer = solve(model.program, search)
    if answer.found:
        search.offer(model.chosen())
    if answer.proved:
        search.tighten(search.score.value)
    elif math.isfinite(answer.bound):
        search.tighten(max(answer.bound - search.offset, search.score.value))


def _open(layout: Layout, prices: Prices, t: int, gain: float, gap: float) -> Choices | None:
    """Return the choices of a task that a better placement may use; None where it cannot run in one."""
    options = []
    for m in range(layout.module_start[t], layout.module_start[t + 1]):
        here = range(layout.choice_start[m], layout.choice_start[m + 1])
        loss = [gain - (layout.weight[t] - prices.best[c]) for c in here]
        options.append(tuple(int(layout.device[c]) for c, lost in zip(here, loss, strict=True) if lost <= gap))
    return tuple(options) if all(options) else None
