"""Random order: the tasks in a random order, each on the first devices, in a random order, that hold it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .choices import capacities
from .fitting import Room, fit_all
from .search import Search


def random_order(search: Search) -> None:
    """Offer one random placement, drawn with the search's seed."""
    rng = np.random.default_rng(search.seed)
    room = Room(search.problem, capacities(search.problem))
    tasks = rng.permutation(len(search.problem.tasks)).tolist()

    def shuffled(task: int, module: int, devices: Sequence[int]) -> Sequence[int]:
        return rng.permutation(devices).tolist()

    search.offer(fit_all(room, tasks, search.choices, shuffled))
