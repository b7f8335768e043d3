"""`mozart place`: place the tasks of a file, of a problem or of a generator, with one algorithm or several."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..placement.comparison import Run
    from ..placement.problem import Problem
    from ..placement.result import Assignment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mozart place`."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("spec", nargs="?", help="task file")
    source.add_argument("--problem", metavar="FILE", help="placement problem as JSON")
    source.add_argument("--generate", metavar="tasks=60,load=0.9,seed=1", help="random problems over --topo")
    parser.add_argument("--topo", default="b4", metavar="NAME", help="topology of --generate (default b4)")
    parser.add_argument("--algorithm", default=None, metavar="A,B", help="algorithms; see --list (default priced)")
    parser.add_argument("--list", action="store_true", help="list the algorithms and leave")
    parser.add_argument("--latency", default=None, metavar="inf,100", help="bounds in ms instead of the tasks' own")
    parser.add_argument("--solver", default="highs", choices=("highs", "cbc"))
    parser.add_argument("--time-limit", type=float, default=60.0, metavar="S", help="for each run (default 60)")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="with --generate: N seeds in a row")
    parser.add_argument("--seed", type=int, default=1, help="of what is random in the algorithms (default 1)")
    parser.add_argument("--keep", metavar="FILE", help="placement that runs now: move as few modules as possible")
    parser.add_argument("--move-price", type=float, default=0.0, metavar="P", help="weight that a move costs")
    parser.add_argument("--lost", default="", metavar="s3,h2", help="devices that have disappeared")
    parser.add_argument("--explain", action="append", default=[], metavar="TASK", help="why a task does not run")
    parser.add_argument("--plot", nargs="?", const=".", metavar="DIR", help="draw figures into a folder")
    parser.add_argument("--json", action="store_true", help="write rows and the last placement as JSON")


def run(args: argparse.Namespace) -> int:
    """Place, print the table or JSON, explain, draw."""
    from ..errors import SpecError
    from ..placement.algorithms import ALGORITHMS, DEFAULT
    from ..placement.comparison import compare
    from ..placement.keep import load_kept

    if args.list:
        print("\n".join(f"  {name:12} {line}" for name, (_, _, line) in ALGORITHMS.items()))
        return 0
    if args.time_limit <= 0 or args.repeat < 1 or args.move_price < 0:
        raise SpecError("--time-limit must be above 0, --repeat 1 or more, --move-price 0 or more")
    problems = _problems(args)
    kept = load_kept(args.keep) if args.keep else None
    runs = compare(
        problems,
        (args.algorithm or DEFAULT).split(","),
        _bounds(args.latency),
        time_limit_s=args.time_limit,
        seed=args.seed,
        solver=args.solver,
        keep=kept,
        move_price=args.move_price,
        done=_progress if sys.stderr.isatty() else lambda run: None,
    )
    if not runs:
        raise SpecError("nothing was placed: no problem, no algorithm or no bound was given")
    last = problems[runs[-1].repeat].with_latency_bound(runs[-1].row["max_latency_ms"])
    if args.json:
        print(json.dumps(_document(runs), indent=2))
    else:
        _print_table(runs)
        _print_moves(runs[-1], kept)
    _explain(args, last, runs[-1])
    if args.plot:
        _plot(Path(args.plot), last, runs)
    return 0


def _problems(args: argparse.Namespace) -> list[Problem]:
    from ..errors import SpecError
    from ..placement.generated import generate, parse_options
    from ..placement.problem import load_problem
    from ..topologies.catalogue import load as load_topology

    if args.problem:
        found = [load_problem(args.problem)]
    elif args.generate is not None:
        options = parse_options(args.generate)
        topology = load_topology(args.topo)
        found = [
            generate(
                topology.hosts,
                topology.switches,
                topology.latency_ms,
                tasks=int(options["tasks"]),
                load=options["load"],
                seed=int(options["seed"]) + k,
            )
            for k in range(args.repeat)
        ]
    elif args.spec:
        found = [_spec_problem(args.spec)]
    else:
        raise SpecError("place what? give a task file, --problem FILE or --generate tasks=60")
    for name in filter(None, args.lost.split(",")):
        found = [problem.without_device(name) for problem in found]
    return found


def _spec_problem(path: str) -> Problem:
    from ..placement.spec_problem import problem_from_spec
    from ..replay.vocabulary import load
    from ..topologies.catalogue import load as load_topology

    spec = load(path)
    return problem_from_spec(spec, load_topology(spec.topology.name, **spec.topology.options))


def _bounds(text: str | None) -> list[float | None]:
    from ..errors import SpecError

    if text is None:
        return [None]
    try:
        bounds: list[float | None] = [float(part) for part in text.split(",")]
    except ValueError:
        raise SpecError(f"--latency {text}: give bounds in ms, as in inf,250,100") from None
    if any(bound is None or math.isnan(bound) or bound < 0 for bound in bounds):
        raise SpecError(f"--latency {text}: bounds must be 0 or more")
    return bounds


def _progress(run: Run) -> None:
    row = run.row
    print(
        f"repeat {run.repeat + 1}: {row['algorithm']}, {_bound(row['max_latency_ms'])}: {row['placed_tasks']} of "
        f"{row['tasks']} tasks, {row['status']}",
        file=sys.stderr,
    )


def _document(runs: list[Run]) -> dict[str, Any]:
    rows = [{k: None if isinstance(v, float) and math.isinf(v) else v for k, v in run.row.items()} for run in runs]
    return {"rows": rows, "placement": runs[-1].placement.to_json()}


def _bound(bound_ms: float | None) -> str:
    from ..placement.figures import bound_text

    return bound_text(bound_ms)


def _print_table(runs: list[Run]) -> None:
    from ..placement.comparison import summary

    heads = ("algorithm", "latency", "tasks %", "of best %", "avg ms", "gap %", "optimal", "s")
    print("{:12} {:>10} {:>13} {:>13} {:>13} {:>7} {:>8} {:>7}".format(*heads))
    for row in summary(runs):
        gap = "-" if row["gap"] is None else f"{100 * row['gap']:.2f}"
        print(
            f"{row['algorithm']:12} {_bound(row['max_latency_ms']):>10} "
            f"{_interval(row, 'placed_share', 100):>13} {_interval(row, 'relative_share', 100):>13} "
            f"{_interval(row, 'avg_latency_ms', 1):>13} {gap:>7} {row['optimal']:>3} of {row['repeats']:<2}"
            f"{row['seconds']:7.2f}"
        )


def _interval(row: dict[str, Any], column: str, scale: float) -> str:
    value, half = row[column], row[f"{column}_95"]
    if value is None:
        return "-"
    return f"{scale * value:.1f}" + ("" if half is None else f" ± {scale * half:.1f}")


def _print_moves(run: Run, kept: Assignment | None) -> None:
    if kept is None:
        return
    moves = run.placement.moves
    print(f"{len(moves)} modules move" + (", proved the fewest" if run.placement.moves_proved else ""))
    for move in moves:
        print(f"  {move.task} {move.module}: {move.source} -> {move.to or 'stops'}")


def _explain(args: argparse.Namespace, problem: Problem, last: Run) -> None:
    from ..placement.explain import explain

    for name in args.explain:
        print(explain(problem, last.placement, name, args.solver), file=sys.stderr if args.json else sys.stdout)


def _plot(folder: Path, problem: Problem, runs: list[Run]) -> None:
    from ..placement.comparison import summary
    from ..placement.figures import plot_loads, plot_table

    for path in (*plot_table(summary(runs), folder), *plot_loads(problem, runs[-1].placement, folder)):
        print(f"figure: {path}", file=sys.stderr)
