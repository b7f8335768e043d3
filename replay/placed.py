"""Which tasks a replay runs, and where: the placement of a task file under its `resources`.

A task is placed whole or refused. Roles name devices that all take part; of a list of devices, the algorithm chooses
one for the module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import PlacementError, SpecError
from ..placement.algorithms import DEFAULT, place
from ..placement.problem import Problem
from ..placement.result import OPTIMAL, Placement
from ..placement.search import STEPS
from ..placement.spec_problem import place_of, problem_from_spec
from ..tasks import Spec
from ..topologies.roles import Role
from ..topologies.topology import Topology

LARGEST_SEED = 2**31


@dataclass(frozen=True, slots=True)
class Placed:
    """The tasks that run, each with where its selectors and its monitors are, and why the others do not."""

    algorithm: str
    status: str
    """One of `placement.result.STATUSES`."""
    at: Mapping[str, tuple[Role, Role]]
    refused: Mapping[str, str]


def place_tasks(spec: Spec, topology: Topology, algorithm: str = DEFAULT) -> Placed:
    """Place the tasks of a task file with an algorithm of `placement.algorithms`.

    The search ends after a number of steps and not of seconds, so the answer is the same on every machine. Where no
    module has a choice and all tasks fit there is one best placement, and the default algorithm is not asked.
    Raises PlacementError for an unknown algorithm, and SpecError for devices and roles that the paths do not have.
    """
    try:
        problem = problem_from_spec(spec, topology)
    except PlacementError as error:
        raise SpecError(str(error)) from error
    found = _without_choice(problem) if algorithm == DEFAULT else None
    status = OPTIMAL
    if found is None:
        found = place(problem, algorithm, max_steps=STEPS, seed=spec.seed % LARGEST_SEED)
        status = found.status
    return Placed(
        algorithm,
        status,
        {task.name: place_of(task, found.tasks[task.name]) for task in spec.tasks if task.name in found.tasks},
        {task.name: _reason(problem, found, task.name) for task in spec.tasks if task.name not in found.tasks},
    )


def _without_choice(problem: Problem) -> Placement | None:
    """Return the placement of all tasks where each module has one candidate and all fit; else None."""
    if any(len(module.candidates) != 1 for task in problem.tasks for module in task.modules):
        return None
    found = place(problem, "greedy")
    return found if len(found.tasks) == len(problem.tasks) else None


def _reason(problem: Problem, found: Placement, task: str) -> str:
    """Say in a line what keeps a task out, and what would let it in."""
    from ..placement.explain import explain

    return str(explain(problem, found, task)).removeprefix(f"{task}: ").replace("\n  ", "; ")
