"""Prices of memory and CPU on every device, and the upper bound on any placement that they prove.

Lagrangian relaxation of the capacity rows: with a price on every unit, each task decides for itself whether
its cheapest configuration costs less than its weight. Whatever the prices, the worth of all capacity plus
what the tasks gain is an upper bound on the weight of any placement. At the best prices that bound is that of
the relaxed program, which is much slower to solve.

The best prices are found with cutting planes (Kelley): what tasks gain is convex in the prices, and what they
use at some prices is its slope there. First one price for all memory and one for all CPU: where tasks have a
choice of devices, that is nearly the best. Then a price for each device, near the best so far.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pulp
from numpy.typing import NDArray

from .layout import Floats, Ints, Layout
from .price_kernels import price_tasks
from .search import Search
from .solvers import solve

TINY = 1e-12
GROUPS = 16
"""Parts of the tasks whose gains are approximated each for itself: more cuts a round, fewer rounds."""

ROUNDS = 40
"""Most rounds with a price for each device; those with a price for each resource come before."""

BOX = 1.5
"""Factor by which a device's price may change from the best in one round."""

CLOSE = 0.02
"""Stop when the next round could lower the bound by less than this share of the smallest weight."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What the prices say.

    unit: (2, devices) price of a unit; bound: on the value of any placement; cheapest: (tasks,) cost of each
    task's cheapest configuration; best: (choices,) cost of the cheapest configuration with each choice;
    pick: (modules,) the choices of a cheapest configuration.
    """

    unit: Floats
    bound: float
    cheapest: Floats
    best: Floats
    pick: Ints


def appraise(layout: Layout, unit: Floats, move_price: float = 0.0) -> Prices:
    """Return what some prices say about a problem."""
    cheapest, best = np.empty(len(layout.runs)), np.empty(len(layout.device))
    pick = np.empty(len(layout.selects), np.int32)
    price_tasks(
        layout.runs,
        layout.bound_ms,
        layout.module_start,
        layout.selects,
        layout.ask,
        layout.choice_start,
        layout.device,
        layout.latency_ms,
        unit,
        layout.bonus * move_price,
        cheapest,
        best,
        pick,
    )
    gain = np.maximum(layout.weight - cheapest, 0.0)
    return Prices(unit, float((unit * layout.capacity).sum() + gain.sum()), cheapest, best, pick)


class Cuts:
    """The cutting planes so far: of each group's gain, the value and slope at the prices that were tried."""

    def __init__(self, layout: Layout, search: Search) -> None:
        self.layout, self.search = layout, search
        self.group_of_module = np.repeat(np.arange(len(layout.runs)) % GROUPS, np.diff(layout.module_start))
        self.gains = layout.weight.copy()
        self.best = appraise(layout, np.zeros_like(layout.capacity), search.move_price)
        self.planes: list[tuple[Floats, Floats]] = []
        self.add(self.best)

    def add(self, prices: Prices) -> None:
        """Add the planes at these prices, and keep the prices if they are the best."""
        layout = self.layout
        if prices.bound < self.best.bound:
            self.best = prices
        gain = np.maximum(layout.weight - prices.cheapest, 0.0)
        gains = np.bincount(np.arange(len(gain)) % GROUPS, gain, GROUPS)
        used = self._usage(prices, gain > 0)
        self.planes.append((gains + (used * prices.unit).sum(axis=(1, 2)), used))

    def _usage(self, prices: Prices, gains: NDArray[np.bool_]) -> Floats:
        """Return what the tasks of each group that gain use, shape (groups, 2, devices)."""
        layout, devices = self.layout, self.layout.capacity.shape[1]
        module = np.flatnonzero(np.repeat(gains, np.diff(layout.module_start)))
        slot = self.group_of_module[module] * devices + layout.device[prices.pick[module]]
        parts = [np.bincount(slot, layout.ask[module, r], GROUPS * devices).reshape(GROUPS, devices) for r in range(2)]
        return np.stack(parts, axis=1)

    def lowest(self, alike: bool) -> tuple[Floats, float]:
        """Return the prices where all planes together are lowest, and the value there.

        With `alike`, over prices that are the same on all devices; else near the best prices.
        """
        capacity, devices = self.layout.capacity, self.layout.capacity.shape[1]
        program = pulp.LpProblem("prices", pulp.LpMinimize)
        columns = 1 if alike else devices
        room = capacity.sum(axis=1, keepdims=True) if alike else capacity
        unit = [[self._price(program, r, d, alike) for d in range(columns)] for r in range(2)]
        gain = [program.add_variable(f"gain_{g}", 0) for g in range(GROUPS)]
        cells = [(r, d) for r in range(2) for d in range(columns) if room[r, d] > 0]
        worth = [(unit[r][d], float(room[r, d])) for r, d in cells]
        program.setObjective(pulp.LpAffineExpression([*worth, *((g, 1) for g in gain)]))
        for k, (value, used) in enumerate(self.planes):
            slopes = used.sum(axis=2, keepdims=True) if alike else used
            for g in range(GROUPS):
                terms = [(unit[r][d], float(slopes[g, r, d])) for r, d in cells if slopes[g, r, d]]
                row = pulp.LpAffineExpression([(gain[g], 1), *terms])
                program.addConstraint(pulp.LpConstraint(row, 1, f"plane_{k}_{g}", float(value[g])))
        answer = solve(program, self.search, relaxed=True)
        if not answer.proved:
            return self.best.unit, self.best.bound
        found = np.array([[v.varValue or 0.0 for v in row] for row in unit])
        return np.where(capacity > 0, np.broadcast_to(found, capacity.shape), 0.0), answer.bound

    def _price(self, program: pulp.LpProblem, r: int, d: int, alike: bool) -> pulp.LpVariable:
        if alike:
            return program.add_variable(f"price_{r}", 0)
        best = float(self.best.unit[r, d])
        slack = (BOX - 1) * float(self.best.unit[r].max())
        return program.add_variable(f"price_{r}_{d}", max(0.0, best - slack), best + slack)

    def refine(self, alike: bool) -> None:
        """Lower the bound as far as planes can (with `alike`, by equal prices), and tighten the search's."""
        step = self.search.step or float(self.layout.weight.min(initial=1.0))
        for _ in range(ROUNDS):
            unit, lowest = self.lowest(alike)
            if self.best.bound - lowest < CLOSE * step or not self.search.left_s:
                break
            self.add(appraise(self.layout, unit, self.search.move_price))
        self.search.tighten(self.best.bound - self.search.offset)
