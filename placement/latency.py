"""Fewer moves and less latency at the same value: annealing that keeps every capacity and bound at every step."""

from __future__ import annotations

import numpy as np

from .latency_kernels import lower
from .layout import Layout
from .search import Search

STEPS = (1_500_000, 600)
"""Steps of a run: at least so many, and so many for each module."""

LAST_STEPS = 300_000
"""Steps that are made even when a limit is reached, but for Ctrl-C: a tenth of a second takes most of it off."""

STEPS_A_SECOND = 3e6
"""A low guess of the speed, so that a time limit is kept."""

EXCHANGE = 5
"""Of 100 steps, how many try a whole task anew, or another in its stead."""

HOT, COLD = 0.7, 0.01
"""First and last temperature, in mean latencies between devices."""


STAY = 5.0
"""What a module is worth where it is kept, in mean latencies: moves come first."""


def lower_latency(search: Search, layout: Layout) -> None:
    """Offer a placement of the same weight, or more, with fewer moves or less total latency, where one is found."""
    mean_ms = float(layout.latency_ms.mean()) if layout.latency_ms.size else 0.0
    if not search.chosen or mean_ms == 0 or search.interrupted:
        return
    steps = search.allowed(max(STEPS[0], STEPS[1] * len(layout.selects)), STEPS_A_SECOND, LAST_STEPS)
    places = layout.places(search.chosen)
    runs = np.zeros(len(layout.runs), bool)
    runs[list(search.chosen)] = True
    lower(
        layout.weight,
        layout.bound_ms,
        *layout.modules,
        layout.bonus * STAY * mean_ms,
        layout.latency_ms,
        layout.capacity,
        np.flatnonzero(runs),
        np.flatnonzero(layout.runs & ~runs),
        places,
        steps,
        EXCHANGE,
        HOT * mean_ms,
        COLD * mean_ms,
        search.seed,
    )
    search.offer(layout.chosen(places))
