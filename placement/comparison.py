"""Algorithms side by side over repeats, as the paper's table shows them: tasks assigned, average latency.

The paper's 77 % of MAM beside 100 % of MOZART without a latency bound cannot both be shares of all tasks when MAM is
exact: were every module placeable, MAM would place every module too. So two readings stand here, the share of all
tasks, and the share of what the best algorithm without a bound places on the same problem.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np

from .algorithms import place
from .generated import Instance
from .problem import Problem
from .result import Assignment, Placement, as_row

T_95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045,
)  # fmt: skip
"""Student's t for a 95 % interval, by degrees of freedom from 1."""


@dataclass(frozen=True)
class Run:
    """One row: an algorithm with a latency bound on one problem; `instance` says which, of generated ones."""

    row: dict[str, Any]
    placement: Placement
    instance: Instance | None = None

    @property
    def setting(self) -> tuple[str, int, float] | None:
        """Topology, tasks and load: what repeats have in common; None for a problem that is not generated."""
        which = self.instance
        return None if which is None else (which.topology, which.tasks, which.load)


def bound_text(bound_ms: float | None) -> str:
    """Return a latency bound as figures and tables show it."""
    if bound_ms is None:
        return "own bounds"
    return "no bound" if math.isinf(bound_ms) else f"≤ {bound_ms:g} ms"


def compare(
    problems: Iterable[Problem],
    algorithms: Sequence[str],
    bounds_ms: Sequence[float | None],
    *,
    instances: Iterable[Instance | None] = repeat(None),
    time_limit_s: float = math.inf,
    seed: int = 1,
    solver: str = "highs",
    keep: Assignment | None = None,
    move_price: float = 0.0,
    max_steps: float = math.inf,
    done: Callable[[Run], None] = lambda run: None,
) -> list[Run]:
    """Run every algorithm with every bound on every problem; `done` is called with each run as it ends.

    `instances` say of generated problems which they are. A bound of None leaves every task its own. Ctrl-C ends the
    comparison after the run that it interrupts, whose best so far is kept.
    """
    runs: list[Run] = []
    try:
        for problem, instance in zip(problems, instances, strict=False):
            for bound in bounds_ms:
                for algorithm in algorithms:
                    found = place(
                        problem,
                        algorithm,
                        max_latency_ms=bound,
                        time_limit_s=time_limit_s,
                        seed=search_seed(seed, instance),
                        solver=solver,
                        keep=keep,
                        move_price=move_price,
                        max_steps=max_steps,
                    )
                    runs.append(Run(as_row(problem, found, bound), found, instance))
                    done(runs[-1])
                    if found.interrupted:
                        return runs
    except KeyboardInterrupt:
        if not runs:
            raise
    return runs


def search_seed(seed: int, instance: Instance | None) -> int:
    """Return the seed of what is random in the algorithms: another one for every repeat, wherever it is run."""
    return seed if instance is None else seed + instance.seed - 1


def summary(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return for each setting, algorithm and bound the means over repeats, with half widths of 95 % intervals.

    `relative_share` is of the most tasks that any run without a bound (or, where none, any run) places on the
    same problem.
    """
    free = [run for run in runs if run.row["max_latency_ms"] in (None, math.inf)] or list(runs)
    most: dict[Instance | None, int] = {}
    for run in free:
        most[run.instance] = max(most.get(run.instance, 0), run.row["placed_tasks"])
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        groups.setdefault((run.setting, run.row["algorithm"], run.row["max_latency_ms"]), []).append(run)
    return [_means(group, most) for group in groups.values()]


def _means(group: Sequence[Run], most: dict[Instance | None, int]) -> dict[str, Any]:
    columns: dict[str, list[float | None]] = {
        "placed_share": [run.row["placed_share"] for run in group],
        "relative_share": [
            run.row["placed_tasks"] / most[run.instance] if most.get(run.instance) else None for run in group
        ],
        "avg_latency_ms": [run.row["avg_latency_ms"] for run in group],
        "gap": [run.row["gap"] for run in group],
        "seconds": [run.row["build_s"] + run.row["solve_s"] for run in group],
    }
    first = group[0]
    made: dict[str, Any] = {
        "topology": first.instance and first.instance.topology,
        "load": first.instance and first.instance.load,
        **{name: first.row[name] for name in ("tasks", "algorithm", "max_latency_ms")},
        "repeats": len(group),
    }
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
    return float(np.mean(values)), student_t(len(values) - 1) * spread


def student_t(freedom: int) -> float:
    """Return Student's t for a 95 % interval; above the table by its expansion in 1 / freedom, right to 0.003."""
    return T_95[freedom - 1] if freedom <= len(T_95) else 1.96 + 2.37 / freedom
