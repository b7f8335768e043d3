"""A placement problem as flat arrays, for the kernels.

Modules are numbered through all tasks, choices (a module on a device) through all modules. The modules and
choices of a task, and the choices of a module, are neighbours, so starts say where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .choices import ROUNDING, Choices, demands
from .search import Chosen, Search

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]

PARTS = 1000
"""Amounts are compared in thousandths where they have to be whole numbers."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The arrays; a task that cannot run has modules without choices, and `runs` false."""

    runs: NDArray[np.bool_]
    weight: Floats
    bound_ms: Floats
    module_start: Ints
    selects: NDArray[np.bool_]
    ask: Floats
    choice_start: Ints
    device: Ints
    bonus: Floats
    latency_ms: Floats
    capacity: Floats

    @classmethod
    def of(cls, search: Search, choices: Sequence[Choices | None], capacity: Floats) -> Layout:
        """Lay out a search's problem over the devices that modules may use; `capacity` is (2, devices)."""
        tasks = search.problem.tasks
        modules = [module for task in tasks for module in task.modules]
        options = [o for task, c in zip(tasks, choices, strict=True) for o in (c or ((),) * len(task.modules))]
        kept = [search.kept.get(t, {}).get(m) for t, task in enumerate(tasks) for m in range(len(task.modules))]
        return cls(
            runs=np.array([c is not None for c in choices], bool),
            weight=np.array([t.weight for t in tasks], float),
            bound_ms=np.array([t.max_latency_ms * (1 + ROUNDING) for t in tasks], float),
            module_start=_starts([len(t.modules) for t in tasks]),
            selects=np.array([m.role == "selector" for m in modules], bool),
            ask=np.concatenate([demands(t) for t in tasks]) if tasks else np.zeros((0, 2)),
            choice_start=_starts([len(o) for o in options]),
            device=np.array([d for o in options for d in o], np.int32),
            bonus=np.array([float(d == k) for o, k in zip(options, kept, strict=True) for d in o], float),
            latency_ms=np.ascontiguousarray(search.problem.latency_ms),
            capacity=np.ascontiguousarray(capacity),
        )

    @property
    def modules(self) -> tuple[Ints, NDArray[np.bool_], Floats, Ints, Ints]:
        """What kernels take of modules and choices, in the order in which they take it."""
        return self.module_start, self.selects, self.ask, self.choice_start, self.device

    @property
    def task_of_module(self) -> Ints:
        """The task of every module, shape (modules,)."""
        return np.repeat(np.arange(len(self.runs), dtype=np.int32), np.diff(self.module_start))

    @property
    def module_of_choice(self) -> Ints:
        """The module of every choice, shape (choices,)."""
        return np.repeat(np.arange(len(self.selects), dtype=np.int32), np.diff(self.choice_start))

    @property
    def latency_binds(self) -> bool:
        """Whether some task may not have its modules any distance apart."""
        return bool(self.bound_ms.min(initial=np.inf) < self.latency_ms.max(initial=0.0))

    def tight(self) -> Layout:
        """Return the same problem without capacity that no sum of demands can use.

        Where all that may come to a device asks for multiples of some amount (in whole thousandths), the capacity is
        rounded down to one: the same placements fit, and bounds are lower.
        """
        module = self.module_of_choice
        capacity = self.capacity.copy()
        for r in range(len(capacity)):
            asked = self.ask[:, r] * PARTS
            whole = np.rint(asked)
            fine = np.abs(whole - asked) > 1e-6
            step = np.zeros(capacity.shape[1], np.int64)
            np.gcd.at(step, self.device, whole[module].astype(np.int64))
            step[self.device[fine[module]]] = 0
            parts = np.floor(capacity[r] * PARTS + 1e-6)
            usable = np.floor(parts / np.maximum(step, 1)) * step / PARTS
            capacity[r] = np.where(step > 0, np.minimum(capacity[r], usable), capacity[r])
        return replace(self, capacity=capacity)

    def limited_to(self, allowed: NDArray[np.bool_]) -> Layout:
        """Return the same problem with the choices that are `allowed` (choices,) only."""
        left = np.bincount(self.module_of_choice[allowed], minlength=len(self.selects))
        return replace(
            self, choice_start=_starts(left.tolist()), device=self.device[allowed], bonus=self.bonus[allowed]
        )

    def places(self, chosen: Chosen) -> Ints:
        """Return the choice of every module in a placement, -1 where it is not placed, shape (modules,)."""
        places = np.full(len(self.selects), -1, np.int32)
        for t, configuration in chosen.items():
            for m, device in enumerate(configuration, self.module_start[t]):
                low, high = self.choice_start[m], self.choice_start[m + 1]
                places[m] = low + int(np.flatnonzero(self.device[low:high] == device)[0])
        return places

    def chosen(self, places: Ints) -> Chosen:
        """Return the placement of which `places` has the choices."""
        found: Chosen = {}
        for t in range(len(self.runs)):
            mine = places[self.module_start[t] : self.module_start[t + 1]]
            if len(mine) and mine[0] >= 0:
                found[t] = tuple(self.device[mine].tolist())
        return found

    def score(self, places: Ints, cost: Floats) -> float:
        """Return the weight of the tasks that run, less the cost of their choices."""
        weight = float(sum(self.weight[t] for t in self.chosen(places)))
        return weight - float(cost[places[places >= 0]].sum())


def _starts(sizes: Sequence[int]) -> Ints:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
