"""Simulated annealing over placements: finds what prices prove possible, and lowers the latency at scale."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from .anneal_kernels import anneal
from .layout import Floats, Layout
from .prices import Prices
from .search import Chosen, Search

LEVELS = 60
STEPS_A_MODULE = 40
"""Steps on each level of temperature, for each module, in the first and shortest run."""

HOT, COLD = 0.3, 0.01
"""First and last temperature, in units of a mean task's weight."""

HEAVY = 50.0
"""Weight of a task against a mean task's latency in the second aim."""

SECOND_RUNS = 2

STIFF = 100.0
"""How many times dearer an overload is at the end than at the beginning."""


def anneal_value(search: Search, layout: Layout, prices: Prices, effort: float, seed: int) -> None:
    """Offer the placement of most value that one run finds from the best so far, in `effort` lengths."""
    weight = float(layout.weight.mean()) if len(layout.weight) else 1.0
    target = search.bound + search.offset
    cost = -search.move_price * layout.bonus
    _run(search, layout, _penalty(layout, prices), cost, 0.0, weight, effort, seed, target, False)


def _penalty(layout: Layout, prices: Prices) -> Floats:
    """Return what an overload costs at first: a bit more than the best prices, everywhere."""
    there = layout.capacity > 0
    level = prices.unit.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    least = 0.05 * layout.weight.mean() / np.maximum(layout.ask.mean(axis=0), 1e-9)
    return 1.2 * np.maximum(prices.unit, np.maximum(level, least)[:, None])


def _run(
    search: Search,
    layout: Layout,
    penalty: Floats,
    cost: Floats,
    latency_price: float,
    scale: float,
    effort: float,
    seed: int,
    target: float,
    swap_only: bool,
) -> None:
    places = layout.places(search.chosen)
    best = places.copy()
    anneal(
        layout.runs,
        layout.weight,
        layout.bound_ms,
        layout.module_start,
        layout.selects,
        layout.ask,
        layout.choice_start,
        layout.device,
        layout.latency_ms,
        layout.capacity,
        penalty,
        cost,
        latency_price,
        places,
        layout.score(places, cost, latency_price),
        best,
        max(1, int(effort * STEPS_A_MODULE * len(layout.selects))),
        LEVELS,
        HOT * scale,
        COLD * scale,
        STIFF,
        target - 1e-9,
        swap_only,
        seed,
    )
    found: Chosen = layout.chosen(best)
    search.offer(found)


def anneal_second(search: Search, layout: Layout, prices: Prices) -> None:
    """Lower the latency of the best placement at its value."""
    pairs_ms = max(search.score.latency_ms, 1e-9)
    heavy = replace(layout, weight=layout.weight * HEAVY)
    weight = float(layout.weight.mean())
    price = weight * len(search.chosen) / pairs_ms
    cost = np.zeros(len(layout.device))
    penalty = 3.0 * _penalty(layout, prices)
    for run in range(SECOND_RUNS):
        _run(search, heavy, penalty, cost, price, weight, 1.0, search.seed * 100 + 50 + run, math.inf, True)
