"""Fitting one task after the other into what is left: what all the simple algorithms share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from .choices import Amounts, Choices, close_enough
from .problem import Problem
from .search import Chosen, Configuration

Order = Callable[[int, int, Sequence[int]], Sequence[int]]
"""(task, module, devices) -> the devices in the order in which to try them."""

MOST_TRIES = 2000
"""Devices tried for one task before it counts as not fitting: a bound on the backtracking."""

SLACK = 1e-9


class Room:
    """What is left on every device while tasks are put in and taken out.

    `free` has the amounts, [resource][device]. Plain lists: single numbers of an array take ten times as long.
    """

    def __init__(self, problem: Problem, left: Amounts) -> None:
        self.problem = problem
        self.free: list[list[float]] = left.tolist()
        self.asks = [[(m.memory_entries, m.cpu_percent) for m in task.modules] for task in problem.tasks]
        self._close: dict[float, list[list[bool]]] = {}

    @property
    def left(self) -> Amounts:
        """What is left, shape (2, devices)."""
        return np.array(self.free)

    def put(self, task: int, module: int, device: int, sign: float = 1.0) -> None:
        """Put a module on a device (or, with sign -1, take it away)."""
        memory, cpu = self.asks[task][module]
        self.free[0][device] -= sign * memory
        self.free[1][device] -= sign * cpu

    def take(self, task: int, configuration: Configuration, sign: float = 1.0) -> None:
        """Put a task's modules on these devices (or, with sign -1, take them away)."""
        for module, device in enumerate(configuration):
            self.put(task, module, device, sign)

    def holds(self, task: int, module: int, device: int) -> bool:
        """Tell whether a module fits on a device now."""
        memory, cpu = self.asks[task][module]
        return memory <= self.free[0][device] + SLACK and cpu <= self.free[1][device] + SLACK

    def close(self, task: int) -> list[list[bool]]:
        """Return which pairs [selector's device][monitor's device] keep a task's latency bound."""
        bound = self.problem.tasks[task].max_latency_ms
        if bound not in self._close:
            self._close[bound] = close_enough(self.problem, self.problem.tasks[task]).tolist()
        return self._close[bound]


def fit(room: Room, task: int, choices: Choices, order: Order) -> Configuration | None:
    """Put one task in, module by module with backtracking; return where its modules are, or None."""
    modules = room.problem.tasks[task].modules
    close = room.close(task)
    selects = [module.role == "selector" for module in modules]
    taken: dict[int, int] = {}
    waiting = sorted(range(len(modules)), key=lambda m: (not selects[m], len(choices[m])))  # fewest choices first
    trying = [iter(order(task, waiting[0], choices[waiting[0]]))] if waiting else []
    tries = 0
    # no recursion: a task may have a module on each of thousands of devices
    while trying:
        module = waiting[len(trying) - 1]
        if module in taken:  # what came behind it found no place
            room.put(task, module, taken.pop(module), -1.0)
        for device in trying[-1]:
            tries += 1
            if tries > max(MOST_TRIES, 4 * len(modules)):
                break
            if room.holds(task, module, device) and close_to_all(taken, selects, close, module, device):
                taken[module] = device
                room.put(task, module, device)
                break
        if module not in taken:
            trying.pop()
        elif len(taken) == len(waiting):
            break
        else:
            following = waiting[len(trying)]
            trying.append(iter(order(task, following, choices[following])))
    return tuple(taken[m] for m in range(len(modules))) if len(taken) == len(modules) else None


def close_to_all(
    taken: dict[int, int], selects: list[bool], close: Sequence[Sequence[bool]], module: int, device: int
) -> bool:
    """Tell whether a module on a device is within the bound of all partners that are placed."""
    for other, where in taken.items():
        if selects[other] != selects[module]:
            source, target = (device, where) if selects[module] else (where, device)
            if not close[source][target]:
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
    free = room.free
    total = np.maximum(room.left, SLACK).tolist()

    def order(task: int, module: int, devices: Sequence[int]) -> Sequence[int]:
        asked = room.asks[task][module]
        asks = [(r, asked[r]) for r in (0, 1) if asked[r] > 0]
        if len(devices) == 1 or not asks:
            return devices
        return sorted(devices, key=lambda d: -min((free[r][d] - amount) / total[r][d] for r, amount in asks))

    return order
