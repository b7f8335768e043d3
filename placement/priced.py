"""Exact placement at scale: prices prove how much can run, a small program says which tasks, local search where.

1. Start from a greedy placement, or from the placement to keep.
2. Prices that are the same on all devices give a bound on the value of any placement (prices.py).
3. An integer program over the tasks alone chooses tasks that reach the bound (running.py), and local search looks for
   places for their modules (pack.py). A placement that reaches the bound is proved optimal.
4. Else prices for each device make the bound tighter, and 3. is repeated, also for a little less than the bound.
5. Else an integer program decides over what is left open: a choice whose reduced cost is more than the gap between the
   bound and its prices is in no placement that reaches the bound (settle.py). Where there is none, the next lower
   value is tried, from 3.
6. At that value, fewer moves and less latency (second_aims.py).

Near a placement to keep, 3. starts from there, and small parts are placed anew where that fails (neighbourhood.py).
Weights that are not multiples of a common step, and moves that have a price, leave no next lower value: then
annealing looks for placements (anneal.py), and 5. is asked for one that is better.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import pulp

from .anneal import anneal_value
from .bilp import aim
from .choices import capacities
from .greedy import greedy_start
from .layout import Layout
from .model import PlacementModel, possible
from .neighbourhood import improve_near
from .pack import FREE, HOME, STRICT, Manner, pack_tasks
from .prices import Cuts
from .running import choose_running
from .search import EPSILON, Search
from .second_aims import lower_moves_and_latency
from .settle import settle

FEW_TASKS = 300
"""Tasks up to which the integer program is soon asked, and tasks are exchanged while they are packed."""

LEVELS = 6
"""Values below the bound that are tried for a good answer, before the bound itself is decided."""

KEPT_RUNS = 8
"""Runs near a placement to keep: the one with the fewest moves counts."""

KEPT_ROUNDS = 6
"""Small parts of a placement to keep that are placed anew where no run reaches the bound."""

EFFORTS = (0.25, 0.5, 1.0, 2.0)
"""Lengths of the annealing runs where values have no steps."""


@dataclass(frozen=True, slots=True)
class Round:
    """One attempt at a value: how to pack, and for how long the integer program may decide after that."""

    manner: Manner
    settle_s: float


FEW_ROUNDS = (
    Round(replace(FREE, steps=100_000), 0.5),
    Round(FREE, 4.0),
    Round(replace(FREE, steps=2_000_000), math.inf),
)
MANY_ROUNDS = (
    Round(STRICT, 0.0),
    Round(replace(STRICT, steps=1_000_000, exchange=10), 0.0),
    Round(replace(STRICT, steps=3_000_000), math.inf),
)


def priced(search: Search) -> None:
    """Search for the best placement by prices, local search and integer programs."""
    greedy_start(search)  # 1.
    begun_s = time.monotonic()
    layout = Layout.of(search, search.choices, capacities(search.problem)).tight()
    search.build_s += time.monotonic() - begun_s
    cuts = Cuts(layout, search)
    if not search.step:
        _without_steps(search, layout, cuts)
    elif search.kept:
        _near_kept(search, layout, cuts)
    else:
        _from_scratch(search, layout, cuts)
    lower_moves_and_latency(search, layout, cuts.best)  # 6.


def _from_scratch(search: Search, layout: Layout, cuts: Cuts) -> None:
    few = len(layout.runs) <= FEW_TASKS
    cuts.refine(alike=True)  # 2.
    if not few:
        _reach(search, layout, cuts, search.bound, STRICT, 0)  # 3.
    if not search.done:
        cuts.refine(alike=False)  # 4.
    rounds = FEW_ROUNDS if few else MANY_ROUNDS
    number = 0
    while number < len(rounds) and not search.done and search.left_s:
        bound, now = search.bound, rounds[number]
        if not _reach(search, layout, cuts, bound, now.manner, 10 * (number + 1)):
            settled = search.bound < bound or (now.settle_s and settle(search, layout, cuts.best, bound, now.settle_s))
            if number == 0 and not settled:
                _below(search, layout, cuts, STRICT if not few else FREE)
        number = 0 if search.bound < bound else number + 1  # 5.


def _reach(search: Search, layout: Layout, cuts: Cuts, least: float, manner: Manner, run: int) -> bool:
    """Look for a placement of the value `least`; tighten the bound where it is proved that there is none."""
    if search.done or not search.left_s:
        return search.done
    running = choose_running(search, layout, cuts, least)
    if running.impossible:
        search.tighten(least - search.step)
    if running.tasks is None:
        return False
    return pack_tasks(search, layout, cuts.best, running.tasks, manner, search.seed * 100 + run)


def _below(search: Search, layout: Layout, cuts: Cuts, manner: Manner) -> None:
    """Look for a good placement a few steps below the bound."""
    for level in range(1, LEVELS):
        least = search.bound - level * search.step
        if least <= search.score.value + EPSILON or _reach(search, layout, cuts, least, manner, level):
            return


def _near_kept(search: Search, layout: Layout, cuts: Cuts) -> None:
    for alike in (True, False):
        if not search.done:
            cuts.refine(alike)
    if not search.done:
        reached = [_reach(search, layout, cuts, search.bound, HOME, run) for run in range(1)]
        if reached[0]:
            for run in range(1, KEPT_RUNS):
                _again(search, layout, cuts, run)
        else:
            improve_near(search, cuts.best, KEPT_ROUNDS)
    _settle_few(search)


def _again(search: Search, layout: Layout, cuts: Cuts, run: int) -> None:
    running = choose_running(search, layout, cuts, search.score.value)
    if running.tasks is not None and search.left_s:
        pack_tasks(search, layout, cuts.best, running.tasks, HOME, search.seed * 100 + run)


def _settle_few(search: Search) -> None:
    if search.left_s and not search.done and len(search.problem.tasks) <= FEW_TASKS:
        model = PlacementModel(search.problem, possible(search.choices), capacities(search.problem))
        aim(search, model, model.value(search), pulp.LpMaximize, most=True)


def _without_steps(search: Search, layout: Layout, cuts: Cuts) -> None:
    fits = math.inf  # the length of an annealing run that ends in time
    for alike in (True, False):
        cuts.refine(alike)
        if search.kept:
            improve_near(search, cuts.best, KEPT_ROUNDS)
            continue
        for run, effort in enumerate(EFFORTS):
            if search.done or not search.left_s:
                return
            begun_s = time.monotonic()
            anneal_value(search, layout, cuts.best, min(effort, fits), search.seed * 100 + run)
            fits = effort * search.left_s / max(time.monotonic() - begun_s, 1e-3)
    _settle_few(search)
    if not search.done and search.left_s and not search.kept:
        settle(search, layout, cuts.best, search.score.value + EPSILON)
