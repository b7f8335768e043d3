"""`mozart trace synth`: backbone-like traffic into a file with its truth beside it, or its calibration."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ..errors import SpecError
from ..options import Options
from .formats import check_output, open_writer
from .output import is_special
from .synth_options import SynthOptions, fields_of_options

MINUTE_S = 60.0

EXAMPLES = """Beside OUT stand OUT.truth.json (options, scanners, floods, elephants) and OUT.lossy.parquet
(the flows with retransmissions). The same options give the same packets; a longer trace begins with the
packets of a shorter one.

examples:
  mozart trace synth minute.pcap
  mozart trace synth small.pcap.gz --packets-per-s 20000 --duration-s 10 --seed 7
  mozart trace synth --calibration"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mozart trace synth`: one for every field of `SynthOptions`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("out", metavar="OUT", nargs="?", help="file to write; - is standard output")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    parser.add_argument(
        "--calibration",
        action="store_true",
        help="instead of OUT: measure a minute of the traffic, without injected events, beside published figures",
    )
    parser.add_argument("--json", action="store_true", help="write the calibration as JSON")
    for f in fields(SynthOptions):
        parser.add_argument(
            f"--{f.name.replace('_', '-')}",
            dest=f.name,
            metavar=str(f.type).upper(),
            help=f"{f.metadata['help']} ({f.default})".replace("%", "%%"),
        )


def run(args: argparse.Namespace) -> int:
    """Write the trace and its truth, or show the calibration: 1 where a figure is out of bounds."""
    given = Options(args)
    given.read({f"--{name.replace('_', '-')}": field for name, field in fields_of_options().items()})
    given.refuse()
    options = SynthOptions(**{f.name: getattr(args, f.name) for f in fields(SynthOptions)})
    if args.calibration:
        if args.out is not None:
            raise SpecError(f"--calibration writes no trace: leave out {args.out}")
        if options.duration_s != MINUTE_S:
            raise SpecError("--calibration compares a minute with published ones: leave out --duration-s, or give 60")
        return calibrate(options, args.json)
    if args.out is None:
        raise SpecError("name a file to write, or give --calibration")
    if args.json:
        raise SpecError("--json is for --calibration; the truth is written as JSON beside the trace anyway")
    check_output(args.out, args.force)
    if taken := [path for path in truth_paths(args.out) if path.exists() and not args.force]:
        raise SpecError(f"{taken[0]}: exists; give --force to replace what stands beside OUT, or another name")
    write(options, args.out)
    return 0


def write(options: SynthOptions, out: str) -> None:
    """Write packets, then the truth beside them; nothing stays under the names where this is interrupted."""
    from .progress import watched
    from .synth import Synthesizer
    from .synth_truth import write_truth

    packets = Synthesizer(options)
    with open_writer(out) as writer:
        for batch in watched(packets, "wrote"):
            writer.write(batch)
    say(f"{out}: {writer.packets:,} packets")
    if paths := truth_paths(out):
        write_truth(packets.truth, *paths)
        for path in paths:
            say(f"{path}: what was put into it")


def truth_paths(out: str) -> list[Path]:
    """Return where the truth and the lossy flows go; a pipe or a device has nothing beside it."""
    return [] if out == "-" or is_special(Path(out)) else [Path(f"{out}.truth.json"), Path(f"{out}.lossy.parquet")]


def calibrate(options: SynthOptions, as_json: bool) -> int:
    """Make the traffic, measure it and show it beside the published figures; 1 where one is out of bounds."""
    from .calibration import FULL_RATE, measure, table, within
    from .progress import watched
    from .synth import Synthesizer

    plain = replace(options, scanners=0, syn_floods=0, elephants=0)
    measured = measure(watched(Synthesizer(plain), "measured"), FULL_RATE / plain.packets_per_s)
    names = ("figure", "published", "synthetic", "deviation", "source")
    rows = [dict(zip(names, row, strict=True)) for row in table(measured)]
    if as_json:
        figures = {name: None if math.isnan(value) else value for name, value in measured.items()}
        print(json.dumps({"measured": figures, "rows": rows, "within": within(measured)}, indent=2))
    else:
        show(names, rows)
    return 0 if within(measured) else 1


def show(names: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    """Write the calibration to standard output as a table."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in names:
        shown.add_column(name, justify="right" if name in ("synthetic", "deviation") else "left")
    for row in rows:
        shown.add_row(*row.values())
    Console(width=None if sys.stdout.isatty() else 132).print(shown)


def say(message: str) -> None:
    """Write a message for people to standard error."""
    print(f"mozart: {message}", file=sys.stderr)
