"""`mozart replay`: a trace through the network of a task file, coordinated and not."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..signals import name_of, stopped_by_signal

if TYPE_CHECKING:
    from ..fields import Field
    from ..replay.placed import Placed
    from ..replay.result import Result
    from ..tasks import Spec

PLAIN_WIDTH = 170
"""Columns of the tables where standard output is no terminal."""

EXAMPLES = """examples:
  mozart replay tasks.yaml
  mozart replay tasks.yaml --trace 'minutes-*.pcap.gz' --memory 256,512,1024,2048 --out run
  mozart replay tasks.yaml --mode none,mozart --loss s3-s6=2%,s8-s10=1% --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mozart replay`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("spec", help="task file")
    parser.add_argument(
        "--trace",
        nargs="+",
        metavar="FILE",
        help="captures in order, patterns, or - for stdin; instead of what the task file names",
    )
    parser.add_argument("--duration", metavar="S", help="length of synthetic traffic")
    parser.add_argument("--memory", metavar="N,N,...", help="entries of each monitor; all sizes side by side")
    parser.add_argument("--mode", metavar="M,M,...", help="of none, tag, two-mode, mozart, recent; default: all")
    parser.add_argument(
        "--detection-delay-ms", metavar="N,N,...", help="delays between event and tag, up to 8 side by side"
    )
    parser.add_argument("--loss", metavar="LINK=P,...", help="links that drop packets, such as s3-s6=2%%")
    parser.add_argument("--probability", metavar="P", help="sampling probability")
    parser.add_argument("--seed", metavar="N", help="of all that is random, synthetic traffic too")
    parser.add_argument(
        "--algorithm",
        metavar="NAME",
        help="what places the modules on devices (default priced; mozart place --list names them all)",
    )
    parser.add_argument("--out", metavar="DIR", help="run folder for tables (CSV, Parquet), figures and run.json")
    parser.add_argument(
        "--flows-csv", action="store_true", help="write the flows as CSV too where there are more than a million rows"
    )
    parser.add_argument(
        "--all-records", action="store_true", help="flows.parquet has the records of flows that nobody selected too"
    )
    parser.add_argument("--force", action="store_true", help="replace the run that DIR holds")
    parser.add_argument("--json", action="store_true", help="write the result as JSON on standard output")


def run(args: argparse.Namespace) -> int:
    """Replay, show the result, and write the run folder; a damaged trace ends with what came before it."""
    from ..folders import run_folder

    spec = _read(args)
    with nullcontext() if args.out is None else run_folder(args.out, args.force):
        return _replay(args, spec)


def _replay(args: argparse.Namespace, spec: Spec) -> int:
    from ..placement.algorithms import DEFAULT
    from ..replay.flows import FLOWS_FILE
    from ..replay.run import replay

    if args.duration is not None:
        spec = replace(
            spec, traffic=replace(spec.traffic, options={**spec.traffic.options, "duration_s": args.duration})
        )
    with stopped_by_signal() as stop, shown_progress() as progress:
        result = replay(
            spec,
            trace=args.trace,
            memory=args.memory,
            mode=args.mode,
            detection_delay_ms=args.detection_delay_ms,
            loss=args.loss,
            probability=args.probability,
            seed=args.seed,
            algorithm=args.algorithm or DEFAULT,
            flows=Path(args.out) / FLOWS_FILE if args.out else False,
            all_records=args.all_records,
            progress=progress,
            stop=stop,
            look=_refuse_idle,
        )
    if result.error and not result.trace["packets"]:
        raise result.error
    if result.interrupted and not result.trace["packets"]:
        raise stop.interruption()
    _give_out(result, args.out, args.json, args.flows_csv)
    if result.interrupted:
        said = f"stopped by {name_of(stop.number)}"
        print(f"mozart: {said}; this is what was replayed until then", file=sys.stderr)
        return stop.status
    if result.error:
        raise result.error
    return 0


def _read(args: argparse.Namespace) -> Spec:
    """Read the task file, and put values in place of the texts of options; all that is wrong is told at once."""
    from ..fields import Field, fields_of
    from ..folders import check_folder, refuse_idle_force
    from ..monitors.modes import MODES
    from ..options import Options
    from ..placement.algorithms import ALGORITHMS
    from ..replay.vocabulary import load
    from ..selectors.selection import MAX_DELAYS
    from ..tasks import MonitorSpec, Sampling, SelectorSpec, Spec, parse_loss
    from ..traces.synth_options import DURATION

    options = Options(args)
    many = {
        "--memory": fields_of(MonitorSpec)["memory_entries"],
        "--mode": Field(str, "modes", choices=tuple(MODES)),
        "--detection-delay-ms": fields_of(SelectorSpec)["detection_delay_ms"],
    }
    options.read({option: as_option(field) for option, field in many.items()}, several=True)
    one = {
        "--duration": DURATION,
        "--probability": fields_of(Sampling)["probability"],
        "--seed": fields_of(Spec)["seed"],
        "--algorithm": Field(str, "algorithm", choices=tuple(ALGORITHMS)),
    }
    options.read({option: as_option(field) for option, field in one.items()})
    delays = args.detection_delay_ms
    too_many = delays is not None and len(delays) > MAX_DELAYS
    options.refuse_if(too_many, f"--detection-delay-ms: give {MAX_DELAYS} delays at most")
    if args.loss is not None:
        with options.caught("--loss"):
            args.loss = parse_loss(args.loss)
    with options.caught():
        refuse_idle_force(args.force, ("--out", args.out))
        if args.out is not None:
            check_folder(args.out)
    useless = args.flows_csv and args.out is None
    options.refuse_if(useless, "--flows-csv is for the run folder; give --out, or leave --flows-csv out")
    useless = args.all_records and args.out is None
    options.refuse_if(useless, "--all-records is for the run folder; give --out, or leave --all-records out")
    spec = None
    with options.caught():
        spec = load(args.spec)
    if spec is not None and args.duration is not None:
        whose = "--duration is for synthetic traffic; use mozart trace slice to cut a trace"
        options.refuse_if(spec.traffic.synthetic is None or args.trace, whose)
    options.refuse()
    assert spec is not None  # or that was wrong
    return spec


def as_option(field: Field) -> Field:
    """Return a task file's field as an option's, which stands for itself alone where it is not given."""
    return replace(field, default=None)


def _refuse_idle(placed: Placed) -> None:
    """Raise PlacementError where no task was placed: nothing would be measured, however long the trace."""
    from ..replay.report import nothing_runs

    if not placed.at:
        raise nothing_runs(placed.refused)


def _give_out(result: Result, folder: str | None, as_json: bool, flows_csv: bool = False) -> None:
    """Write the run folder, then show the result: who reads standard output may leave before its end.

    It is shown also where the folder cannot be written.
    """
    from ..replay.report import tables, write_run

    try:
        for path in write_run(result, folder, flows_csv=flows_csv) if folder else []:
            print(f"mozart: wrote {path}", file=sys.stderr)
    finally:
        if as_json:
            print(json.dumps(result.to_dict(), indent=2))
        else:
            _show(tables(result))


def _show(tables: list[Any]) -> None:
    """Print the report: as wide as the terminal, or for a file, where lines are as long as they are."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    Console(width=None if terminal else PLAIN_WIDTH).print(*tables, sep="\n", soft_wrap=not terminal)


@contextmanager
def shown_progress() -> Iterator[Any]:
    """Yield a function that shows how far the replay is, on a terminal; elsewhere None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replay: starting (kernels compile the first time)")
        yield lambda packets, trace_s: bar.update(
            task, description=f"replay {packets:,} packets, {trace_s:,.1f} s of trace"
        )
