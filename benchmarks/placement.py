"""Placement against its bars: time to a proof, gap after four seconds, model building, beside the peers.

usage: python benchmarks/placement.py [--tasks 50,200] [--seeds 1,2,3,4,5,6] [--topo b4] [--latency MS]
[--peers cbc,highs,cp-sat,greedy] [--time-limit 60]. The peers but greedy solve the plain pairwise model of the same
instances, on one thread, for the most tasks only; cp-sat needs `ortools`. Prints one line
for each instance and algorithm.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pulp
from mozart.placement.algorithms import place
from mozart.placement.choices import all_choices, capacities, demands
from mozart.placement.generated import generate
from mozart.placement.model import PlacementModel, possible
from mozart.placement.problem import Problem, to_json
from mozart.topologies.catalogue import load


def pairwise(problem: Problem) -> pulp.LpProblem:
    """Return the model that one writes first: all or none, capacities, and x + x' <= 1 for each pair too far apart."""
    model = pulp.LpProblem("pairwise", pulp.LpMaximize)
    loads: list[list[list[tuple[pulp.LpVariable, float]]]] = [[[] for _ in problem.devices] for _ in range(2)]
    goal = []
    for t, task in enumerate(problem.tasks):
        y = model.add_variable(f"y{t}", 0, 1, pulp.LpInteger)
        goal.append((y, task.weight))
        asks, x = demands(task), []
        for m, module in enumerate(task.modules):
            mine = {
                d: model.add_variable(f"x{t}_{m}_{d}", 0, 1, pulp.LpInteger)
                for d in map(problem.index.__getitem__, module.candidates)
            }
            x.append(mine)
            model += pulp.LpAffineExpression([*((v, 1) for v in mine.values()), (y, -1)]) == 0
            for d, v in mine.items():
                for r in range(2):
                    loads[r][d].append((v, asks[m, r]))
        for s, first in enumerate(task.modules):
            for m, second in enumerate(task.modules):
                if (first.role, second.role) == ("selector", "monitor"):
                    for d, v in x[s].items():
                        for e, w in x[m].items():
                            if problem.latency_ms[d, e] > task.max_latency_ms:
                                model += v + w <= 1
    for r, room in enumerate(capacities(problem)):
        for d, terms in enumerate(loads[r]):
            if terms:
                model += pulp.LpAffineExpression(terms) <= room[d]
    model.setObjective(pulp.LpAffineExpression(goal))
    return model


def run_peer(name: str, problem: Problem, limit_s: float) -> tuple[float, bool]:
    """Return (tasks placed, proved) of a peer."""
    if name == "greedy":
        return place(problem, "greedy").value, False
    if name == "cp-sat":
        return run_cp_sat(problem, limit_s)
    model = pairwise(problem)
    options = {"msg": False, "timeLimit": limit_s, "threads": 1}
    model.solve(pulp.PULP_CBC_CMD(**options) if name == "cbc" else pulp.HiGHS(**options))
    return pulp.value(model.objective) or 0.0, model.sol_status == pulp.LpSolutionOptimal


def run_cp_sat(problem: Problem, limit_s: float) -> tuple[float, bool]:
    """Run CP-SAT in a process of its own: its library and HiGHS's cannot be loaded into one."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(to_json(problem), file)
        file.flush()
        command = [sys.executable, str(Path(__file__).with_name("placement_cp_sat.py")), file.name, str(limit_s)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    value, proved = answer.split()
    return float(value), proved == "True"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", default="50,200")
    parser.add_argument("--seeds", default="1,2,3,4,5,6")
    parser.add_argument("--topo", default="b4")
    parser.add_argument("--peers", default="cbc,highs,cp-sat,greedy")
    parser.add_argument("--time-limit", type=float, default=60.0)
    parser.add_argument("--latency", type=float, default=float("inf"))
    args = parser.parse_args()
    topology = load(args.topo)
    place(generate(topology.hosts, topology.switches, topology.latency_ms, tasks=5), "priced")  # compile
    for tasks in map(int, args.tasks.split(",")):
        times = []
        for seed in map(int, args.seeds.split(",")):
            problem = generate(
                topology.hosts, topology.switches, topology.latency_ms, tasks=tasks, load=0.9, seed=seed
            ).with_latency_bound(args.latency)
            begun_s = time.perf_counter()
            PlacementModel(problem, possible(all_choices(problem)), capacities(problem))
            build_s = time.perf_counter() - begun_s
            early = place(problem, "priced", time_limit_s=4.0)
            ours = place(problem, "priced", time_limit_s=args.time_limit)
            taken_s = ours.build_s + ours.solve_s
            times.append(taken_s)
            print(
                f"{tasks} tasks, seed {seed}: model {build_s:.2f} s; after 4 s {early.value:g}, gap {early.gap:.3%}; "
                f"priced {ours.value:g} of {ours.bound:g}, {ours.status}, {taken_s:.1f} s",
                flush=True,
            )
            for peer in filter(None, args.peers.split(",")):
                begun_s = time.perf_counter()
                value, proved = run_peer(peer, problem, args.time_limit)
                proof = "proved" if proved else "not proved"
                print(f"    {peer}: {value:g}, {proof}, {time.perf_counter() - begun_s:.1f} s", flush=True)
        print(f"{tasks} tasks: median {statistics.median(times):.2f} s", flush=True)


if __name__ == "__main__":
    main()
