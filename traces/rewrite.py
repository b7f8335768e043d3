"""Write a trace again: what `trace slice` and `trace convert` have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import Any

from ..errors import TraceError
from .formats import open_writer


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare inputs, output and --force."""
    parser.add_argument(
        "input",
        metavar="IN",
        nargs="+",
        help="capture files in order, Parquet columns, or - for standard input",
    )
    parser.add_argument(
        "out", metavar="OUT", help="file to write, its suffix says the format; - is standard output"
    )
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")


def rewrite(trace: Any, batches: Iterable[Any], out: str) -> None:
    """Write batches of an open trace to a file, and say on standard error what was written and left out.

    Of a damaged trace, the packets before the damage are written and its TraceError goes on to the caller.
    Where the user interrupts, nothing is left under the output's name.
    """
    from .progress import watched

    damage: TraceError | None = None
    try:
        with open_writer(out) as writer:
            batches = iter(watched(batches, "wrote"))
            while damage is None:
                try:
                    batch = next(batches)
                except StopIteration:
                    break
                except TraceError as error:
                    damage = error
                else:
                    writer.write(batch)
            if damage is not None and not writer.packets:
                raise damage
    except KeyboardInterrupt:
        say(f"{out} was not written")
        raise
    skipped = {name: count for name, count in trace.skipped.items() if count}
    left_out = "; not measured: " + ", ".join(f"{n.replace('_', ' ')} {c:,}" for n, c in skipped.items())
    say(f"{out}: {writer.packets:,} packets{left_out if skipped else ''}")
    if damage is not None:
        raise damage


def say(message: str) -> None:
    """Write a message for people to standard error."""
    print(f"mozart: {message}", file=sys.stderr)
