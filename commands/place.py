"""`mozart place`: place the tasks of a file, of a problem or of a generator, with one algorithm or several."""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ..fields import Field, finite

if TYPE_CHECKING:
    from ..placement.comparison import Run
    from ..placement.generated import Instance
    from ..placement.problem import Problem
    from ..placement.result import Assignment
    from ..topologies.topology import Topology

EXAMPLES = """examples:
  mozart place tasks.yaml --explain scanners
  mozart place --generate tasks=60,load=0.9 --repeat 6 --latency inf,80 --algorithm mam,greedy,priced
  mozart place --generate tasks=50:200:1000,load=0.8:0.9 --repeat 6 --topo b4 --topo fattree,k=4 --out sweep --plot"""


NUMBERS = {
    "--steps": Field(int, "of work, for each run", None, minimum=1, maximum=10**15),
    "--time-limit": Field(float, "for each run", None, above=0, unit="s"),
    "--repeat": Field(int, "seeds in a row", 1, minimum=1, maximum=100_000),
    "--seed": Field(int, "of what is random in the algorithms", 1, minimum=0, maximum=2**31 - 1),
    "--move-price": Field(float, "weight that a move costs", 0.0, minimum=0),
    "--jobs": Field(int, "runs side by side", None, minimum=1, maximum=1024),
    "--solver": Field(str, "what solves integer programs", "highs", choices=("highs", "cbc")),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mozart place`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    source = parser.add_mutually_exclusive_group()
    source.add_argument("spec", nargs="?", help="task file")
    source.add_argument("--problem", metavar="FILE", help="placement problem as JSON")
    source.add_argument(
        "--generate", metavar="tasks=60,load=0.9,seed=1", help="random problems; several values as in load=0.8:0.9"
    )
    parser.add_argument("--topo", action="append", metavar="NAME", help="of --generate (default b4); may be repeated")
    parser.add_argument("--algorithm", default=None, metavar="A,B", help="algorithms; see --list (default priced)")
    parser.add_argument("--list", action="store_true", help="list the algorithms and leave")
    parser.add_argument("--latency", default=None, metavar="inf,100", help="bounds in ms instead of the tasks' own")
    parser.add_argument("--solver", metavar="NAME", help="highs (default) or cbc")
    parser.add_argument(
        "--steps", metavar="N", help="of work, for each run, the same on every machine (default 30,000,000)"
    )
    parser.add_argument("--time-limit", metavar="S", help="for each run, instead; what time cuts short is not proved")
    parser.add_argument("--repeat", metavar="N", help="with --generate: N seeds in a row")
    parser.add_argument("--seed", metavar="N", help="of what is random in the algorithms (default 1)")
    parser.add_argument("--keep", metavar="FILE", help="placement that runs now: move as few modules as possible")
    parser.add_argument("--move-price", metavar="P", help="weight that a move costs")
    parser.add_argument("--lost", default="", metavar="s3,h2", help="devices that have disappeared")
    parser.add_argument("--explain", action="append", default=[], metavar="TASK", help="why a task does not run")
    parser.add_argument("--plot", nargs="?", const=".", metavar="DIR", help="draw figures into a folder")
    parser.add_argument("--force", action="store_true", help="replace figures, and a run of another kind in --out")
    parser.add_argument("--json", action="store_true", help="write rows, means and the last placement as JSON")
    sweep = parser.add_argument_group("sweeps over generated problems")
    sweep.add_argument("--out", metavar="DIR", help="keep what is finished; the same command goes on from there")
    sweep.add_argument("--jobs", metavar="N", help="runs side by side (with --out: one a core)")
    sweep.add_argument("--scheduler", metavar="ADDRESS", help="run on a Dask cluster, such as tcp://10.0.0.1:8786")


def run(args: argparse.Namespace) -> int:
    """Place, print the table or JSON, explain, draw; what Ctrl-C leaves is shown too."""
    from ..placement.algorithms import ALGORITHMS

    if args.list:
        print("\n".join(f"  {name:12} {line}" for name, (_, _, line) in ALGORITHMS.items()))
        return 0
    _refuse_wrong(args)
    with _places(args):
        return _place(args)


@contextmanager
def _places(args: argparse.Namespace) -> Iterator[None]:
    """Hold the folders that results go to; figures that are there already are refused, but for a sweep that goes on."""
    from ..folders import SWEEP, check_folder, refuse_idle_force, refuse_present, run_folder

    refuse_idle_force(args.force, ("--out", args.out), ("--plot", args.plot))
    goes_on = args.out is not None and Path(args.out, SWEEP).exists()
    with nullcontext() if args.out is None else run_folder(args.out, args.force, keeps=SWEEP):
        if args.plot is not None:
            if args.plot != args.out:
                check_folder(args.plot, "--plot")
            present = [path for form in ("png", "pdf") for path in sorted(Path(args.plot).glob(f"placement_*.{form}"))]
            refuse_present(present, "--plot", args.force or goes_on)
        yield


def _place(args: argparse.Namespace) -> int:
    """Place what was asked for and show it."""
    from ..errors import SpecError
    from ..placement import report
    from ..placement.explain import explain
    from ..placement.keep import load_kept
    from ..traces.progress import say

    kept = load_kept(args.keep) if args.keep else None
    source = _Source(args)
    runs, complete = _swept(args, source) if _is_sweep(args) else _compared(args, source, kept)
    if not runs:
        raise SpecError("nothing was placed: no problem, no algorithm or no bound was given")
    last = source.problem(runs[-1].instance).with_latency_bound(runs[-1].row["max_latency_ms"])
    explained = [explain(last, runs[-1].placement, name, args.solver) for name in args.explain]
    if args.json:
        print(json.dumps(report.document(runs, explained), indent=2))
    else:
        moved = report.moves(runs[-1]) if kept is not None else ()
        print(*report.tables(runs), *moved, *report.explanations(explained, _width()), sep="\n")
    _say_limits(runs)
    if args.plot is not None:
        _plot(Path(args.plot), source, last, runs)
    if complete:
        return 0
    say("stopped by Ctrl-C; this is what was found until then" + (f", kept in {args.out}" if args.out else ""))
    return 130


def _is_sweep(args: argparse.Namespace) -> bool:
    return not (args.out is None and args.jobs is None and args.scheduler is None)


def _refuse_wrong(args: argparse.Namespace) -> None:
    """Put values in place of the texts of options; raises SpecError with all that is wrong with them."""
    from ..options import Options
    from ..placement.algorithms import ALGORITHMS, DEFAULT

    options = Options(args)
    options.read(NUMBERS)
    options.read({"--algorithm": Field(str, "", default=[DEFAULT], choices=tuple(ALGORITHMS))}, several=True)
    with options.caught():
        args.latency = _bounds(args)
    sweep = _is_sweep(args)
    options.refuse_if(
        args.generate is None and (sweep or args.repeat != 1 or args.topo),
        "--topo, --repeat, --out, --jobs and --scheduler are for problems of --generate tasks=60",
    )
    options.refuse_if(
        sweep and (args.keep or args.lost),
        "--keep and --lost are for one problem after another; leave --out, --jobs and --scheduler out",
    )
    options.refuse_if(
        args.jobs and args.scheduler,
        "with --scheduler the cluster says how many runs are side by side; leave --jobs out",
    )
    nothing = args.generate is None and args.problem is None and args.spec is None
    options.refuse_if(nothing, "place what? give a task file, --problem FILE or --generate tasks=60")
    options.refuse()


class _Source:
    """Where the problems come from: a task file, a problem file, or instances of the generator."""

    def __init__(self, args: argparse.Namespace) -> None:
        from ..placement.generated import instances
        from ..placement.problem import load_problem
        from ..topologies.catalogue import load as load_topology

        self.lost = [name for name in args.lost.split(",") if name]
        self.instances: Sequence[Instance | None] = [None]
        self.topologies: dict[str, Topology] = {}
        if args.problem is not None:
            self.only = load_problem(args.problem)
        elif args.generate is not None:
            names = args.topo or ["b4"]
            self.instances = instances(names, args.generate, args.repeat)
            self.topologies = {name: load_topology(name) for name in names}
        else:
            self.only, topology = _spec_problem(args.spec)
            self.topologies[""] = topology
        self._refuse_missing(args.explain)

    def _refuse_missing(self, explained: Sequence[str]) -> None:
        """Refuse a problem without tasks, and tasks to explain that are not in the last one, before anything runs."""
        from ..errors import SpecError

        last = self.problem(self.instances[-1])
        if not last.tasks:
            raise SpecError("there is nothing to place: the problem has no tasks; give it one or more")
        known = {task.name for task in last.tasks}
        for name in explained:
            if name not in known:
                raise SpecError(f"--explain {name}: the problem has no such task")

    def problem(self, instance: Instance | None) -> Problem:
        """Return the problem of an instance, or the only one, without the devices that have disappeared."""
        problem = instance.problem(self.topologies[instance.topology]) if instance else self.only
        for name in self.lost:
            problem = problem.without_device(name)
        return problem

    def topology(self, instance: Instance | None) -> Topology | None:
        """Return the topology under a problem; a problem file has none."""
        return self.topologies.get(instance.topology if instance else "")


def _spec_problem(path: str) -> tuple[Problem, Topology]:
    from ..placement.spec_problem import problem_from_spec
    from ..replay.meaning import network_of
    from ..replay.vocabulary import load

    spec = load(path)
    topology = network_of(spec)
    return problem_from_spec(spec, topology), topology


def _compared(args: argparse.Namespace, source: _Source, kept: Assignment | None) -> tuple[list[Run], bool]:
    """Place one problem after another; returns the runs, and whether Ctrl-C left them complete."""
    from ..placement.comparison import compare

    algorithms, bounds = args.algorithm, args.latency
    total = len(source.instances) * len(algorithms) * len(bounds)
    with _progress(total) as progress:
        runs = compare(
            map(source.problem, source.instances),
            algorithms,
            bounds,
            instances=source.instances,
            **_limits(args),
            seed=args.seed,
            solver=args.solver,
            keep=kept,
            move_price=args.move_price,
            done=progress,
        )
    return runs, len(runs) == total and not runs[-1].placement.interrupted


def _swept(args: argparse.Namespace, source: _Source) -> tuple[list[Run], bool]:
    """Run a sweep on the cores or on a cluster; returns the runs, and whether Ctrl-C left them complete."""
    from ..placement.sweep import plan, sweep
    from ..placement.workers import cores, in_processes, on_cluster

    what = plan(
        [instance for instance in source.instances if instance],
        source.topologies,
        args.algorithm,
        args.latency,
        **_limits(args),
        seed=args.seed,
        solver=args.solver,
    )
    runner = on_cluster(args.scheduler) if args.scheduler else in_processes(args.jobs or cores())
    with _progress(len(what.cells)) as progress:
        return sweep(what, runner, args.out, progress)


def _limits(args: argparse.Namespace) -> dict[str, float]:
    """Return the limits of a run: a number of steps, unless only a time is asked for."""
    from ..placement.search import STEPS

    steps = args.steps or (STEPS if args.time_limit is None else math.inf)
    return {"time_limit_s": math.inf if args.time_limit is None else args.time_limit, "max_steps": steps}


def _bounds(args: argparse.Namespace) -> list[float | None]:
    """Return the bounds to compare; without any, tasks keep their own, and generated ones have none."""
    from ..errors import SpecError

    text = args.latency
    if text is None:
        return [None] if args.generate is None else [math.inf]
    try:
        bounds = [math.inf if part.strip() == "inf" else finite(part) for part in text.split(",")]
    except argparse.ArgumentTypeError:
        raise SpecError(f"--latency {text}: give bounds in ms, as in inf,250,100") from None
    if not all(bound >= 0 for bound in bounds):
        raise SpecError(f"--latency {text}: bounds must be 0 or more")
    return list(dict.fromkeys(bounds))


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Run], None]]:
    """Yield what to call with each run as it ends: on a terminal, it shows how far the comparison is."""
    if not sys.stderr.isatty():
        yield lambda run: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ..placement.report import told

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda run: bar.update(task, advance=1, description=told(run))


def _say_limits(runs: Sequence[Run]) -> None:
    """Say how many searches a limit has cut short, and what that means for their placements."""
    from ..traces.progress import say

    for limit, meaning in (
        (
            "time",
            "with more time, or on another machine, others may be found (--steps is the same everywhere)",
        ),
        ("steps", "the same steps give the same placements again; more may find better ones (--steps)"),
    ):
        cut = sum(run.row["stopped_by"] == limit for run in runs)
        if cut:
            say(f"the limit of {limit} ended {cut} of {len(runs)} searches, which are not proved: {meaning}")


def _width() -> int:
    """Return how wide explanations are: as the terminal, and at most 120 columns."""
    return min(120, shutil.get_terminal_size((120, 24)).columns)


def _plot(folder: Path, source: _Source, last: Problem, runs: Sequence[Run]) -> None:
    from ..placement.figures import draw

    for path in draw(runs, last, source.topology(runs[-1].instance), folder):
        print(f"figure: {path}", file=sys.stderr)
