"""Exact placement at scale: prices prove how much can run, annealing finds it, a program settles the rest.

1. Start from a greedy placement, from the rounded relaxation where it is small, or from the placement to keep.
2. Prices that are the same on all devices give a bound on the value of any placement (prices.py).
3. Annealing looks for a placement that reaches the bound (anneal.py): then it is proved optimal.
   Near a placement to keep, small parts of it are placed anew instead (neighbourhood.py).
4. Else prices for each device make the bound tighter, and 3. is repeated.
5. Else a binary program decides: for few tasks the whole; for many the one over what is left open. A choice
   whose reduced cost is more than the gap between the bound and a better placement is in no such placement.
6. At that value, fewer moves and less latency (second_aims.py).
"""

from __future__ import annotations

import math
import time

import pulp

from .anneal import anneal_value
from .bilp import aim
from .choices import Choices, all_choices, capacities
from .greedy import greedy_start
from .layout import Layout
from .lp_rounding import lp_rounding
from .model import PlacementModel, possible
from .neighbourhood import improve_near
from .prices import Cuts, Prices
from .search import Search
from .second_aims import lower_moves_and_latency
from .settle import settle

ROUNDED_TASKS = 300
"""Tasks up to which the relaxation is solved for a start: above, annealing is sooner there."""

EFFORTS = ((0.25, 1.0), (0.5, 1.0, 2.0, 4.0, 8.0))
"""Lengths of the annealing runs after the first prices, and after those for each device."""

SMALL_EFFORTS = ((0.25,), ())
"""The same where the integer program is soon done itself."""

KEPT_ROUNDS = 6
"""Small parts of a placement to keep that are placed anew, instead of annealing, after each kind of prices."""


def priced(search: Search) -> None:
    """Search for the best placement by prices, annealing and an integer program."""
    greedy_start(search)  # 1.
    if len(search.problem.tasks) <= ROUNDED_TASKS and not search.kept:
        lp_rounding(search)
    begun_s = time.monotonic()
    choices = all_choices(search.problem)
    layout = Layout.of(search, choices, capacities(search.problem))
    search.build_s += time.monotonic() - begun_s
    prices = _most_value(search, choices, layout)
    lower_moves_and_latency(search, choices, layout, prices)  # 6.


def _most_value(search: Search, choices: list[Choices | None], layout: Layout) -> Prices:
    cuts = Cuts(layout, search)
    fits = math.inf  # the length of an annealing run that ends in time
    small = len(search.problem.tasks) <= ROUNDED_TASKS
    for alike, efforts in zip((True, False), SMALL_EFFORTS if small else EFFORTS, strict=True):
        cuts.refine(alike)  # 2., 4.
        if search.kept:
            improve_near(search, choices, cuts.best, KEPT_ROUNDS)
            continue
        for run, effort in enumerate(efforts):  # 3.
            if search.done or not search.left_s:
                return cuts.best
            begun_s = time.monotonic()
            anneal_value(search, layout, cuts.best, min(effort, fits), search.seed * 100 + run)
            fits = effort * search.left_s / max(time.monotonic() - begun_s, 1e-3)
    if search.done or not search.left_s:
        return cuts.best
    if small:
        model = PlacementModel(search.problem, possible(choices), capacities(search.problem))
        aim(search, model, model.value(search), pulp.LpMaximize, most=True)
    elif not search.kept:
        settle(search, choices, layout, cuts.best)  # 5.
    return cuts.best
