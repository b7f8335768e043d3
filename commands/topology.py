"""`mozart topology`: what a network looks like: its links as a table, and its picture."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mozart topology`."""
    parser.add_argument(
        "topology", help="b4, or another with parameters: fattree,k=4; or a file, as zoo.graphml,latency_ms=5"
    )
    parser.add_argument("--plot", metavar="FILE", help="draw it into a .png, .pdf or .svg file")
    parser.add_argument("--force", action="store_true", help="replace the picture where it is there already")
    parser.add_argument("--json", action="store_true", help="write it as JSON, as a topology file has it")


def run(args: argparse.Namespace) -> int:
    """Show a topology."""
    from ..folders import check_file, refuse_idle_force
    from ..topologies.catalogue import load
    from ..topologies.describe import describe, summary
    from ..topologies.json_file import to_json

    refuse_idle_force(args.force, ("--plot", args.plot))
    if args.plot is not None:
        check_file(args.plot, "--plot", args.force)
    topology = load(args.topology)
    drawn = None
    if args.plot is not None:
        from ..topologies.picture import picture

        drawn = picture(topology, args.plot)
    if args.json:
        print(to_json(topology))
    else:
        for line in (*sizes(summary(topology)), *topology.notes):
            print(line)
        show(describe(topology))
    if drawn:
        print(f"mozart: drew {drawn}", file=sys.stderr)
    return 0


def sizes(found: Mapping[str, Any]) -> list[str]:
    """Say what a summary holds, a line each."""
    return [
        f"{found['name']}: switches {found['switches']:,}, hosts {found['hosts']:,}, "
        f"links between switches {found['links']:,}",
        f"hops between hosts' switches: {found['mean_hops']:.2f} in the mean, {found['most_hops']} at most",
        f"latency between hosts: {found['mean_latency_ms']:.4g} ms in the mean, "
        f"{found['most_latency_ms']:.4g} ms at most",
        f"pairs of hosts with several paths of the fewest links: {found['pairs_with_several_paths']:.0%}",
    ]


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the links as a table; sites where any has one."""
    if not rows:
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    columns = [name for name in rows[0] if any(row[name] != "" for row in rows)]
    for name in columns:
        number = name in ("latency_ms", "rate_mbps")
        title = {"latency_ms": "latency, ms", "rate_mbps": "rate, Mbit/s"}.get(name, name)
        table.add_column(title, justify="right" if number else "left", no_wrap=number or name == "link")
    for row in rows:
        table.add_row(*(f"{row[name]:,g}" if isinstance(row[name], float) else str(row[name]) for name in columns))
    Console().print(table)
    print("latency, ms: one way, the same in both directions; rate, Mbit/s: of each direction")
