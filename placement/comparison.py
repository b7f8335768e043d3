"""Algorithms side by side over repeats, as the paper's table shows them: tasks assigned, average latency.

The paper's 77 % of MAM beside 100 % of MOZART without a latency bound cannot both be shares of all tasks when MAM is
exact: were every module placeable, MAM would place every module too. So two readings stand here, the share of all
tasks, and the share of what the best algorithm without a bound places on the same problem.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .algorithms import place
from .problem import Problem
from .result import Assignment, Placement, as_row

T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Student's t for a 95 % interval, by number of repeats; 1.96 is used above ten and is a little narrow to 30."""


@dataclass(frozen=True)
class Run:
    """One row: an algorithm with a latency bound on one problem."""

    repeat: int
    row: dict[str, Any]
    placement: Placement


def compare(
    problems: Iterable[Problem],
    algorithms: Sequence[str],
    bounds_ms: Sequence[float | None],
    *,
    time_limit_s: float = math.inf,
    seed: int = 1,
    solver: str = "highs",
    keep: Assignment | None = None,
    move_price: float = 0.0,
    done: Callable[[Run], None] = lambda run: None,
) -> list[Run]:
    """Run every algorithm with every bound on every problem; `done` is called with each run as it ends.

    A bound of None leaves every task its own. Ctrl-C ends the comparison after the run that it interrupts, whose
    best so far is kept.
    """
    runs: list[Run] = []
    try:
        for repeat, problem in enumerate(problems):
            for bound in bounds_ms:
                for algorithm in algorithms:
                    found = place(
                        problem,
                        algorithm,
                        max_latency_ms=bound,
                        time_limit_s=time_limit_s,
                        seed=seed + repeat,
                        solver=solver,
                        keep=keep,
                        move_price=move_price,
                    )
                    runs.append(Run(repeat, as_row(problem, found, bound), found))
                    done(runs[-1])
                    if found.interrupted:
                        return runs
    except KeyboardInterrupt:
        if not runs:
            raise
    return runs


def summary(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return for each algorithm and bound the means over repeats, each with the half width of its 95 % interval.

    `relative_share` is of the most tasks that any run without a bound (or, where none, any run) places on the
    same problem.
    """
    free = [run for run in runs if run.row["max_latency_ms"] in (None, math.inf)] or list(runs)
    most: dict[int, int] = {}
    for run in free:
        most[run.repeat] = max(most.get(run.repeat, 0), run.row["placed_tasks"])
    groups: dict[tuple[str, float | None], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.row["algorithm"], run.row["max_latency_ms"]), []).append(run)
    return [_means(name, bound, group, most) for (name, bound), group in groups.items()]


def _means(name: str, bound: float | None, group: list[Run], most: dict[int, int]) -> dict[str, Any]:
    columns: dict[str, list[float | None]] = {
        "placed_share": [run.row["placed_share"] for run in group],
        "relative_share": [
            run.row["placed_tasks"] / most[run.repeat] if most.get(run.repeat) else None for run in group
        ],
        "avg_latency_ms": [run.row["avg_latency_ms"] for run in group],
        "gap": [run.row["gap"] for run in group],
        "seconds": [run.row["build_s"] + run.row["solve_s"] for run in group],
    }
    made: dict[str, Any] = {"algorithm": name, "max_latency_ms": bound, "repeats": len(group)}
    for column, values in columns.items():
        made[column], made[f"{column}_95"] = mean_and_half_width([v for v in values if v is not None])
    made["optimal"] = sum(run.row["status"] == "optimal" for run in group)
    return made


def mean_and_half_width(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the mean and the half width of its 95 % interval (Student's t); None for what too few values give."""
    if not values:
        return None, None
    if len(values) < 2:
        return float(values[0]), None
    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return float(np.mean(values)), T_95.get(len(values), 1.96) * spread
