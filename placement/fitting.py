"""Fitting one task after the other into what is left: what all the simple algorithms share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from .choices import Amounts, Choices, close_enough, demands
from .problem import Problem
from .search import Chosen, Configuration

Order = Callable[[int, int, Sequence[int]], Sequence[int]]
"""(task, module, devices) -> the devices in the order in which to try them."""

MOST_TRIES = 2000
"""Devices tried for one task before it counts as not fitting: a bound on the backtracking."""

SLACK = 1e-9


class Room:
    """What is left on every device, shape (2, devices), while tasks are put in and taken out."""

    def __init__(self, problem: Problem, left: Amounts) -> None:
        self.problem = problem
        self.left = left.copy()
        self.asks = [demands(task) for task in problem.tasks]

    def take(self, task: int, configuration: Configuration, sign: float = 1.0) -> None:
        """Put a task's modules on these devices (or, with sign -1, take them away)."""
        for asked, device in zip(self.asks[task], configuration, strict=True):
            self.left[:, device] -= sign * asked

    def holds(self, task: int, module: int, device: int) -> bool:
        """Tell whether a module fits on a device now."""
        asked = self.asks[task][module]
        left = self.left
        return bool(asked[0] <= left[0, device] + SLACK and asked[1] <= left[1, device] + SLACK)


def fit(room: Room, task: int, choices: Choices, order: Order) -> Configuration | None:
    """Put one task in, module by module with backtracking; return where its modules are, or None."""
    modules = room.problem.tasks[task].modules
    close = close_enough(room.problem, room.problem.tasks[task])
    selects = [module.role == "selector" for module in modules]
    taken: dict[int, int] = {}
    tries = 0

    def place(waiting: list[int]) -> bool:
        nonlocal tries
        if not waiting:
            return True
        module, rest = waiting[0], waiting[1:]
        for device in order(task, module, choices[module]):
            tries += 1
            if tries > MOST_TRIES:
                return False
            if room.holds(task, module, device) and close_to_all(taken, selects, close, module, device):
                asked = room.asks[task][module]
                taken[module] = device
                room.left[:, device] -= asked
                if place(rest):
                    return True
                room.left[:, device] += asked
                del taken[module]
        return False

    fewest_first = sorted(range(len(modules)), key=lambda m: (not selects[m], len(choices[m])))
    return tuple(taken[m] for m in range(len(modules))) if place(fewest_first) else None


def close_to_all(
    taken: dict[int, int], selects: list[bool], close: NDArray[np.bool_], module: int, device: int
) -> bool:
    """Tell whether a module on a device is within the bound of all partners that are placed."""
    for other, where in taken.items():
        if selects[other] != selects[module]:
            source, target = (device, where) if selects[module] else (where, device)
            if not close[source, target]:
                return False
    return True


def fit_all(room: Room, tasks: Iterable[int], choices: Sequence[Choices | None], order: Order) -> Chosen:
    """Put in as many of the tasks as fit, in this order."""
    chosen: Chosen = {}
    for task in tasks:
        options = choices[task]
        if options is not None:
            configuration = fit(room, task, options, order)
            if configuration is not None:
                chosen[task] = configuration
    return chosen


def emptiest_first(room: Room) -> Order:
    """Try the device first that has the largest share left after the module is there."""
    total = np.maximum(room.left, SLACK)

    def order(task: int, module: int, devices: Sequence[int]) -> Sequence[int]:
        if len(devices) == 1:
            return devices
        asked = room.asks[task][module]
        left = room.left

        def share(device: int) -> float:
            return (
                min((left[r, device] - asked[r]) / total[r, device] for r in (0, 1) if asked[r] > 0)
                if asked.any()
                else 0.0
            )

        return sorted(devices, key=lambda d: -share(d))

    return order
