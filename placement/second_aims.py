"""The second aims, once the most value is reached: few moves and little latency.

Annealing lowers the latency at the same value: good, and not proved. Small problems are then solved to the end by
the program of `bilp.py`; above `EXACT_MODULES` modules its latency part is out of reach (nearly every tight placement
leaves a gap of tens of percent after minutes).
"""

from __future__ import annotations

from .bilp import refine
from .choices import capacities
from .latency import lower_latency
from .layout import Layout
from .model import PlacementModel, possible
from .search import Search

EXACT_MODULES = 60


def lower_moves_and_latency(search: Search, layout: Layout) -> None:
    """Improve the best placement in its moves and latency without less value."""
    if (search.score.moves and not search.move_price) or not search.kept:
        lower_latency(search, layout)
    search.moves_proved = bool(search.kept) and search.done and search.score.moves == 0
    if search.done and len(layout.selects) <= EXACT_MODULES:
        model = PlacementModel(search.problem, possible(search.choices), capacities(search.problem))
        refine(search, model)
