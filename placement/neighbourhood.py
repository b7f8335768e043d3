"""Re-placing a small part of a placement by an integer program: the way to few moves."""

from __future__ import annotations

import numpy as np

from .choices import Choices, capacities
from .fitting import Room
from .model import PlacementModel
from .prices import Prices
from .search import EPSILON, Search
from .solvers import solve

FREED = 6
"""Running tasks that one program may move, in the first round; later rounds free more."""

IDLE = 6
"""Tasks that do not run, and cost the least for their weight, that it may run."""

STAY = 1e-3
"""Share of the smallest weight that a kept module is worth where it is: few moves decide between equal values."""


def improve_near(search: Search, prices: Prices, rounds: int) -> None:
    """Place random small parts of the best placement anew, until it is proved or `rounds` parts bring nothing.

    1. Free a few running tasks, and add the cheapest ones that do not run. 2. Place them anew in what the others
    leave, for the most value, and then the fewest moves.
    """
    rng = np.random.default_rng(search.seed)
    failed = 0
    while failed < rounds and not search.done and search.left_s:
        running = sorted(search.chosen)
        size = min(FREED * (1 + failed // 2), len(running))
        freed = [running[i] for i in rng.choice(len(running), size, replace=False)] if running else []  # 1.
        idle = [t for t, c in enumerate(search.choices) if c is not None and t not in search.chosen]
        idle.sort(key=lambda t: (prices.cheapest[t] / search.problem.tasks[t].weight, t))
        before = search.score.value
        _place_anew(search, {t: search.choices[t] or () for t in (*freed, *idle[:IDLE])})  # 2.
        failed = 0 if search.score.value > before + EPSILON else failed + 1


def _place_anew(search: Search, free: dict[int, Choices]) -> None:
    others = {t: c for t, c in search.chosen.items() if t not in free}
    room = Room(search.problem, capacities(search.problem))
    for t, configuration in others.items():
        room.take(t, configuration)
    model = PlacementModel(search.problem, free, room.left)
    stay = STAY * min(task.weight for task in search.problem.tasks)
    model.program.setObjective(model.value(search) + stay * model.stays(search))
    start = model.start({t: c for t, c in search.chosen.items() if t in free})
    model.at_least(model.value(search), _value(search, free) + EPSILON, "no_less")
    if solve(model.program, search, start=start).found:
        search.offer(others | model.chosen())


def _value(search: Search, free: dict[int, Choices]) -> float:
    """Return what the free tasks count in a model's value now."""
    running = [t for t in free if t in search.chosen]
    stays = sum(search.kept.get(t, {}).get(m) == d for t in running for m, d in enumerate(search.chosen[t]))
    return sum(search.problem.tasks[t].weight for t in running) + search.move_price * stays
