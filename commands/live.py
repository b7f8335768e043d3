"""`mozart live`: the task file on a network that forwards packets."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..fields import Field
from .replay import PLAIN_WIDTH

if TYPE_CHECKING:
    from ..live.report import LiveResult
    from ..live.run import Options
    from ..tasks import Spec
    from ..topologies.topology import Topology

DEFAULT_FOLDER = "runs/live-%Y%m%d-%H%M%S"
MOST_S = 1e9
NUMBERS = {
    "--duration": Field(float, "how long to play", None, above=0, maximum=MOST_S, unit="s"),
    "--speed": Field(float, "times faster than recorded", None, above=0, maximum=1e9),
    "--rate": Field(float, "packets a second", None, above=0, maximum=1e9, unit="packets/s"),
    "--agents": Field(int, "processes", None, minimum=1, maximum=256),
    "--port": Field(int, "where switches connect", None, minimum=1, maximum=65535),
    "--patience": Field(float, "how long to wait", None, above=0, maximum=86_400, unit="s"),
}
EXAMPLES = """examples:
  mozart live examples/b4-live.yaml --duration 30
  mozart live tasks.yaml --trace backbone.pcap.gz --rate 5000 --out run
  mozart live tasks.yaml --no-mininet devices.json --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mozart live`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("spec", help="task file")
    parser.add_argument("--trace", nargs="+", metavar="FILE", help="captures in order, instead of the task file's")
    parser.add_argument("--duration", metavar="S", help="play so many seconds at most")
    parser.add_argument("--speed", metavar="X", help="times faster than recorded; default: what --rate allows")
    parser.add_argument("--rate", metavar="N", help="packets a second at most, on the mean; default 10000")
    parser.add_argument("--mode", metavar="M", help="none, tag, two-mode, mozart or recent (default)")
    parser.add_argument("--no-mininet", metavar="FILE", help="use the devices of this file, which are there already")
    parser.add_argument("--agents", metavar="N", help="processes that share the devices; default 2")
    parser.add_argument("--port", metavar="N", help="where switches connect; default: a free port")
    parser.add_argument("--patience", metavar="S", help="how long to wait for each part; default 60")
    parser.add_argument("--out", metavar="DIR", help="run folder; default runs/live-<time>")
    parser.add_argument(
        "--flows-csv", action="store_true", help="write the flows as CSV too where there are more than a million rows"
    )
    parser.add_argument("--force", action="store_true", help="replace the run that DIR holds")
    parser.add_argument("--json", action="store_true", help="write the result as JSON on standard output")


def run(args: argparse.Namespace) -> int:
    """Run live, show the result beside the replay of what was sent, and write the run folder."""
    from ..folders import run_folder

    spec, options = read(args)
    folder = time.strftime(DEFAULT_FOLDER) if args.out is None else args.out
    with run_folder(folder, args.force, parents=args.out is None) as place:
        return _live(args, spec, options, place)


def read(args: argparse.Namespace) -> tuple[Spec, Options]:
    """Read the task file and the options; raises SpecError with all that is wrong, before anything is started."""
    from ..folders import check_folder, refuse_idle_force
    from ..live.ports import holder
    from ..live.run import Options
    from ..monitors.modes import MODES
    from ..options import Options as Given
    from ..replay.meaning import network_of
    from ..replay.vocabulary import load

    given = Given(args)
    given.read({**NUMBERS, "--mode": Field(str, "mode", None, choices=tuple(MODES))})
    with given.caught():
        refuse_idle_force(args.force, ("--out", args.out))
        if args.out is not None:
            check_folder(args.out)
    topology = spec = None
    with given.caught():
        spec = load(args.spec)
        topology = network_of(spec)
    if spec is not None and args.trace is not None:
        spec = replace(spec, traffic=replace(spec.traffic, trace=tuple(args.trace), synthetic=None, options={}))
    with given.caught():
        _refuse_devices(args, topology)
    if args.port is not None and (who := holder(args.port)):
        given.refuse_if(True, f"--port {args.port}: in use by {who}; give another one, or none for a free one")
    if spec is not None and topology is not None:
        with given.caught():
            _refuse_traffic(spec)
    given.refuse()
    assert spec is not None  # or that was wrong
    chosen = {
        "duration_s": args.duration, "speed": args.speed, "rate_pps": args.rate, "mode": args.mode, "port": args.port,
        "devices": None if args.no_mininet is None else Path(args.no_mininet), "agents": args.agents,
        "patience_s": args.patience,
    }  # fmt: skip
    return spec, Options(**{name: value for name, value in chosen.items() if value is not None})


def _refuse_traffic(spec: Spec) -> None:
    """Raise SpecError or TraceError for traffic that cannot be played."""
    from ..errors import SpecError
    from ..traces.reader import expand

    traffic = spec.traffic
    if traffic.trace is None and traffic.synthetic is None:
        raise SpecError("no traffic: give --trace, or set traffic.trace or traffic.synthetic in the task file")
    if traffic.trace is not None:
        if "-" in traffic.trace:
            raise SpecError("a live run reads its trace twice, so standard input cannot be one: name a file")
        expand(traffic.trace)


def _refuse_devices(args: argparse.Namespace, topology: Topology | None) -> None:
    """Raise SpecError for a file of devices that cannot be read, or does not fit the topology where there is one."""
    from ..errors import LiveError, SpecError
    from ..live.network import devices_for, read_devices

    if args.no_mininet is None:
        return
    try:
        devices_for(topology, args.no_mininet) if topology is not None else read_devices(args.no_mininet)
    except LiveError as error:
        raise SpecError(f"--no-mininet {error}") from None


def _live(args: argparse.Namespace, spec: Spec, options: Options, folder: Path) -> int:
    from ..live.report import write_run
    from ..live.run import live
    from ..signals import stopped_by_signal

    with stopped_by_signal() as stop:
        result = live(spec, options, folder, lambda text: print(f"live: {text}", file=sys.stderr, flush=True), stop)
    try:
        _show(result, args.json)
    finally:  # who reads standard output may have left
        write_run(result, folder, flows_csv=args.flows_csv)
    print(f"mozart: tables, figures and run.json lie in {folder}", file=sys.stderr)
    return stop.status if stop.is_set() else result.status or int(result.gave_up or bool(result.left_behind))


def _show(result: LiveResult, as_json: bool) -> None:
    """Print the result, before anything is written: the disk may have no room for it."""
    if as_json:
        print(json.dumps(result.to_dict(), indent=2), flush=True)
        return
    from rich.console import Console

    from ..live.report import tables

    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    Console(width=width).print(*tables(result), sep="\n")
    sys.stdout.flush()
