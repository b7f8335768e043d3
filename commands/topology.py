"""`mozart topology`: what a network looks like: its links as a table, and its picture."""

from __future__ import annotations

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mozart topology`."""
    parser.add_argument("topology", help="b4, or another with parameters: fattree,k=4; or a .graphml or .json file")
    parser.add_argument("--plot", metavar="FILE", help="draw it into a .png, .pdf or .svg file")
    parser.add_argument("--json", action="store_true", help="write it as JSON, which --topology files may be")


def run(args: argparse.Namespace) -> int:
    """Show a topology."""
    from ..topologies.catalogue import load
    from ..topologies.describe import describe, summary
    from ..topologies.json_file import to_json

    topology = load(args.topology)
    if args.json:
        print(to_json(topology))
    else:
        from rich import box
        from rich.console import Console
        from rich.table import Table

        rows = describe(topology)
        table = Table(*rows[0], box=box.SIMPLE_HEAD, pad_edge=False)
        for row in rows:
            table.add_row(*(str(value) for value in row.values()))
        for name, value in summary(topology).items():
            print(f"{name.replace('_', ' ')}: {round(value, 2) if isinstance(value, float) else value}")
        Console().print(table)
    if args.plot:
        from ..topologies.picture import picture

        print(f"mozart: drew {picture(topology, args.plot)}", file=sys.stderr)
    return 0
