"""Write a trace again: what `trace slice` and `trace convert` have in common."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import TraceError
from .formats import open_writer
from .progress import say, watched
from .silences import Silences, silence_line
from .untimed import untimed_line

if TYPE_CHECKING:
    from .packets import PacketBatch
    from .parquet import ParquetReader
    from .reader import TraceReader


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare inputs, output and --force."""
    parser.add_argument(
        "input",
        metavar="IN",
        nargs="+",
        help="capture files in order, Parquet columns, or - for standard input",
    )
    parser.add_argument("out", metavar="OUT", help="file to write, its suffix says the format; - is standard output")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")


def rewrite(trace: TraceReader | ParquetReader, batches: Iterable[PacketBatch], out: str) -> int:
    """Write batches of an open trace to a file, and say on standard error what was written and left out.

    Returns how many packets were written.

    Of a damaged trace, the packets before the damage are written and its TraceError goes on to the caller.
    Where the user interrupts, nothing is left under the output's name.
    """
    damage: TraceError | None = None
    try:
        with open_writer(out) as writer:
            remaining = iter(watched(batches, "wrote"))
            silences = Silences()
            while damage is None:
                try:
                    batch = next(remaining)
                except StopIteration:
                    break
                except TraceError as error:
                    damage = error
                else:
                    silences.see(batch.time_ns)
                    writer.write(batch)
            if damage is not None and not writer.packets:
                raise damage
    except KeyboardInterrupt:
        say(f"{out} was not written")
        raise
    say(f"{'standard output' if out == '-' else out}: {writer.packets:,} packets{left_out(trace.skipped)}")
    if line := silence_line(silences.to_dict()):
        say(line)
    if line := untimed_line(getattr(trace, "untimed", 0)):
        say(line)
    if damage is not None:
        raise damage
    return int(writer.packets)


def left_out(skipped: dict[str, int]) -> str:
    """Say how many packets were not measured, by reason, or nothing where none were."""
    reasons = [f"{reason.replace('_', ' ')} {count:,}" for reason, count in skipped.items() if count]
    return "; not measured: " + ", ".join(reasons) if reasons else ""
