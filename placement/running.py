"""Which tasks run: an integer program over the tasks alone, without where their modules go.

Whatever the prices of memory and CPU, the tasks that run together cost at most what all capacity is worth. So
every prices that were tried (prices.py) give a row that all placements keep, and a few dozen of them say nearly
all that there is to say. What the modules of the chosen tasks need is then left to `pack.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pulp
from numpy.typing import NDArray

from .layout import Floats, Layout
from .prices import Cuts
from .search import EPSILON, Search
from .solvers import solve

NEAR = (0.02, 60.0)
"""Tasks whose gain is within 0.02 and 60 over the number of tasks (in mean weights) of 0 are left open."""

CLOSE_ENOUGH = 0.1
"""Share of the slack at which the program stops looking for more."""

KEPT_GAP = 1e-4
"""The same where tasks that run now shall go on: of all modules that do, less than one in most problems."""

PATIENCE = 300
"""Checks of the solver after which it stops (solvers.py)."""

KEPT_SLACK = 0.5
"""Share of the slack that is worth having when tasks that run now shall go on."""


@dataclass(frozen=True, slots=True)
class Running:
    """The tasks chosen (None: found none), and whether it is proved that no tasks of so much weight fit."""

    tasks: NDArray[np.int64] | None
    impossible: bool = False


def choose_running(search: Search, layout: Layout, cuts: Cuts, least: float) -> Running:
    """Choose tasks of the weight `least` that leave the most slack in all rows, or that run now where some do.

    1. Tasks that gain more than the gap between the bound and `least` run in every such placement; those that lose
    more, in none. 2. To be fast, tasks that gain or lose much are taken for decided too. 3. The program. Its proof
    that there are none holds when 2. decided nothing.
    """
    gain = np.where(layout.runs, layout.weight - cuts.best.cheapest, -math.inf)
    gap = cuts.best.bound - least + EPSILON  # 1.
    near = float(layout.weight.mean()) * (NEAR[0] + NEAR[1] / max(1, len(gain)))
    window = min(gap, near)  # 2.
    sure = gain > window
    program, slack = pulp.LpProblem("running", pulp.LpMaximize), pulp.LpVariable("slack")
    open_tasks = np.flatnonzero(np.abs(gain) <= window)
    y = {int(t): program.add_variable(f"y_{t}", 0, 1, pulp.LpInteger) for t in open_tasks}
    _add_rows(program, slack, y, sure, layout.weight, cuts.rows, least)
    program.setObjective(_aim(search, layout, cuts, slack, y, gap))
    answer = solve(program, search, patience=PATIENCE, gap=KEPT_GAP if search.kept else CLOSE_ENOUGH)  # 3.
    impossible = answer.proved and not answer.found
    if answer.found and slack.varValue >= -EPSILON:
        chosen = [t for t, v in y.items() if v.varValue > 0.5]
        return Running(np.concatenate([np.flatnonzero(sure), chosen]).astype(np.int64))
    if answer.found and not search.kept:
        impossible = answer.bound < -EPSILON
    return Running(None, impossible and window == gap)


def _add_rows(
    program: pulp.LpProblem,
    slack: pulp.LpVariable,
    y: dict[int, pulp.LpVariable],
    sure: NDArray[np.bool_],
    weight: Floats,
    rows: list[tuple[float, Floats]],
    least: float,
) -> None:
    terms = [(v, float(weight[t])) for t, v in y.items()]
    program.addConstraint(_row(terms, pulp.LpConstraintGE, "weight", least - EPSILON - float(weight[sure].sum())))
    for k, (worth, cost) in enumerate(rows):
        if worth > 0:
            terms = [(v, float(cost[t]) / worth) for t, v in y.items()]
            left = 1 - float(cost[sure].sum()) / worth
            program.addConstraint(_row([*terms, (slack, 1.0)], pulp.LpConstraintLE, f"worth_{k}", left))


def _row(terms: list[tuple[pulp.LpVariable, float]], sense: int, name: str, right: float) -> pulp.LpConstraint:
    return pulp.LpConstraint(pulp.LpAffineExpression(terms), sense, name, right)


def _aim(
    search: Search, layout: Layout, cuts: Cuts, slack: pulp.LpVariable, y: dict[int, pulp.LpVariable], gap: float
) -> pulp.LpAffineExpression:
    """Return slack as the aim; where a placement is kept, some slack, and the modules of tasks that run now."""
    if not search.kept:
        return pulp.LpAffineExpression([(slack, 1.0)])
    slack.lowBound = 0
    slack.upBound = max(KEPT_SLACK * gap / max(cuts.rows[-1][0], EPSILON), EPSILON)
    modules = np.diff(layout.module_start)
    stays = [(v, float(modules[t])) for t, v in y.items() if t in search.kept]
    return pulp.LpAffineExpression([(slack, 2.0 * float(modules.mean()) / slack.upBound), *stays])
