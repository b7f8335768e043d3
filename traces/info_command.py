"""`mozart trace info`: what is in a trace, as a table, as JSON and as figures."""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..signals import Stop, stopped_by_signal
from .formats import open_trace
from .progress import say, watched
from .silences import silence_line, utc
from .untimed import untimed_line

if TYPE_CHECKING:
    from rich.table import Table

    from .parquet import ParquetReader
    from .reader import TraceReader

FIGURES = ("flow-lengths", "packet-sizes", "rate")
SHOWN_QUANTILES = ("p10", "p50", "p90", "p99", "p99.9")
LEGEND = (
    "of packets, of bytes: shares of all; p50: half of the packets (flows) have at most so much; a flow is a directed\n"
    "five-tuple (addresses, ports, protocol)"
)
"""What the tables' columns mean."""

LEAST_WIDTH = 80
"""Columns that the tables take; a narrower terminal breaks their lines, and no figure is cut off."""

EXAMPLES = """examples:
  mozart trace info backbone.pcap.gz
  mozart trace info 'minutes-*.pcap.gz' --plot figures
  zcat backbone.pcap.gz | mozart trace info - --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mozart trace info`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument(
        "file",
        nargs="+",
        help="capture files in order (or a pattern in quotes), Parquet columns, or - for stdin",
    )
    parser.add_argument("--json", action="store_true", help="write the figures as JSON")
    parser.add_argument("--plot", metavar="DIR", help="draw the distributions there, as PNG and PDF")
    parser.add_argument("--force", action="store_true", help="replace figures that are there already")


def run(args: argparse.Namespace) -> int:
    """Read the trace and show what is in it; of a damaged or interrupted one, what was read."""
    from ..errors import TraceError
    from ..folders import check_folder, refuse_idle_force, refuse_present
    from .ahead import BUFFERS, ahead
    from .info import TraceInfo
    from .keys import FlowHash

    refuse_idle_force(args.force, ("--plot", args.plot))
    if args.plot is not None:
        check_folder(args.plot, "--plot")
        refuse_present(figure_paths(args.plot), "--plot", args.force)
    info = TraceInfo(FlowHash.at_random())
    stopped: BaseException | None = None
    with open_trace(args.file, buffers=BUFFERS) as trace, closed_by_signal(trace) as closed:
        try:
            for batch in watched(ahead(trace), "read"):
                info.add(batch)
        except (TraceError, KeyboardInterrupt) as error:
            stopped = error
        if closed.is_set():
            stopped = closed.interruption()
        report = info.report(trace.skipped, trace.reordered, getattr(trace, "untimed", 0))
    if stopped is not None and not info.packets:
        raise stopped
    report["complete"] = stopped is None
    show(report, args.json)
    if args.plot is not None and info.packets:
        from .figures import draw_trace

        for path in draw_trace(info, args.plot):
            say(f"drew {path}")
    if stopped is not None:
        raise stopped
    return 0


def figure_paths(folder: str) -> list[Path]:
    """Return where the figures of a trace go."""
    return [Path(folder, f"{name}.{form}") for name in FIGURES for form in ("png", "pdf")]


@contextmanager
def closed_by_signal(trace: TraceReader | ParquetReader) -> Iterator[Stop]:
    """Close a capture at the first signal that asks for an end, and yield what is set then: it ends with what has come.

    A pipe may have given less than a batch, and give nothing more. A later signal interrupts.
    """
    from .reader import TraceReader

    if not isinstance(trace, TraceReader) or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield Stop()
        return
    with stopped_by_signal(trace.close) as closed:
        yield closed


def show(report: dict[str, Any], as_json: bool) -> None:
    """Write the report to standard output, as JSON or as tables."""
    if as_json:
        print(json.dumps(report, indent=2))
        return
    from rich.console import Console

    console = Console()
    console.width = max(console.width, LEAST_WIDTH)
    console.print(laid_out(general_rows(report)))
    if report["packets"]:
        console.print(
            laid_out(protocol_rows(report), "protocol", "packets", "of packets", "of bytes"),
            laid_out(distribution_rows(report), "", "mean", *SHOWN_QUANTILES, "max"),
            LEGEND,
        )


Rows = list[tuple[str, ...]]


def laid_out(rows: Rows, *headers: str) -> Table:
    """Make a table: the first column names what the others say, which are numbers where there are headers."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_header=bool(headers), pad_edge=False, header_style="bold")
    for i, header in enumerate(headers or ("", "")):
        table.add_column(header, style="" if i else "bold", justify="right" if i and headers else "left", no_wrap=not i)
    for row in rows:
        table.add_row(*row)
    return table


def general_rows(report: dict[str, Any]) -> Rows:
    """Return the rows on the trace as a whole."""
    left_out = [f"{name.replace('_', ' ')} {count:,}" for name, count in report["skipped"].items() if count]
    rows: Rows = [
        ("packets", f"{report['packets']:,}, {percent(report['ipv6_packet_share'])} of them IPv6"),
        ("flows", f"{report['flows']:,} (directed five-tuples)"),
        ("bytes", f"{report['bytes']:,} (IP)"),
        ("starts", utc(report["first_ns"])),
        ("duration", f"{report['duration_s']:,.6g} s"),
        ("rate", f"{number(report['packets_per_s'])} packets/s, {number(report['mbit_per_s'])} Mbit/s"),
        ("not measured", ", ".join(left_out) or "nothing"),
        ("put in order", f"{report['reordered']:,} packets"),
    ]
    if line := silence_line(report["silences"]):
        rows.append(("silence", line))
    if line := untimed_line(report["untimed"]):
        rows.append(("warning", line))
    return rows + flow_rows(report["flow_packets"])


def flow_rows(flows: dict[str, Any] | None) -> Rows:
    """Return the rows on the lengths of flows in packets."""
    if flows is None:
        return []
    rows: Rows = [
        ("one-packet flows", percent(flows["one_packet_share"])),
        ("top 1 % of flows", f"{percent(flows['top_1_percent_packet_share'])} of packets"),
    ]
    if fit := flows["tail"]:
        text = (
            f"exponent {fit['exponent']:.2f} ± {fit['standard_error']:.2f} (maximum likelihood, "
            f"{fit['flows']:,} flows of {fit['from_packets']} packets or more)"
        )
        rows.append(("tail of flows", text))
    return rows


def protocol_rows(report: dict[str, Any]) -> Rows:
    """Return one row a protocol, the most frequent first."""
    return [
        (p["name"], f"{p['packets']:,}", percent(p["packet_share"]), percent(p["byte_share"]))
        for p in report["protocols"]
    ]


def distribution_rows(report: dict[str, Any]) -> Rows:
    """Return mean, quantiles and maximum of packet sizes and flow lengths."""
    return [
        (
            name,
            f"{report[key]['mean']:,.1f}",
            *(f"{report[key]['quantiles'][q]:,}" for q in SHOWN_QUANTILES),
            f"{report[key]['max']:,}",
        )
        for name, key in (("IP length (bytes)", "ip_bytes"), ("packets a flow", "flow_packets"))
        if report[key]
    ]


def percent(share: float | None) -> str:
    """Show a share, or a dash where there is nothing to take a share of."""
    return "-" if share is None else f"{share:.2%}"


def number(value: float | None) -> str:
    """Show a rate, or a dash where a single moment has none."""
    return "-" if value is None else f"{value:,.1f}"
