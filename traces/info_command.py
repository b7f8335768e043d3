"""`mozart trace info`: what is in a trace, as a table, as JSON and as figures."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from .formats import open_trace

if TYPE_CHECKING:
    from rich.table import Table

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


def run(args: argparse.Namespace) -> int:
    """Read the trace and show what is in it; of a damaged or interrupted one, what was read."""
    from ..errors import TraceError
    from .info import TraceInfo
    from .progress import watched

    info = TraceInfo()
    stopped: BaseException | None = None
    with open_trace(args.file) as trace:
        try:
            for batch in watched(trace, "read"):
                info.add(batch)
        except (TraceError, KeyboardInterrupt) as error:
            stopped = error
        report = info.report(trace.skipped, trace.reordered)
    if stopped is not None and not info.packets:
        raise stopped
    report["complete"] = stopped is None
    show(report, args.json)
    if args.plot and info.packets:
        from .figures import draw_trace

        for path in draw_trace(info, args.plot):
            print(f"mozart: drew {path}", file=sys.stderr)
    if stopped is not None:
        raise stopped
    return 0


def show(report: dict[str, Any], as_json: bool) -> None:
    """Write the report to standard output, as JSON or as a table."""
    if as_json:
        print(json.dumps(report, indent=2))
        return
    from rich.console import Console

    Console().print(table(report))


def table(report: dict[str, Any]) -> Table:
    """Lay the report out as a table of two columns."""
    from rich import box
    from rich.table import Table

    laid_out = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    laid_out.add_column(style="bold")
    laid_out.add_column(overflow="fold")
    for section in (general_rows, size_rows, protocol_rows, flow_rows, skipped_rows):
        for name, value in section(report):
            laid_out.add_row(name, value)
        laid_out.add_section()
    return laid_out


Rows = list[tuple[str, str]]


def general_rows(report: dict[str, Any]) -> Rows:
    """Return the rows on the trace as a whole."""
    return [
        ("packets", f"{report['packets']:,}"),
        ("flows (five-tuples, directed)", f"{report['flows']:,}"),
        ("bytes (IP)", f"{report['bytes']:,}"),
        ("starts", utc(report["first_ns"])),
        ("duration", f"{report['duration_s']:,.6g} s"),
        ("rate", f"{number(report['packets_per_s'])} packets/s, {number(report['mbit_per_s'])} Mbit/s"),
    ]


def size_rows(report: dict[str, Any]) -> Rows:
    """Return the rows on the lengths of IP packets."""
    sizes = report["ip_bytes"]
    if sizes is None:
        return []
    return [
        ("IP length", f"mean {sizes['mean']:,.1f} B, median {sizes['quantiles']['p50']:,} B"),
        ("  quantiles", quantiles(sizes, " B")),
    ]


def protocol_rows(report: dict[str, Any]) -> Rows:
    """Return one row a protocol, the most frequent first, then the share of IPv6."""
    rows = [
        (
            "protocols" if not i else "",
            f"{p['name']:<10} {p['packet_share']:7.2%} of packets, {p['byte_share']:7.2%} of bytes",
        )
        for i, p in enumerate(report["protocols"])
    ]
    if report["ipv6_packet_share"] is not None:
        rows.append(("", f"{'IPv6':<10} {report['ipv6_packet_share']:7.2%} of packets"))
    return rows


def flow_rows(report: dict[str, Any]) -> Rows:
    """Return the rows on packets a flow."""
    flows = report["flow_packets"]
    if flows is None:
        return []
    rows = [
        ("packets a flow", f"mean {flows['mean']:,.2f}, of one packet {flows['one_packet_share']:.1%}"),
        ("  quantiles", quantiles(flows, "")),
        ("  top 1 % of flows", f"{flows['top_1_percent_packet_share']:.1%} of packets"),
    ]
    if flows["tail"]:
        fit = flows["tail"]
        rows.append(
            (
                "  tail exponent",
                f"{fit['exponent']:.2f} ± {fit['standard_error']:.2f} (maximum likelihood over "
                f"{fit['flows']:,} flows of {fit['from_packets']} packets or more)",
            )
        )
    return rows


def skipped_rows(report: dict[str, Any]) -> Rows:
    """Return the rows on what was not measured."""
    reasons = ", ".join(
        f"{name.replace('_', ' ')} {count:,}" for name, count in report["skipped"].items() if count
    )
    return [
        ("not measured", reasons or "nothing"),
        ("put back in time order", f"{report['reordered']:,}"),
    ]


def quantiles(summary: dict[str, Any], unit: str) -> str:
    """Lay out quantiles and maximum on a line."""
    shown = [f"{name} {value:,}{unit}" for name, value in summary["quantiles"].items()]
    return ", ".join([*shown, f"max {summary['max']:,}{unit}"])


def number(value: float | None) -> str:
    """Show a rate, or a dash where a single moment has none."""
    return "-" if value is None else f"{value:,.1f}"


def utc(time_ns: int | None) -> str:
    """Show nanoseconds since 1970 as a date in UTC, to the microsecond."""
    if time_ns is None:
        return "-"
    from datetime import UTC, datetime, timedelta

    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)
    return f"{moment:%Y-%m-%d %H:%M:%S.%f} UTC"
