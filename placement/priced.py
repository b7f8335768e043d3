"""Exact placement at scale: prices prove how much can run, a small program says which tasks, local search where.

1. Start from a greedy placement, or from the placement to keep.
2. Prices that are the same on all devices give a bound on the value of any placement (prices.py). Where latency
   bounds keep modules from devices, 4. comes next.
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
from dataclasses import dataclass, replace

from .anneal import anneal_value
from .choices import capacities
from .greedy import greedy_start
from .layout import Layout
from .neighbourhood import improve_near
from .pack import FREE, HARDER, HOME, STRICT, Manner, pack_tasks
from .prices import Cuts
from .running import choose_running
from .search import EPSILON, TIME, Search
from .second_aims import lower_moves_and_latency
from .settle import settle

FEW_TASKS = 300
"""Tasks up to which the integer program is soon asked, and tasks are exchanged while they are packed."""

VALUE_SHARE = 0.9
"""Share of the limits after which the value is left as it is, so that the second aims have some time."""

CHOICES = 6
"""Choices of tasks that are tried for a value, as long as the one before is proved not to fit."""

STARTS, KEPT_STARTS = 3, 10
"""Random starts to find places for a choice of tasks; near a placement to keep, all of them are made."""

NEAR_PARTS = 6
"""Small parts of a placement to keep that are placed anew where a step beyond it fails, or moves have a price."""

EFFORTS = (0.25, 0.5, 1.0, 2.0)
"""Lengths of the annealing runs where values have no steps."""


@dataclass(frozen=True, slots=True)
class Round:
    """One attempt at a value: how to pack, and the integer program's patience after that; 0 asks none."""

    manner: Manner
    patience: int | None


FEW_ROUNDS = (
    Round(replace(FREE, steps=100_000), 25),
    Round(FREE, 100),
    Round(replace(FREE, steps=2_000_000), None),
)
MANY_ROUNDS = (
    Round(STRICT, 0),
    Round(HARDER, 0),
    Round(replace(HARDER, steps=2_000_000), None),
)
KEPT_ROUNDS = (Round(HOME, 10), Round(replace(HOME, exchange=10), 100))


def priced(search: Search) -> None:
    """Search for the best placement by prices, local search and integer programs."""
    limits = search.time_limit_s, search.max_steps
    search.time_limit_s, search.max_steps = VALUE_SHARE * limits[0], VALUE_SHARE * limits[1]
    layout = most_value(search)
    search.time_limit_s, search.max_steps = limits
    lower_moves_and_latency(search, layout)  # 6.


def tasks_only(search: Search) -> None:
    """Search for the most value alone: latencies keep their bounds, and are else what they happen to be."""
    most_value(search)


def most_value(search: Search) -> Layout:
    """Do steps 1 to 5, and return the problem's layout."""
    greedy_start(search)  # 1.
    begun_s = search.elapsed_s
    layout = Layout.of(search, search.choices, capacities(search.problem)).tight()
    search.build_s += search.elapsed_s - begun_s
    cuts = Cuts(layout, search)
    if search.step:
        _with_steps(search, layout, cuts)
    else:
        _without_steps(search, layout, cuts)
    return layout


def _with_steps(search: Search, layout: Layout, cuts: Cuts) -> None:
    few = len(layout.runs) <= FEW_TASKS
    rounds = KEPT_ROUNDS if search.kept else FEW_ROUNDS if few else MANY_ROUNDS
    cuts.refine(alike=True)  # 2.
    if not few and not layout.latency_binds:  # where it does, hardly any placement reaches the bound of equal prices
        _reach(search, layout, cuts, search.bound, rounds[0].manner, 0, choices=1)  # 3.
    if not search.done:
        cuts.refine(alike=False)  # 4.
    number = 0
    while number < len(rounds) and not search.done and search.left_s:
        bound, now = search.bound, rounds[number]
        if not _reach(search, layout, cuts, bound, now.manner, 10 * (number + 1)) and search.bound == bound:
            settled = (
                (few or not search.kept)
                and now.patience != 0
                and settle(search, layout, cuts.best, bound, now.patience)
            )
            if number == 0 and not settled:
                _below(search, layout, cuts, now.manner)
        number = 0 if search.bound < bound else number + 1  # 5.


def _reach(
    search: Search, layout: Layout, cuts: Cuts, least: float, manner: Manner, run: int, choices: int = CHOICES
) -> bool:
    """Look for a placement of the value `least`; tighten the bound where it is proved that there is none."""
    for again in range(choices):
        if search.done or not search.left_s:
            return search.done
        running = choose_running(search, layout, cuts, least)
        if running.impossible:
            search.tighten(search.below(least))
        if running.tasks is None:
            return False
        reached = False
        for start in range(STARTS if not search.kept else KEPT_STARTS):
            seed = ((search.seed * 100 + run) * CHOICES + again) * KEPT_STARTS + start
            reached |= pack_tasks(search, layout, cuts.best, running.tasks, manner, seed)
            if reached and not search.kept:  # near a placement to keep, the start with the fewest moves counts
                break
        if reached:
            return True
        if again + 1 == choices or not cuts.exclude(running.tasks):
            return False
    return False


def _below(search: Search, layout: Layout, cuts: Cuts, manner: Manner) -> None:
    """Look for a good placement below the bound, near the placement to keep where there is one.

    Twice as many steps below each time, until a value is reached; then half-way between that and what failed.
    """
    if search.kept:
        improve_near(search, cuts.best, NEAR_PARTS)
    bound, failed, reached = search.bound, 0, 0
    while search.left_s:
        level = (failed + reached) // 2 if reached else max(1, 2 * failed)
        least = bound - level * search.step
        if level == failed or least <= search.score.value + EPSILON:
            return
        if _reach(search, layout, cuts, least, manner, level):
            reached = level
        else:
            failed = level


def _without_steps(search: Search, layout: Layout, cuts: Cuts) -> None:
    fits = math.inf  # the length of an annealing run that ends in time
    for alike in (True, False):
        cuts.refine(alike)
        if search.kept:
            improve_near(search, cuts.best, NEAR_PARTS)
            continue
        for run, effort in enumerate(EFFORTS):
            if search.done or not search.left_s:
                return
            begun_s, length = search.elapsed_s, min(effort, fits)
            if length < effort:
                search.cut(TIME)
            anneal_value(search, layout, cuts.best, length, search.seed * 100 + run)
            fits = effort * search.left_s / max(search.elapsed_s - begun_s, 1e-3)
    few = len(layout.runs) <= FEW_TASKS
    if not search.done and search.left_s and (few or not search.kept):
        settle(search, layout, cuts.best, search.score.value + EPSILON)
