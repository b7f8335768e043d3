"""The second aims, once the most value is reached: few moves and little latency.

Small problems are solved to the end by the program of `bilp.py`; above `EXACT_MODULES` modules its latency part
is out of reach (nearly every tight placement leaves a gap of tens of percent after minutes), and annealing at a
constant value takes its place: good, and not proved.
"""

from __future__ import annotations

import numpy as np

from .anneal import anneal_second
from .bilp import refine
from .choices import capacities
from .layout import Layout
from .model import PlacementModel, possible
from .prices import Prices
from .search import Search

EXACT_MODULES = 60


def lower_moves_and_latency(search: Search, layout: Layout, prices: Prices) -> None:
    """Improve the best placement in its moves and latency without less value."""
    if not search.kept or search.score.moves == 0:
        search.moves_proved = bool(search.kept) and search.done
    if search.done and len(layout.selects) <= EXACT_MODULES:
        model = PlacementModel(search.problem, possible(search.choices), capacities(search.problem))
        refine(search, model)
    elif search.chosen and not search.kept and search.left_s and np.any(layout.latency_ms):
        anneal_second(search, layout, prices)
