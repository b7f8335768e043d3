"""Simulated annealing over placements, where weights and moves leave no steps between values."""

from __future__ import annotations

import numpy as np

from .anneal_kernels import anneal
from .layout import Floats, Layout
from .prices import Prices
from .search import Search

LEVELS = 60
STEPS_A_MODULE = 40
"""Steps on each level of temperature, for each module, in the first and shortest run."""

HOT, COLD = 0.3, 0.01
"""First and last temperature, in units of a mean task's weight."""

STIFF = 100.0
"""How many times dearer an overload is at the end than at the beginning."""


def anneal_value(search: Search, layout: Layout, prices: Prices, effort: float, seed: int) -> None:
    """Offer the placement of most value that one run finds from the best so far, in `effort` lengths."""
    weight = float(layout.weight.mean()) if len(layout.weight) else 1.0
    cost = -search.move_price * layout.bonus
    places = layout.places(search.chosen)
    best = places.copy()
    steps = max(1, int(effort * STEPS_A_MODULE * len(layout.selects)))
    search.steps += steps * LEVELS
    anneal(
        layout.runs,
        layout.weight,
        layout.bound_ms,
        *layout.modules,
        layout.latency_ms,
        layout.capacity,
        _penalty(layout, prices),
        cost,
        places,
        layout.score(places, cost),
        best,
        steps,
        LEVELS,
        HOT * weight,
        COLD * weight,
        STIFF,
        search.bound + search.offset - 1e-9,
        seed,
    )
    search.offer(layout.chosen(best))


def _penalty(layout: Layout, prices: Prices) -> Floats:
    """Return what an overload costs at first: a bit more than the best prices, everywhere."""
    there = layout.capacity > 0
    level = prices.unit.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    least = 0.05 * layout.weight.mean() / np.maximum(layout.ask.mean(axis=0), 1e-9)
    return 1.2 * np.maximum(prices.unit, np.maximum(level, least)[:, None])
