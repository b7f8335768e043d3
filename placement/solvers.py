"""Solving a PuLP model: with which solver, for how long, and what its answer is really worth.

PuLP's `status` says "optimal" also for a run that a time limit stopped (seen with PuLP 3.3), so only
`sol_status` and the solver's own bound are believed. Ctrl-C stops the solver and keeps the best it has.
"""

from __future__ import annotations

import math
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pulp

from ..errors import PlacementError
from .search import EFFORT, INTERRUPTED, TIME, Search

SOLVERS = ("highs", "cbc")
POLL_S = 0.05
SHORTEST_S = 0.05
"""A solver with less time than this is not started."""

OBJECTIVE_SLACK = 1e-6
"""Relative difference that rounding may make between an objective as stated and as its solution has it."""

CHECK_STEPS, NODE_STEPS = 30_000, 10_000
"""Steps of work that one of HiGHS's checks whether to go on counts as, and a node of CBC's tree."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a solver has found; the values stand in the model's variables where `found`.

    `proved`: nothing better exists (or, where not `found`, nothing at all); `bound`: no solution's objective
    is better than this.
    """

    found: bool
    proved: bool
    bound: float


class _Highs(pulp.HiGHS):
    """PuLP's HiGHS with a start solution, patience, an answer to Ctrl-C, and models handed over as arrays."""

    def __init__(self, start: Mapping[str, float] | None, patience: int | None, **options: Any) -> None:
        super().__init__(**options)
        self.start = start
        self.patience = patience
        self.checks = 0
        self.impatient = self.interrupted = False

    def buildSolverModel(self, lp: pulp.LpProblem) -> None:
        variables, rows = lp.variables(), list(lp._constraints.values())
        sign = -1.0 if lp.sense == pulp.LpMaximize else 1.0
        for position, variable in enumerate(variables):
            variable.index = position
        highs = lp.solverModel
        low = [-math.inf if v.lowBound is None else v.lowBound for v in variables]
        high = [math.inf if v.upBound is None else v.upBound for v in variables]
        highs.addVars(len(variables), np.array(low, float), np.array(high, float))
        every = np.arange(len(variables), dtype=np.int32)
        cost = np.array([sign * lp.objective.get(v, 0.0) for v in variables], float)
        highs.changeColsCost(len(variables), every, cost)
        if self.mip:
            whole = np.array([v.index for v in variables if v.cat == pulp.LpInteger], np.int32)
            highs.changeColsIntegrality(len(whole), whole, np.ones(len(whole), np.uint8))
        for position, row in enumerate(rows):
            row.index = position
        starts = np.cumsum([0] + [len(row) for row in rows])[:-1].astype(np.int32)
        columns = np.array([v.index for row in rows for v in row], np.int32)
        values = np.array([value for row in rows for value in row.values()], float)
        lower = np.array([-math.inf if (b := row.getLb()) is None else b for row in rows], float)
        upper = np.array([math.inf if (b := row.getUb()) is None else b for row in rows], float)
        highs.addRows(len(rows), lower, upper, len(columns), starts, columns, values)

    def findSolutionValues(self, lp: pulp.LpProblem) -> tuple[int, int]:
        try:
            return super().findSolutionValues(lp)
        except KeyError:  # a status that PuLP does not know: the values stand in the model already
            return pulp.LpStatusNotSolved, pulp.LpSolutionIntegerFeasible

    def callSolver(self, lp: pulp.LpProblem) -> None:
        highs = lp.solverModel
        if self.start is not None:
            values = np.array([self.start.get(v.name, 0.0) for v in lp.variables()], float)
            highs.setSolution(len(values), np.arange(len(values), dtype=np.int32), values)
        highs.HandleKeyboardInterrupt = True
        if self.patience is not None:
            highs.cbMipInterrupt += self._check
        highs.startSolve()
        while True:
            try:
                while not highs.wait(POLL_S)[0]:
                    pass
                return
            except KeyboardInterrupt:
                self.interrupted = True
                highs.cancelSolve()

    def _check(self, event: Any) -> None:
        self.checks += 1
        if self.patience is not None and self.checks > self.patience:
            self.impatient = True
            event.interrupt()


def solve(
    model: pulp.LpProblem,
    search: Search,
    *,
    start: Mapping[str, float] | None = None,
    relaxed: bool = False,
    patience: int | None = None,
    gap: float = 0.0,
) -> Answer:
    """Solve a model within what is left of the search's time, from a start solution where there is one.

    `patience` ends it early, and at the same point however fast the machine is: HiGHS after so many of its own checks
    whether to go on (some tens a second on the programs of placement), CBC after so many nodes.

    With `relaxed`, integrality is left out and the rows' duals are set. With a `gap`, a solution that is worse than
    the best by no more than this share counts as proved. Raises PlacementError for a solver that is not there.
    """
    if search.left_s < SHORTEST_S:
        search.cut(TIME)
        return Answer(False, False, math.inf if model.sense == pulp.LpMaximize else -math.inf)
    if search.solver == "highs":
        return _solve_highs(model, search, start, relaxed, patience, gap)
    if search.solver == "cbc":
        return _solve_cbc(model, search, start, relaxed, patience, gap)
    raise PlacementError(f"no solver {search.solver!r}; there are {', '.join(SOLVERS)}")


def _solve_highs(
    model: pulp.LpProblem,
    search: Search,
    start: Mapping[str, float] | None,
    relaxed: bool,
    patience: int | None,
    gap: float,
) -> Answer:
    if not pulp.HiGHS(msg=False).available():
        raise PlacementError("the solver HiGHS is not installed; pip install highspy, or use --solver cbc")
    allowed = _patience(search, patience, CHECK_STEPS)
    solver = _Highs(
        None if relaxed else start,
        allowed,
        msg=False,
        mip=not relaxed,
        threads=1,
        gapRel=gap,
        gapAbs=1e-7,
        timeLimit=None if math.isinf(search.left_s) else search.left_s,
        random_seed=search.seed % 2**31,
    )
    model.solve(solver)
    search.steps += solver.checks * CHECK_STEPS
    _note_limit(search, solver.interrupted, solver.impatient and allowed != patience)
    if model.solverModel.getModelStatus().name == "kTimeLimit":
        search.cut(TIME)
    info = model.solverModel.getInfo()
    sign = -1.0 if model.sense == pulp.LpMaximize else 1.0
    if not relaxed and info.primal_solution_status == 2 and not _is_worth(model, sign * info.objective_function_value):
        if start is not None:
            return _solve_highs(model, search, None, relaxed, patience, gap)
        return Answer(True, False, -sign * math.inf)
    infeasible = model.sol_status == pulp.LpSolutionInfeasible
    proved = model.sol_status == pulp.LpSolutionOptimal
    found = info.primal_solution_status == 2 and not infeasible
    bound = sign * (info.objective_function_value if relaxed and proved else info.mip_dual_bound)
    if relaxed and not proved:
        bound = -sign * math.inf
    return Answer(found, proved or infeasible, bound)


def _is_worth(model: pulp.LpProblem, stated: float) -> bool:
    """Tell whether the variables' values have the objective that the solver states.

    HiGHS 1.16 may state the best objective and hand out the start solution, where presolve has solved a whole program.
    """
    value = pulp.value(model.objective)
    return value is None or abs(float(value) - stated) <= OBJECTIVE_SLACK * max(1.0, abs(stated))


def _patience(search: Search, patience: int | None, each: int) -> int | None:
    """Return the patience of a solver, at most what the search has steps for, where a check or a node counts `each`."""
    if math.isinf(search.max_steps):
        return patience
    left = int(search.left_steps // each)
    return left if patience is None else min(patience, left)


def _note_limit(search: Search, interrupted: bool, out_of_steps: bool) -> None:
    if interrupted:
        search.cut(INTERRUPTED)
    elif out_of_steps:
        search.cut(EFFORT)


class _Cbc(pulp.PULP_CBC_CMD):
    """PuLP's CBC in a process of its own session, so that Ctrl-C reaches it once, and it writes what it has found."""

    def __init__(self, folder: Path, start: bool, **options: Any) -> None:
        super().__init__(msg=False, warmStart=start, **options)
        self.folder = folder
        self.log = ""
        self.interrupted = False

    def solve_CBC(self, lp: pulp.LpProblem, use_mps: bool = True) -> int:
        mps, mst, sol = (self.folder / f"model.{kind}" for kind in ("mps", "mst", "sol"))
        variables, names, rows, _ = lp.writeMPS(str(mps), rename=1)
        command = [self.path, str(mps)]
        if lp.sense == pulp.LpMaximize:
            command.append("-max")
        if self.optionsDict.get("warmStart"):
            self.writesol(str(mst), lp, variables, names, rows)
            command += ["-mips", str(mst)]
        if self.timeLimit is not None:
            command += ["-sec", str(self.timeLimit)]
        for option in (*self.options, *self.getOptions()):
            command += f"-{option}".split()
        command += ["-solve" if self.mip else "-initialSolve", "-printingOptions", "all", "-solution", str(sol)]
        self._run(command)
        if not sol.exists():
            lp.assignStatus(pulp.LpStatusNotSolved, pulp.LpSolutionNoSolutionFound)
            return int(lp.status)
        status, values, costs, prices, slacks, found = self.readsol_MPS(str(sol), lp, variables, names, rows)
        lp.assignVarsVals(values)
        lp.assignVarsDj(costs)
        lp.assignConsPi(prices)
        lp.assignConsSlack(slacks, activity=True)
        lp.assignStatus(status, found)
        return int(status)

    def _run(self, command: list[str]) -> None:
        """Run CBC to its end; Ctrl-C asks it to stop, and a second one makes it."""
        log = self.folder / "log"
        with log.open("w") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
            while process.returncode is None:
                try:
                    process.wait()
                except KeyboardInterrupt:
                    process.send_signal(signal.SIGKILL if self.interrupted else signal.SIGINT)
                    self.interrupted = True
        self.log = log.read_text(errors="replace")
        if process.returncode and not self.interrupted:
            raise PlacementError(f"the solver CBC ended with status {process.returncode}:\n{self.log[-500:]}")


def _solve_cbc(
    model: pulp.LpProblem,
    search: Search,
    start: Mapping[str, float] | None,
    relaxed: bool,
    patience: int | None,
    gap: float,
) -> Answer:
    allowed = _patience(search, patience, NODE_STEPS)
    with tempfile.TemporaryDirectory(prefix="mozart-cbc-") as folder:
        solver = _Cbc(
            Path(folder),
            start is not None and not relaxed,
            mip=not relaxed,
            gapRel=gap,
            gapAbs=1e-7,
            timeLimit=None if math.isinf(search.left_s) else search.left_s,
            timeMode="elapsed",
            options=[f"randomSeed {search.seed % 2**31}"] + [f"maxNodes {allowed}"] * (allowed is not None),
        )
        if start is not None:
            for variable in model.variables():
                variable.varValue = start.get(variable.name, 0.0)
        model.solve(solver)
    search.steps += NODE_STEPS * _nodes(solver.log)
    _note_limit(search, solver.interrupted, allowed != patience and "Result - Stopped on node limit" in solver.log)
    if "Result - Stopped on time limit" in solver.log:
        search.cut(TIME)
    infeasible = model.sol_status == pulp.LpSolutionInfeasible
    proved = model.sol_status == pulp.LpSolutionOptimal
    found = proved or model.sol_status == pulp.LpSolutionIntegerFeasible or _stopped_with_solution(solver.log)
    return Answer(found, proved or infeasible, _cbc_bound(model, solver.log, proved))


def _stopped_with_solution(log: str) -> bool:
    """Tell whether CBC was interrupted and had a solution: PuLP knows no word for that."""
    return "ctrl-c" in log and re.search(r"^Objective value:", log, re.MULTILINE) is not None


def _nodes(log: str) -> int:
    """Return how many nodes of its tree CBC says that it has seen."""
    stated = re.findall(r"^Enumerated nodes:\s+(\d+)", log, re.MULTILINE)
    return int(stated[-1]) if stated else 0


def _cbc_bound(model: pulp.LpProblem, log: str, proved: bool) -> float:
    """Return the bound that CBC's summary states, in the sense of the model."""
    if proved:
        return float(pulp.value(model.objective))
    stated = re.findall(r"^(?:Lower|Upper) bound:\s+(\S+)", log, re.MULTILINE)
    if stated:
        return float(stated[-1])
    return math.inf if model.sense == pulp.LpMaximize else -math.inf
