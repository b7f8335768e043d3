"""CP-SAT on the plain pairwise model of a placement problem; benchmarks/placement.py runs it.

usage: python benchmarks/placement_cp_sat.py PROBLEM.json SECONDS. Prints the tasks placed, and whether that is proved.
"""

from __future__ import annotations

import sys

from mozart.placement.choices import capacities, demands
from mozart.placement.problem import Problem, load_problem
from ortools.sat.python import cp_model


def solve(problem: Problem, limit_s: float) -> tuple[float, bool]:
    """Solve the pairwise model with CP-SAT; demands in hundredths, which the generator's are whole numbers of."""
    loads: list[list[list]] = [[[] for _ in problem.devices] for _ in range(2)]
    model, ys = cp_model.CpModel(), []
    for task in problem.tasks:
        y, x = model.new_bool_var(""), []
        ys.append(y)
        for module, asks in zip(task.modules, demands(task), strict=True):
            mine = {problem.index[c]: model.new_bool_var("") for c in module.candidates}
            x.append(mine)
            model.add(sum(mine.values()) == y)
            for d, v in mine.items():
                for r in range(2):
                    loads[r][d].append(round(100 * asks[r]) * v)
        for first, mine in zip(task.modules, x, strict=True):
            for second, others in zip(task.modules, x, strict=True):
                if (first.role, second.role) == ("selector", "monitor"):
                    for d, v in mine.items():
                        for e, w in others.items():
                            if problem.latency_ms[d, e] > task.max_latency_ms:
                                model.add_bool_or([v.negated(), w.negated()])
    for r, room in enumerate(capacities(problem)):
        for d, terms in enumerate(loads[r]):
            model.add(sum(terms) <= int(100 * room[d] + 1e-6))
    model.maximize(sum(ys))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds, solver.parameters.num_workers = limit_s, 1
    status = solver.solve(model)
    return solver.objective_value, status == cp_model.OPTIMAL


if __name__ == "__main__":
    print(*solve(load_problem(sys.argv[1]), float(sys.argv[2])))
