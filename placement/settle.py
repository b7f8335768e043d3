"""The integer program over what prices leave open: exact, and smaller than the whole."""

from __future__ import annotations

import math

import numpy as np
import pulp

from .choices import Choices
from .layout import Layout
from .model import PlacementModel, possible
from .prices import Prices
from .search import EPSILON, Search
from .solvers import solve


def settle(search: Search, layout: Layout, prices: Prices, least: float, patience: int | None = None) -> bool:
    """Find the placement of most value among those of at least `least`, or prove that there is none.

    What costs more than the gap between the bound and `least` is in no such placement: choices are left out, and tasks
    that gain more than the gap run in all of them. Returns whether it came to an end (`patience` as in solvers.py).
    """
    gap = prices.bound - search.offset - least + EPSILON
    gain = np.maximum(layout.weight - prices.cheapest, 0.0)
    open_choices: list[Choices | None] = []
    for t, options in enumerate(search.choices):
        open_choices.append(None if options is None else _open(layout, prices, t, gain[t], gap))
    program = possible(open_choices)
    model = PlacementModel(search.problem, program, layout.capacity)
    for t in program:
        if gain[t] > gap:
            model.y[t].lowBound = 1
    value = model.value(search)
    stay = 0.5 * search.step / max(1, sum(len(before) for before in search.kept.values()))
    model.program.setObjective(value + stay * model.stays(search) if stay and search.kept else value)
    model.at_least(value, least + search.offset, "least")
    answer = solve(model.program, search, patience=patience)
    found = -math.inf
    if answer.found:
        found = float(pulp.value(value)) - search.offset
        search.offer(model.chosen())
    if answer.proved:
        search.tighten(max(found, search.below(least), search.score.value))
    return answer.proved


def _open(layout: Layout, prices: Prices, t: int, gain: float, gap: float) -> Choices | None:
    """Return the choices of a task that such a placement may use; None where it cannot run in one."""
    options = []
    for m in range(layout.module_start[t], layout.module_start[t + 1]):
        here = range(layout.choice_start[m], layout.choice_start[m + 1])
        loss = [gain - (layout.weight[t] - prices.best[c]) for c in here]
        options.append(tuple(int(layout.device[c]) for c, lost in zip(here, loss, strict=True) if lost <= gap))
    return tuple(options) if all(options) else None
