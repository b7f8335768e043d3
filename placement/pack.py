"""Places for the modules of given tasks: from the choices that cost the least, until no device has too much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .choices import Choices, capacities
from .fitting import Room, emptiest_first, fit_all
from .layout import Floats, Layout
from .pack_kernels import pack
from .prices import Prices
from .search import Search

DEAR = (0.05, 1000.0)
"""Choices are left out that cost more than the cheapest by 0.05 (in mean weights), or for few tasks by as much more as
1,000 is more than the number of tasks: in a placement that reaches the bound there is hardly one."""

TRIES = 8
"""Modules of another device that a module is tried against."""

LEAST_PRICE = (0.3, 0.1)
"""A price is at least this share of the highest, and of a mean weight for a mean module, where overload is weighed."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How to pack: steps, how many of 100 exchange a task, how much dearer overload is than load, and the heat."""

    steps: int
    exchange: int
    dear: float
    hot: float
    cold: float


STRICT = Manner(200_000, 0, 10.0, 0.03, 0.001)
HARDER = Manner(400_000, 0, 30.0, 0.1, 0.003)
"""For many tasks: the tasks are right, and small steps find the places."""

FREE = Manner(400_000, 30, 3.0, 0.3, 0.03)
"""For few tasks, where other tasks of the same weight may fit better."""

HOME = Manner(100_000, 0, 10.0, 0.01, 0.001)
"""Near a placement to keep."""

STAY = 0.2
"""What a module is worth where it is, in mean weights, near a placement to keep."""


def pack_tasks(
    search: Search, layout: Layout, prices: Prices, running: NDArray[np.int64], manner: Manner, seed: int
) -> bool:
    """Look for places for the running tasks (or others of the same weight); offer them, and tell whether all fit.

    1. Dear choices are left out. 2. A module starts where it is kept, else at a cheapest choice. 3. Local search.
    """
    task = layout.task_of_module[layout.module_of_choice]
    unit_weight = float(layout.weight.mean())
    limit = max(DEAR[0], min(prices.bound - search.score.value, DEAR[0] * DEAR[1] / len(layout.runs))) * unit_weight
    allowed = (prices.best - prices.cheapest[task] <= limit) | (layout.bonus > 0)  # 1.
    near = layout.limited_to(allowed)
    places = _start(layout, prices, allowed, running)  # 2.
    gain = near.weight - prices.cheapest
    idle = near.runs & (gain > -limit)
    idle[running] = False
    chosen = running.copy()
    steps = search.allowed(manner.steps, search.steps_a_second)
    begun_s = search.elapsed_s
    over = pack(
        near.weight,
        near.bound_ms,
        *near.modules,
        near.bonus * STAY * unit_weight,
        near.latency_ms,
        near.capacity,
        prices.unit,
        manner.dear * _least_prices(layout, prices, unit_weight),
        chosen,
        np.flatnonzero(idle),
        places,
        steps,
        TRIES,
        manner.exchange,
        manner.hot * unit_weight,
        manner.cold * unit_weight,
        seed,
    )  # 3.
    if over == 0:
        search.offer(near.chosen(places))
    elif over < math.inf:
        search.steps_a_second = max(1.0, steps / max(search.elapsed_s - begun_s, 1e-3))
        search.offer(trimmed(search, near.chosen(places)))
    return bool(over == 0)


def _start(layout: Layout, prices: Prices, allowed: NDArray[np.bool_], running: NDArray[np.int64]) -> NDArray[np.int32]:
    places = np.where(np.isin(layout.task_of_module, running), prices.pick, -1)
    kept = np.flatnonzero(layout.bonus)
    module = layout.module_of_choice[kept]
    here = places[module] >= 0
    places[np.isin(layout.task_of_module, layout.task_of_module[module])] = -1  # without its old place: looked for
    places[module[here]] = kept[here]
    return np.where(places >= 0, np.cumsum(allowed)[places] - 1, -1).astype(np.int32)


def _least_prices(layout: Layout, prices: Prices, unit_weight: float) -> Floats:
    highest = prices.unit.max(axis=1, initial=0.0)
    mean = np.maximum(layout.ask.mean(axis=0), 1e-9)
    return np.maximum(prices.unit, np.maximum(LEAST_PRICE[0] * highest, LEAST_PRICE[1] * unit_weight / mean)[:, None])


def trimmed(search: Search, chosen: dict[int, tuple[int, ...]]) -> dict[int, tuple[int, ...]]:
    """Return a placement that is over the capacity made to fit: without some tasks, and with those that fit then.

    Of the tasks on a device with too much, the one goes that asks for the most of it for its weight.
    """
    problem = search.problem
    room = Room(problem, capacities(problem))
    left = dict(chosen)
    for t, configuration in left.items():
        room.take(t, configuration)
    for r, d in np.argwhere(room.left < -1e-9).tolist():
        there = {t: sum(room.asks[t][m][r] for m, e in enumerate(c) if e == d) for t, c in left.items() if d in c}
        for t in sorted(there, key=lambda t: -there[t] / problem.tasks[t].weight):
            if room.free[r][d] >= -1e-9:
                break
            room.take(t, left.pop(t), -1.0)
    idle = sorted(set(range(len(problem.tasks))) - set(left))
    options: Sequence[Choices | None] = search.choices
    return left | fit_all(room, idle, options, emptiest_first(room))
