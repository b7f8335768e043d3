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

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import highspy
import numpy as np
from numpy.typing import NDArray

from .layout import Floats, Ints, Layout
from .price_kernels import price_tasks
from .search import Search

TINY = 1e-12
GROUPS = 16
"""Parts of the tasks whose gains are approximated each for itself: more cuts a round, fewer rounds."""

ROUNDS = 40
"""Most rounds with a price for each device; those with a price for each resource come before."""

ROUND_STEPS = 20
"""Steps of work that a round counts as, for each choice."""

BOX = 1.5
"""Factor by which a device's price may change from the best in one round."""

CLOSE = 0.02
"""Stop when the next round could lower the bound by less than this share of the smallest weight."""


DEAREST = 4.0
"""What tasks are worth, in their weights, when it is asked whether some of them fit together."""

BROKEN = 1e-7
"""Share of a row's right side by which it must be broken to be believed."""


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
        *layout.modules,
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
    """The cutting planes so far: of each group's gain, the value and slope at the prices that were tried.

    `rows`: for all prices that were tried, the worth of all capacity and what each task costs at least; whatever
    runs together costs at most that worth.
    """

    def __init__(self, layout: Layout, search: Search) -> None:
        self.layout, self.search = layout, search
        self.group_of_module = np.repeat(np.arange(len(layout.runs)) % GROUPS, np.diff(layout.module_start))
        self.best = appraise(layout, np.zeros_like(layout.capacity), search.move_price)
        self.planes: list[tuple[Floats, Floats]] = []
        self.rows: list[tuple[float, Floats]] = []
        self.add(self.best)
        for r in np.flatnonzero(layout.capacity.sum(axis=1) > 0):
            unit = np.zeros_like(layout.capacity)
            unit[r] = layout.weight.sum() / layout.capacity[r].sum()
            self.add(appraise(layout, np.where(layout.capacity > 0, unit, 0.0), search.move_price))

    def add(self, prices: Prices) -> None:
        """Add the planes at these prices, and keep the prices if they are the best."""
        layout = self.layout
        if prices.bound < self.best.bound:
            self.best = prices
        self.rows.append((float((prices.unit * layout.capacity).sum()), prices.cheapest))
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

    def refine(self, alike: bool) -> None:
        """Lower the bound as far as planes can (with `alike`, by equal prices), and tighten the search's."""
        for bound in self._lower(alike):
            self.search.tighten(bound - self.search.offset)

    def exclude(self, tasks: NDArray[np.int64]) -> bool:
        """Add a row that these tasks together break, where they do not even fit in parts; tell whether there is one.

        Were every one of them worth more than it can cost, and no other there, then the bound would be the weight of
        all: a lower bound comes from prices at which they cost more than all capacity is worth.
        """
        runs = np.zeros_like(self.layout.runs)
        runs[tasks] = True
        alone = Cuts(replace(self.layout, runs=runs, weight=DEAREST * self.layout.weight), self.search)
        alone.add(appraise(alone.layout, DEAREST * self.best.unit, self.search.move_price))
        deque(alone._lower(alike=False), maxlen=0)
        prices = appraise(self.layout, alone.best.unit, self.search.move_price)
        worth = float((prices.unit * self.layout.capacity).sum())
        if prices.cheapest[tasks].sum() <= worth * (1 + BROKEN):
            return False
        self.rows.append((worth, prices.cheapest))
        return True

    def _lower(self, alike: bool) -> Iterator[float]:
        """Lower the bound round by round, and yield the best so far after each."""
        step = self.search.step or float(self.layout.weight.min(initial=1.0))
        master = _Master(self.layout.capacity, alike)
        for plane in self.planes:
            master.add(*plane)
        yield self.best.bound
        for _ in range(ROUNDS):
            unit, lowest = master.lowest(self.best, self.search.left_s)
            if self.best.bound - lowest < CLOSE * step or not self.search.left_s:
                break
            self.search.steps += ROUND_STEPS * len(self.layout.device)
            self.add(appraise(self.layout, unit, self.search.move_price))
            master.add(*self.planes[-1])
            yield self.best.bound


class _Master:
    """The program over the planes: the prices where all of them together are lowest.

    HiGHS itself, not PuLP: each round adds a few rows to a program that has just been solved, and starts from there;
    PuLP would write and solve it anew.
    """

    def __init__(self, capacity: Floats, alike: bool) -> None:
        self.capacity, self.alike = capacity, alike
        self.room = capacity.sum(axis=1, keepdims=True) if alike else capacity
        self.cells = np.argwhere(self.room > 0)
        self.highs = highspy.Highs()
        for name, value in {"output_flag": False, "threads": 1, "log_to_console": False}.items():
            self.highs.setOptionValue(name, value)
        count = len(self.cells) + GROUPS
        self.highs.addVars(count, np.zeros(count), np.full(count, math.inf))
        worth = np.concatenate([self.room[tuple(self.cells.T)], np.ones(GROUPS)])
        self.highs.changeColsCost(count, np.arange(count, dtype=np.int32), worth)

    def add(self, values: Floats, used: Floats) -> None:
        """Add a plane for each group: its gain is at least its value less what its use is worth."""
        slopes = used.sum(axis=2, keepdims=True) if self.alike else used
        for g in range(GROUPS):
            use = slopes[g][tuple(self.cells.T)]
            there = np.flatnonzero(use).astype(np.int32)
            columns = np.append(there, np.int32(len(self.cells) + g))
            self.highs.addRow(float(values[g]), math.inf, len(columns), columns, np.append(use[there], 1.0))

    def lowest(self, best: Prices, limit_s: float) -> tuple[Floats, float]:
        """Return the prices where the planes are lowest, near the best so far, and the value there."""
        if not self.alike:
            now = best.unit[tuple(self.cells.T)]
            slack = (BOX - 1) * best.unit.max(axis=1)[self.cells[:, 0]]
            columns = np.arange(len(now), dtype=np.int32)
            self.highs.changeColsBounds(len(now), columns, np.maximum(now - slack, 0.0), now + slack)
        self.highs.setOptionValue("time_limit", float(min(limit_s, 1e6)) + self.highs.getRunTime())
        self.highs.run()
        if self.highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return best.unit, best.bound
        unit = np.zeros_like(self.room)
        unit[tuple(self.cells.T)] = np.asarray(self.highs.getSolution().col_value)[: len(self.cells)]
        unit = np.where(self.capacity > 0, np.broadcast_to(np.maximum(unit, 0.0), self.capacity.shape), 0.0)
        return unit, float(self.highs.getInfo().objective_function_value)
