"""`mozart live`: the task file on a network that forwards packets."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .replay import PLAIN_WIDTH

if TYPE_CHECKING:
    from ..live.report import LiveResult

from ..fields import finite

DEFAULT_FOLDER = "runs/live-%Y%m%d-%H%M%S"
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
    parser.add_argument("--duration", type=finite, metavar="S", help="play so many seconds at most")
    parser.add_argument(
        "--speed", type=finite, metavar="X", help="times faster than recorded; default: what --rate allows"
    )
    parser.add_argument("--rate", type=finite, metavar="N", help="packets a second at most, on the mean; default 10000")
    parser.add_argument("--mode", metavar="M", help="none, tag, two-mode, mozart or recent (default)")
    parser.add_argument("--no-mininet", metavar="FILE", help="use the devices of this file, which are there already")
    parser.add_argument("--agents", type=int, metavar="N", help="processes that share the devices; default 2")
    parser.add_argument("--port", type=int, metavar="N", help="where switches connect; default: a free port")
    parser.add_argument("--patience", type=finite, metavar="S", help="how long to wait for each part; default 60")
    parser.add_argument("--out", metavar="DIR", help="run folder; default runs/live-<time>")
    parser.add_argument("--force", action="store_true", help="replace the run that DIR holds")
    parser.add_argument("--json", action="store_true", help="write the result as JSON on standard output")


def run(args: argparse.Namespace) -> int:
    """Run live, show the result beside the replay of what was sent, and write the run folder."""
    from ..folders import refuse_idle_force, run_folder

    refuse_idle_force(args.force, ("--out", args.out))
    folder = time.strftime(DEFAULT_FOLDER) if args.out is None else args.out
    with run_folder(folder, args.force, parents=args.out is None) as place:
        return _live(args, place)


def _live(args: argparse.Namespace, folder: Path) -> int:
    from dataclasses import replace as with_

    from ..live.report import write_run
    from ..live.run import Options, live
    from ..replay.meaning import network_of
    from ..replay.vocabulary import load
    from ..signals import stopped_by_signal

    spec = load(args.spec)
    network_of(spec)
    if args.trace:
        spec = with_(spec, traffic=with_(spec.traffic, trace=tuple(args.trace), synthetic=None, options={}))
    given = {
        "duration_s": args.duration, "speed": args.speed, "rate_pps": args.rate, "mode": args.mode, "port": args.port,
        "devices": Path(args.no_mininet) if args.no_mininet else None, "agents": args.agents,
        "patience_s": args.patience,
    }  # fmt: skip
    options = Options(**{name: value for name, value in given.items() if value is not None})
    with stopped_by_signal() as stop:
        result = live(spec, options, folder, lambda text: print(f"live: {text}", file=sys.stderr, flush=True), stop)
    try:
        _show(result, args.json)
    finally:  # who reads standard output may have left
        write_run(result, folder)
    print(f"mozart: tables, figures and run.json lie in {folder}", file=sys.stderr)
    return stop.status if stop.is_set() else result.status or int(result.gave_up)


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
