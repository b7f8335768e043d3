"""The whole problem as one binary integer program (model.py): exact, and lexicographic.

1. Start from a greedy placement, or from the placement to keep.
2. Maximise the weight of the tasks that run (less the price of moves, where moves have one).
3. Among those placements, minimise the moves, where there is a placement to keep.
4. Among those, minimise the total selector-monitor latency.

Each step keeps what the steps before have reached, and only starts when they are proved.
"""

from __future__ import annotations

import pulp

from .choices import capacities
from .greedy import greedy_start
from .model import PlacementModel, possible
from .search import Search
from .solvers import solve


def bilp(search: Search) -> None:
    """Search for the best placement by one integer program for each aim."""
    greedy_start(search)  # 1.
    begun_s = search.elapsed_s
    choices = possible(search.choices)
    model = PlacementModel(search.problem, choices, capacities(search.problem))
    value = model.value(search)
    search.build_s += search.elapsed_s - begun_s
    if aim(search, model, value, pulp.LpMaximize, most=True):  # 2.
        refine(search, model)


def refine(search: Search, model: PlacementModel) -> None:
    """Do steps 3 and 4 on a model whose best value is proved and stands in the search's best."""
    if search.kept:
        stays = model.stays(search)
        if not search.move_price:
            model.at_least(model.weight(), search.score.value, "aim_weight")
            if not aim(search, model, stays, pulp.LpMaximize):  # 3.
                return
            model.at_least(stays, _stays_of(search), "aim_moves")
        else:
            model.at_least(model.value(search), search.score.value + search.offset, "aim_value")
        search.moves_proved = True
    else:
        model.at_least(model.weight(), search.score.value, "aim_weight")
    search.latency_proved = aim(search, model, model.latency(), pulp.LpMinimize)  # 4.


def _stays_of(search: Search) -> int:
    return sum(len(before) for before in search.kept.values()) - search.score.moves


def aim(search: Search, model: PlacementModel, goal: pulp.LpAffineExpression, sense: int, most: bool = False) -> bool:
    """Solve for one aim, offer what is found, and return whether it is proved best.

    With `most`, the goal is the value, and its bound tightens the search's.
    """
    model.program.sense = sense
    model.program.setObjective(goal)
    answer = solve(model.program, search, start=model.start(search.chosen))
    if most:
        search.tighten(answer.bound - search.offset)
    if answer.found:
        search.offer(model.chosen())
    return answer.proved
