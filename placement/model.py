"""The binary integer program of a placement problem, in PuLP.

Variables: y[t] is 1 when task t runs, x[t, m, d] is 1 when its module m runs on device d. Maximise the
weight of the tasks that run, subject to (the names are those of the rows)

1. whole[t, m]:      the sum over d of x[t, m, d] equals y[t]: all modules of a task, or none;
2. memory[d], cpu[d]: what the modules on a device ask for fits into what it has;
3. latency[t, s, d, m]: x[t, s, d] plus the sum of x[t, m, e] over the devices e that are too far from d
   is at most y[t], for selector s and monitor m. One row for all e is stronger than a row for each pair
   (the relaxation is tighter), and candidates that no partner can reach have been left out (choices.py).

For the second aim, latency, z[t, s, m, d, e] splits x[t, s, d] over the devices e of monitor m that are
close enough (rows pair[...]): the total latency is then linear, and these rows imply the latency rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pulp
from numpy.typing import NDArray

from .choices import Amounts, Choices, close_enough, demands
from .problem import RESOURCES, Problem
from .search import EPSILON, Chosen, Search

EQUAL, AT_MOST = pulp.LpConstraintEQ, pulp.LpConstraintLE

ROW_OF = {"memory_entries": "memory", "cpu_percent": "cpu"}
"""Prefix of the name of a device's capacity row, by resource."""


def clean(name: str) -> str:
    """Return a name that every solver's file format can hold."""
    return re.sub(r"[^A-Za-z0-9_.]", "_", name)


class PlacementModel:
    """The program over some tasks of a problem, with the capacity that is left for them.

    `choices` maps the position of each task that takes part to the devices its modules may use. Without
    `whole`, y is the constant 1 and rule 1 is "at most": modules are placed each for itself, as MAM does.
    """

    def __init__(self, problem: Problem, choices: Mapping[int, Choices], capacity: Amounts, whole: bool = True) -> None:
        self.problem = problem
        self.whole = whole
        self.choices = choices
        self.capacity = capacity
        self.program = pulp.LpProblem("placement", pulp.LpMaximize)
        self.y: dict[int, pulp.LpVariable] = {}
        self.x: dict[int, list[dict[int, pulp.LpVariable]]] = {}
        self._used: list[list[list[_Term]]] = [[[] for _ in problem.devices] for _ in RESOURCES]
        for t in choices:
            self._add_task(t)
        self._add_capacities()

    def _row(self, terms: _Terms, sense: int, right: float, name: str) -> None:
        self.program.addConstraint(pulp.LpConstraint(pulp.LpAffineExpression(terms), sense, name, right))

    def _upto_y(self, t: int, terms: _Terms, sense: int, name: str) -> None:
        if self.whole:
            self._row([*terms, (self.y[t], -1)], sense, 0, name)
        else:
            self._row(terms, AT_MOST, 1, name)

    def _add_task(self, t: int) -> None:
        task = self.problem.tasks[t]
        label = f"{t}_{clean(task.name)}"
        if self.whole:
            self.y[t] = self.program.add_variable(f"y_{label}", 0, 1, pulp.LpInteger)
        asks = demands(task)
        self.x[t] = []
        for m, devices in enumerate(self.choices[t]):
            x = {d: self.program.add_variable(f"x_{label}_{m}_{d}", 0, 1, pulp.LpInteger) for d in devices}
            self.x[t].append(x)
            self._upto_y(t, [(v, 1) for v in x.values()], EQUAL, f"whole_{label}_{m}")
            for r in range(len(RESOURCES)):
                if asks[m, r]:
                    for d, variable in x.items():
                        self._used[r][d].append((variable, asks[m, r]))
        self._add_latency_rows(t, label)

    def _add_latency_rows(self, t: int, label: str) -> None:
        task = self.problem.tasks[t]
        if task.max_latency_ms == float("inf"):
            return
        close = close_enough(self.problem, task)
        for s, selector in enumerate(task.modules):
            for m, monitor in enumerate(task.modules):
                if selector.role != "selector" or monitor.role != "monitor":
                    continue
                for d, x in self.x[t][s].items():
                    far = [v for e, v in self.x[t][m].items() if not close[d, e]]
                    if far:
                        terms = [(x, 1), *((v, 1) for v in far)]
                        self._upto_y(t, terms, AT_MOST, f"latency_{label}_{s}_{d}_{m}")

    def _add_capacities(self) -> None:
        for r, resource in enumerate(RESOURCES):
            for d, device in enumerate(self.problem.devices):
                if self._used[r][d]:
                    name = f"{ROW_OF[resource]}_{d}_{clean(device.name)}"
                    self._row(self._used[r][d], AT_MOST, float(self.capacity[r, d]), name)

    def capacity_row(self, r: int, d: int) -> pulp.LpConstraint | None:
        """Return the row of a resource of a device; None where no module asks for it there."""
        name = f"{ROW_OF[RESOURCES[r]]}_{d}_{clean(self.problem.devices[d].name)}"
        return self.program.get_constraint_by_name(name)

    def weight(self) -> pulp.LpAffineExpression:
        """Return the weight of the tasks that run."""
        return pulp.LpAffineExpression([(y, self.problem.tasks[t].weight) for t, y in self.y.items()])

    def modules(self) -> pulp.LpAffineExpression:
        """Return the number of modules that are placed."""
        return pulp.LpAffineExpression([(v, 1) for task in self.x.values() for x in task for v in x.values()])

    def stays(self, search: Search) -> pulp.LpAffineExpression:
        """Return the number of kept modules that run where they ran before."""
        return pulp.LpAffineExpression(
            [
                (self.x[t][m][d], 1)
                for t, before in search.kept.items()
                if t in self.x
                for m, d in before.items()
                if d in self.x[t][m]
            ]
        )

    def value(self, search: Search) -> pulp.LpAffineExpression:
        """Return the weight of the tasks that run, plus the price of each move that is not made."""
        return self.weight() + search.move_price * self.stays(search) if search.move_price else self.weight()

    def at_least(self, expression: pulp.LpAffineExpression, least: float, name: str) -> None:
        """Keep what an earlier aim has reached."""
        row = pulp.LpConstraint(expression, pulp.LpConstraintGE, name, least - EPSILON)
        self.program.addConstraint(row)

    def latency(self) -> pulp.LpAffineExpression:
        """Add what makes the total latency of all selector-monitor pairs linear, and return it, in ms."""
        total: dict[pulp.LpVariable, float] = {}  # summed here: an expression keeps only the last of equal terms
        for t in self.choices:
            task = self.problem.tasks[t]
            close = close_enough(self.problem, task)
            for s, selector in enumerate(task.modules):
                for m, monitor in enumerate(task.modules):
                    if selector.role == "selector" and monitor.role == "monitor":
                        for variable, latency_ms in self._pair(t, s, m, close):
                            total[variable] = total.get(variable, 0.0) + latency_ms
        return pulp.LpAffineExpression(total)

    def _pair(self, t: int, s: int, m: int, close: NDArray[np.bool_]) -> _Terms:
        latency = self.problem.latency_ms
        sources, targets = self.x[t][s], self.x[t][m]
        if len(sources) == 1:
            (d,) = sources
            return [(v, float(latency[d, e])) for e, v in targets.items()]
        if len(targets) == 1:
            (e,) = targets
            return [(v, float(latency[d, e])) for d, v in sources.items()]
        label = f"{t}_{s}_{m}"
        z = {
            (d, e): self.program.add_variable(f"z_{label}_{d}_{e}", 0) for d in sources for e in targets if close[d, e]
        }
        for d, x in sources.items():
            self._row([*((v, 1) for k, v in z.items() if k[0] == d), (x, -1)], EQUAL, 0, f"pair_s_{label}_{d}")
        for e, x in targets.items():
            self._row([*((v, 1) for k, v in z.items() if k[1] == e), (x, -1)], EQUAL, 0, f"pair_m_{label}_{e}")
        return [(v, float(latency[d, e])) for (d, e), v in z.items()]

    def start(self, chosen: Chosen) -> dict[str, float]:
        """Return a placement as values of the variables that are not 0."""
        values = {}
        for t, configuration in chosen.items():
            if t in self.y:
                values[self.y[t].name] = 1.0
                for x, d in zip(self.x[t], configuration, strict=True):
                    values[x[d].name] = 1.0
        for variable in self.program.variables():
            if variable.name.startswith("z_"):
                t, s, m, d, e = map(int, variable.name.split("_")[1:])
                values[variable.name] = float(t in chosen and chosen[t][s] == d and chosen[t][m] == e)
        return values

    def chosen(self) -> Chosen:
        """Return the tasks that run, and where, after a solve."""
        return {t: tuple(_device_of(x) for x in self.x[t]) for t, y in self.y.items() if (y.varValue or 0) > 0.5}


_Term = tuple[pulp.LpVariable, float]
_Terms = Sequence[tuple[pulp.LpVariable, float]]


def _device_of(x: dict[int, pulp.LpVariable]) -> int:
    return max(x, key=lambda d: x[d].varValue or 0.0)


def possible(choices: Iterable[Choices | None]) -> dict[int, Choices]:
    """Return the tasks that can run, by position."""
    return {t: options for t, options in enumerate(choices) if options is not None}
