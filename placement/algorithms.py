"""The one way to place: a name table of algorithms, and the check that every answer passes.

To add an algorithm, write a function of a Search that offers placements (and tightens the bound where it
proves one), and add a line to `ALGORITHMS`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib import import_module

from ..errors import PlacementError
from .keep import named_moves, positions
from .problem import Problem
from .result import FEASIBLE, NOTHING, NOTHING_FOUND, OPTIMAL, TIMED_OUT, Assignment, Placement
from .search import INTERRUPTED, TIME, Search
from .verify import check

ALGORITHMS: dict[str, tuple[str, str, str]] = {
    "priced": ("priced", "priced", "exact: prices bound it, a small ILP chooses tasks, local search their places"),
    "tasks-only": ("priced", "tasks_only", "the same without its last aim: latency is bounded, and not lowered"),
    "bilp": ("bilp", "bilp", "exact: the whole problem as one binary integer program"),
    "mam": ("mam", "mam", "Maximize Allocated Modules: an exact program that does not know tasks"),
    "mam-greedy": ("mam", "mam_greedy", "Maximize Allocated Modules, module by module, smallest first"),
    "greedy": ("greedy", "greedy", "task by task, smallest for its weight first, emptiest devices first"),
    "random": ("random_order", "random_order", "task by task in a random order, on random devices"),
    "per-task": ("per_task", "per_task", "an integer program for each task, in the order of the problem"),
    "lp-rounding": ("lp_rounding", "lp_rounding", "the relaxed program, rounded task by task"),
}
"""Name: (file of this room, function, one line for the help)."""

DEFAULT = "priced"

TINY_WEIGHT, LARGEST_WEIGHT = 0.01, 1e9
"""Weights below the one are multiplied, so that no tolerance of ours or of a solver swallows them, up to the other."""


def place(
    problem: Problem,
    algorithm: str = DEFAULT,
    *,
    max_latency_ms: float | None = None,
    time_limit_s: float = math.inf,
    seed: int = 1,
    solver: str = "highs",
    keep: Assignment | None = None,
    move_price: float = 0.0,
    max_steps: float = math.inf,
) -> Placement:
    """Place the tasks of a problem with one algorithm, and check the answer before it is returned.

    `max_latency_ms` replaces every task's own bound (infinite: none); None leaves them. With `keep`, the
    placement that runs now, as few modules move as possible among the placements of the most weight; with a
    `move_price` above 0, moves are weighed against the tasks' weight instead. Ctrl-C, the time limit and the limit of
    steps return the best so far; the same limit of steps gives the same placement on every machine, and time in which
    code is compiled or loaded counts nowhere. Raises PlacementError for an unknown algorithm or solver.
    """
    if algorithm not in ALGORITHMS:
        raise PlacementError(f"no algorithm {algorithm!r}; there are {', '.join(ALGORITHMS)}")
    bounded, scale = problem.with_latency_bound(max_latency_ms), _scale(problem)
    if scale != 1:
        bounded = bounded.with_tasks(replace(task, weight=task.weight * scale) for task in bounded.tasks)
    file, function, _ = ALGORITHMS[algorithm]
    run = getattr(import_module(f".{file}", __package__), function)
    with _load_time() as loading_s:
        search = Search(
            bounded,
            time_limit_s,
            seed,
            solver,
            kept=positions(bounded, keep or {}),
            move_price=move_price * scale,
            max_steps=max_steps,
            loading_s=loading_s,
        )
        try:
            run(search)
        except KeyboardInterrupt:
            search.cut(INTERRUPTED)
        return _checked(search, algorithm, keep or {}, scale)


def _load_time() -> AbstractContextManager[Callable[[], float]]:
    """Return what measures the loading of kernels; an algorithm without any spares the import of numba."""
    kernels = sys.modules.get(f"{__package__.rpartition('.')[0]}.kernels")
    return kernels.load_time() if kernels else nullcontext(lambda: 0.0)


def _checked(search: Search, algorithm: str, keep: Assignment, scale: float) -> Placement:
    problem = search.problem
    tasks = _named(problem, {t: dict(enumerate(c)) for t, c in search.chosen.items()})
    partial = _named(problem, search.partial)
    check(problem, tasks, partial, algorithm)
    return Placement(
        algorithm,
        _status(search),
        tasks,
        partial,
        search.score.value / scale,
        None if math.isinf(search.bound) else max(search.bound, search.score.value) / scale,
        search.latency_proved,
        named_moves(problem, keep, search.kept, search.chosen),
        search.moves_proved,
        search.build_s,
        search.elapsed_s - search.build_s,
        search.stopped_by,
        search.proved_s,
    )


def _status(search: Search) -> str:
    if search.chosen:
        return OPTIMAL if search.done else FEASIBLE
    if search.done or all(choices is None for choices in search.choices):
        return NOTHING
    return TIMED_OUT if search.stopped_by == TIME else NOTHING_FOUND


def _scale(problem: Problem) -> float:
    """Return the power of two by which weights are multiplied, so that the smallest counts: 1 where none is tiny."""
    weights = [task.weight for task in problem.tasks]
    if min(weights, default=1.0) >= TINY_WEIGHT:
        return 1.0
    return 2.0 ** max(0, math.floor(math.log2(min(1 / min(weights), LARGEST_WEIGHT / max(weights)))))


def _named(problem: Problem, where: Mapping[int, Mapping[int, int]]) -> dict[str, dict[str, str]]:
    """Return positions as names, in the order of the problem."""
    return {
        problem.tasks[t].name: {
            problem.tasks[t].modules[m].name: problem.devices[where[t][m]].name for m in sorted(where[t])
        }
        for t in sorted(where)
    }
