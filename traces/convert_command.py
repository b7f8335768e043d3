"""`mozart trace convert`: captures and Parquet columns into each other."""

from __future__ import annotations

import argparse

from .formats import check_output, open_trace
from .rewrite import add_output_arguments, rewrite

EXAMPLES = """The suffix of OUT says the format: .pcap (nanoseconds, raw IP, headers only), with .gz, .zst or
.xz behind it, or .parquet (one column a header field; addresses are 16 bytes in network order, IPv4 as
::ffff:a.b.c.d).

examples:
  mozart trace convert minute-*.pcap.gz hour.parquet
  mozart trace convert hour.parquet hour.pcap.zst"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mozart trace convert`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write the trace again in the format of the output's suffix."""
    check_output(args.out, args.force)
    with open_trace(args.input) as trace:
        rewrite(trace, trace, args.out)
    return 0
