"""`mozart trace slice`: a part of a trace, by time or by packets, with its time stretched."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ..errors import SpecError
from ..fields import Field
from ..options import Options
from .formats import check_output, open_trace
from .progress import say
from .rewrite import add_output_arguments, rewrite

if TYPE_CHECKING:
    from .packets import PacketBatch
    from .slice import Cut

MOST_S = 1_000_000_000
"""Latest second of a trace that a slice may begin or end at; times are counted in 64-bit nanoseconds."""

EXAMPLES = """examples:
  mozart trace slice day.pcap.gz minute.pcap.gz --start 60 --end 120
  mozart trace slice day.pcap.gz first.pcap --packets :100000
  mozart trace slice fast.pcap slow.pcap --stretch 10

A slice behind the end of the trace is refused (status 2). One in which the trace is silent is a file
without packets, and that is said (status 0)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mozart trace slice`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    add_output_arguments(parser)
    parser.add_argument("--start", metavar="S", help="first second to take (0 is the first packet)")
    parser.add_argument("--end", metavar="S", help="second to end before")
    parser.add_argument(
        "--packets",
        metavar="A:B",
        help="instead of times: packets A (from 0) to before B; either may be left out",
    )
    parser.add_argument("--stretch", metavar="F", help="multiply the gaps between packets by F")


def run(args: argparse.Namespace) -> int:
    """Write the part of the trace."""
    from .slice import Cut

    options = Options(args)
    options.refuse_if(
        args.packets is not None and (args.start is not None or args.end is not None),
        "--packets goes without --start and --end: cut by one of them, then the result by the other",
    )
    second = Field(float, "second of the trace", None, minimum=0, maximum=MOST_S, unit="s")
    options.read({"--start": second, "--end": second, "--stretch": Field(float, "factor", 1.0, above=0)})
    packets: tuple[int, int | None] = 0, None
    with options.caught():
        packets = packet_range(":" if args.packets is None else args.packets)
    with options.caught():
        check_output(args.out, args.force)
    options.refuse()
    what = Cut(args.start or 0.0, args.end, *packets, args.stretch)
    with open_trace(args.input) as trace:
        if not rewrite(trace, part_of(trace, what), args.out):
            say("no packet of the trace is in this slice: it is silent there, or has no packet at all")
    return 0


def part_of(trace: Iterable[PacketBatch], what: Cut) -> Iterator[PacketBatch]:
    """Yield the packets of a slice; SpecError, with the times of the trace, where it begins behind the last one."""
    from .silences import utc
    from .slice import cut

    packets = first_ns = last_ns = 0
    ended = False

    def seen() -> Iterator[PacketBatch]:
        nonlocal packets, first_ns, last_ns, ended
        for batch in trace:
            if len(batch):
                first_ns, last_ns = first_ns if packets else int(batch.time_ns[0]), int(batch.time_ns[-1])
                packets += len(batch)
            yield batch
        ended = True

    taken = 0
    for part in cut(seen(), what):
        taken += len(part)
        yield part
    if ended and packets and not taken:
        where = f"packet {what.first_packet:,}" if what.first_packet else f"{what.start_s:,g} s"
        raise SpecError(
            f"the slice begins at {where}, behind the end of the trace: it has {packets:,} packets, from "
            f"{utc(first_ns)} to {utc(last_ns)} ({(last_ns - first_ns) / 1e9:,.6g} s)"
        )


def packet_range(text: str) -> tuple[int, int | None]:
    """Read "A:B", ":B" or "A:" as (first packet, packet to end before).

    Raises SpecError for anything else.
    """
    first, colon, end = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return int(first or 0), int(end) if end else None
    except ValueError:
        raise SpecError(f"--packets {text}: give A:B, such as 0:1000, :1000 or 1000:") from None
